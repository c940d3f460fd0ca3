"""A whole network: pruning against training, a path of epsilons against one solve."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknettrim import NetTrim

from .._data import train, trained, untrained
from .._measure import interleave, timed


def network(data, hidden, *, rounds, epochs=30):
    """Prune a network at default settings, beside its training, in turn.

    Parameters
    ----------
    data : Data
        What the network is trained on, and pruned on.
    hidden : tuple of int
        Its hidden layers.
    rounds : int
        Runs of each, of which the median counts.
    epochs : int, default=30
        Of training.

    Returns
    -------
    dict
        Seconds of each, and the summary of the pruned network.
    """
    name, X, y = data
    mlp = trained(X, y, hidden, epochs=epochs)
    contestants = {
        "training": lambda: timed(lambda: train(untrained(hidden, epochs=epochs), X, y)),
        "pruning": lambda: timed(lambda: _prune(mlp, X)),
    }
    times, outcomes = interleave(contestants, rounds=rounds)
    trim = outcomes["pruning"]
    return {
        "data": name,
        "shape": [X.shape[1], *hidden, len(mlp.intercepts_[-1])],
        "rows": len(X),
        "epochs": epochs,
        "epsilon": trim.epsilon,
        "density": trim.density_,
        "converged": all(layer.converged for layer in trim.layers_),
        "score": mlp.score(X, y),
        "score_pruned": trim.score(X, y),
        "times": times,
        **{what: float(np.median(seconds)) for what, seconds in times.items()},
    }


def _prune(mlp, X, **options):
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return NetTrim(mlp, **options).fit(X)

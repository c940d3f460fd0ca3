"""A whole network: pruning against training, a path of epsilons against one solve."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknettrim import NetTrim, net_trim_path

from .._data import EPOCHS, train, trained, untrained
from .._measure import interleave, timed


def network(data, hidden, *, rounds, epsilons):
    """Prune a network at default settings, beside its training, and along a path, in turn.

    Parameters
    ----------
    data : Data
        What the network is trained on, and pruned on.
    hidden : tuple of int
        Its hidden layers.
    rounds : int
        Runs of each, of which the median counts.
    epsilons : int
        Of the path.

    Returns
    -------
    dict
        Seconds of training, pruning, the path and one fit at its smallest epsilon.
    """
    name, X, y = data
    mlp = trained(X, y, hidden)
    smallest = _quietly(lambda: net_trim_path(mlp, X, epsilons=2)).epsilons.min()
    contestants = {
        "training": lambda: train(untrained(hidden), X, y),
        "pruning": lambda: NetTrim(mlp).fit(X),
        "smallest": lambda: NetTrim(mlp, epsilon=smallest).fit(X),
        "path": lambda: net_trim_path(mlp, X, epsilons=epsilons),
    }
    times, outcomes = interleave(
        {what: lambda run=run: timed(lambda: _quietly(run)) for what, run in contestants.items()},
        rounds=rounds,
    )
    trim, path = outcomes["pruning"], outcomes["path"]
    return {
        "data": name,
        "shape": [X.shape[1], *hidden, len(mlp.intercepts_[-1])],
        "rows": len(X),
        "epochs": EPOCHS,
        "epsilon": trim.epsilon,
        "epsilons": path.epsilons.tolist(),
        "densities": path.densities.tolist(),
        "converged": all(layer.converged for layer in trim.layers_),
        "path_converged": path.converged.all(axis=1).tolist(),
        "times": times,
        **{what: float(np.median(seconds)) for what, seconds in times.items()},
    }


def _quietly(function):
    """What the layers say about convergence is in the figures."""
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return function()

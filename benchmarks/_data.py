"""Networks and layers to measure on: MNIST, digits, and made ones for everything else."""

import warnings
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from sklearn.datasets import fetch_openml, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils.validation import check_random_state

# Ignored by git; holds what takes long to make.
CACHE = Path("output") / "cache"
# Of training, where nothing else is said.
EPOCHS = 30


class Data(NamedTuple):
    """Inputs in [0, 1] and labels of a classification problem."""

    name: str
    X: np.ndarray
    y: np.ndarray


# Networks ------------------------------------------------------------------------------------


def mnist(path=None, *, rows=10_000):
    """Handwritten digits of 28 x 28 pixels.

    From an npz file with the arrays ``X`` (pixels, 0 to 255) and ``y``, or from OpenML; where that
    cannot be reached, made data of the same shape, named so.
    """
    if path is not None:
        with np.load(path) as stored:
            X, y = stored["X"], stored["y"]
    else:
        try:
            X, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
        except OSError as error:
            print(f"MNIST cannot be fetched ({error}); made data instead. A file: --mnist PATH")
            return made_digits(rows)
    return Data("MNIST", X[:rows].reshape(-1, 784) / 255.0, y[:rows].astype(int))


def digits():
    """Handwritten digits of 8 x 8 pixels, which scikit-learn ships."""
    X, y = load_digits(return_X_y=True)
    return Data("digits", X / 16.0, y)


def made_digits(rows):
    """Inputs like relu features, labelled by the nearest of some directions."""
    rng = check_random_state(0)
    X = _relu_features(rng, rows, 784)
    X /= X.max()
    directions = rng.standard_normal((784, 10))
    return Data("made", X, np.argmax((X - X.mean(axis=0)) @ directions, axis=1))


def untrained(hidden, *, epochs=EPOCHS):
    """A classifier that trains for exactly this many epochs."""
    return MLPClassifier(hidden, max_iter=epochs, tol=0.0, n_iter_no_change=epochs, random_state=0)


def trained(X, y, hidden, *, epochs=EPOCHS):
    """A trained classifier; kept between runs."""
    remembered = joblib.Memory(CACHE, verbose=0).cache(train)
    return remembered(untrained(hidden, epochs=epochs), X, y)


def train(mlp, X, y):
    """Fit without the warning that it could go on."""
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return mlp.fit(X, y)


def first_layer(mlp, X):
    """(A, Z): what the first layer of a network receives and answers, before the relu."""
    return X, X @ mlp.coefs_[0] + mlp.intercepts_[0]


# Made layers ---------------------------------------------------------------------------------


def made_layer(kind, n, p, m, *, random_state=0):
    """(A, Z) of a made layer; half of its weights are small, as in a trained one.

    Neurons fire on 20 to 80 % of the rows.
    """
    rng = check_random_state(random_state)
    A = KINDS[kind](rng, n, p)
    W = rng.standard_normal((p, m)) * np.where(rng.random_sample((p, m)) < 0.5, 0.05, 1.0)
    Z = A @ W
    rows = (rng.uniform(0.2, 0.8, m) * n).astype(int)
    return A, Z - np.sort(Z, axis=0)[rows, np.arange(m)]


def _gaussian(rng, n, p):
    return rng.standard_normal((n, p))


def _correlated(rng, n, p):
    """Any two columns correlate at .9."""
    return np.sqrt(0.9) * rng.standard_normal((n, 1)) + np.sqrt(0.1) * rng.standard_normal((n, p))


def _relu_features(rng, n, p):
    """What a relu layer makes of a few factors: the inputs of every hidden layer."""
    factors = rng.standard_normal((n, max(2, p // 10)))
    responses = factors @ rng.standard_normal((factors.shape[1], p)) / np.sqrt(factors.shape[1])
    return np.maximum(responses + 0.3 * rng.standard_normal((n, p)) - 0.3, 0.0)


def _nearly_equal(rng, n, p):
    """Columns that differ by 2 %."""
    return np.abs(rng.standard_normal((n, 1)) + 0.02 * rng.standard_normal((n, p)))


def _unscaled(rng, n, p):
    """Columns over six orders of magnitude."""
    return rng.standard_normal((n, p)) * np.logspace(-3, 3, p)


def _low_rank(rng, n, p):
    rank = max(1, p // 4)
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p))


KINDS = {
    "gaussian": _gaussian,
    "correlated": _correlated,
    "relu features": _relu_features,
    "nearly equal": _nearly_equal,
    "unscaled": _unscaled,
    "low rank": _low_rank,
}

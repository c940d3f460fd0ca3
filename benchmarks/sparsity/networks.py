"""The trained networks of the benchmark, with calibration and test rows apart."""

import functools
from typing import NamedTuple

import numpy as np
from sklearn.datasets import fetch_openml, load_digits, load_sample_image, make_classification
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler


class Case(NamedTuple):
    """A trained network, the rows on which it is pruned and those on which it is judged."""

    mlp: object
    calibration: np.ndarray
    test: np.ndarray
    y_test: np.ndarray


def digits(seed, *, alpha, **_):
    """Which of ten digits an 8 x 8 image shows; pruned on the training rows."""
    X, y = load_digits(return_X_y=True)
    mlp = MLPClassifier((100, 50), alpha=alpha, max_iter=1000, random_state=seed)
    return _trained(mlp, X / 16, y, seed)


def photo(seed, **_):
    """The nine hidden pixels in the middle of a 7 x 7 window of a photograph, from the 40 others.

    The windows do not overlap, so that test rows share no pixel with calibration rows.
    """
    image = np.concatenate([load_sample_image(name) for name in ("china.jpg", "flower.jpg")])
    windows = np.lib.stride_tricks.sliding_window_view(image.mean(axis=2), (7, 7))[::7, ::7]
    windows = windows.reshape(-1, 49)
    middle = np.zeros((7, 7), dtype=bool)
    middle[2:5, 2:5] = True
    rows = np.random.default_rng(seed).permutation(len(windows))[:6000]
    X = StandardScaler().fit_transform(windows[rows][:, ~middle.ravel()])
    y = StandardScaler().fit_transform(windows[rows][:, middle.ravel()])
    mlp = MLPRegressor(
        hidden_layer_sizes=(100, 50), max_iter=300, early_stopping=True, random_state=seed
    )
    return _trained(mlp, X, y, seed)


def wide(seed, **_):
    """A table of 200 features, 30 of which matter, and one hidden layer of 500 neurons."""
    X, y = make_classification(
        6000, 200, n_informative=30, n_redundant=30, n_classes=4, class_sep=1.5, random_state=seed
    )
    X = StandardScaler().fit_transform(X)
    mlp = MLPClassifier((500,), alpha=1.0, max_iter=60, early_stopping=True, random_state=seed)
    return _trained(mlp, X, y, seed)


def mnist(seed, *, path=None, n_calibration=5000, **_):
    """Handwritten digits, 784-300-100-10; 7,000 rows to train, of which some to prune."""
    X, y = _mnist_rows(path)
    mlp = MLPClassifier((300, 100), max_iter=30, early_stopping=True, random_state=seed)
    case = _trained(mlp, X, y, seed)
    return case._replace(calibration=case.calibration[:n_calibration])


@functools.cache
def _mnist_rows(path):
    if path is None:
        X, y = fetch_openml("mnist_784", return_X_y=True, as_frame=False)
        rows = np.random.default_rng(0).permutation(len(X))[:10_000]
        return X[rows] / 255, y[rows].astype(int)
    with np.load(path) as data:
        return data["X"] / 255, data["y"]


def _trained(mlp, X, y, seed):
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=seed)
    return Case(mlp.fit(train, y_train), train, test, y_test)


NETWORKS = {
    "digits, alpha 1e-4": functools.partial(digits, alpha=1e-4),
    "digits, alpha 1": functools.partial(digits, alpha=1.0),
    "photo": photo,
    "wide": wide,
    "mnist": mnist,
}

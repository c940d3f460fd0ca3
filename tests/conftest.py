"""Data and trained networks that several test files use."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import make_blobs, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

from sknettrim.solvers import _admm as admm

# The same examples in each run, so that it fails for nothing but what was changed. To look for
# others: pytest --hypothesis-profile exploring
settings.register_profile("exploring", deadline=None)
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Matrices are tiny here: more BLAS threads than one only wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Estimators without random_state draw the same in each run, in any order of tests."""
    np.random.seed(0)  # noqa: NPY002 -- scikit-learn draws from this one


def fit_quietly(estimator, X, y):
    """Train for as long as it says; whether that is long enough is not the point here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


@pytest.fixture(scope="session")
def train():
    return fit_quietly


def _targets(kind, rng):
    if kind == "binary":
        return make_blobs(80, 4, centers=2, random_state=rng)
    if kind == "multiclass":
        return make_blobs(80, 4, centers=3, cluster_std=3, random_state=rng)
    if kind == "multilabel":
        return make_multilabel_classification(80, 4, n_classes=3, random_state=rng)
    return make_regression(
        80, 4, n_targets={"regression": 1, "many outputs": 2}[kind], random_state=rng
    )


KINDS = ["binary", "multiclass", "multilabel", "regression", "many outputs"]


@pytest.fixture(scope="session", params=KINDS)
def task(request):
    """(fitted MLP, X, y) of every kind of target that an MLP takes."""
    X, y = _targets(request.param, np.random.RandomState(0))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    if request.param in {"binary", "multiclass", "multilabel"}:
        mlp = MLPClassifier(hidden_layer_sizes=(8, 6), max_iter=60, random_state=0)
    else:
        y = y / np.abs(y).max()
        mlp = MLPRegressor(hidden_layer_sizes=(8, 6), max_iter=60, random_state=0)
    return fit_quietly(mlp, X, y), X, y


@pytest.fixture(scope="session")
def blobs():
    """(X, y) of three classes in four features."""
    X, y = make_blobs(90, 4, centers=3, cluster_std=3, random_state=0)
    return X / X.std(axis=0), y


@pytest.fixture(scope="session")
def mlp(blobs):
    """A small classifier, trained on `blobs`; no test may change it."""
    return fit_quietly(
        MLPClassifier(hidden_layer_sizes=(8, 6), max_iter=60, random_state=0), *blobs
    )


@pytest.fixture(scope="session")
def regressor(blobs):
    """A small regressor, trained on two targets from `blobs`."""
    X, _ = blobs
    y = np.column_stack([X[:, 0] * X[:, 1], np.abs(X[:, 2])])
    return fit_quietly(MLPRegressor(hidden_layer_sizes=(8, 6), max_iter=60, random_state=0), X, y)


@contextmanager
def refused_training():
    """Any attempt to train an MLP in here is an error."""

    def refuse(self, *args, **kwargs):
        raise AssertionError("an MLP was trained")

    with pytest.MonkeyPatch.context() as patch:
        for cls in (MLPClassifier, MLPRegressor):
            for method in ("fit", "partial_fit"):
                patch.setattr(cls, method, refuse)
        yield


@pytest.fixture(scope="session")
def no_training_in():
    return refused_training


@pytest.fixture
def no_training():
    """No MLP may be trained during the test."""
    with refused_training():
        yield


@pytest.fixture
def left_to_newton(monkeypatch):
    """How many neurons the default solver leaves to Newton's method, each time that it does."""
    refine, left = admm.refine, []

    def note(problem, *arguments, **options):
        left.append(problem.shape[1])
        return refine(problem, *arguments, **options)

    monkeypatch.setattr(admm, "refine", note)
    return left

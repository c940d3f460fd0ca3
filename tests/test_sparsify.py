"""Weights in sparse arrays predict like dense ones, and are only where they pay."""

import pickle

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim
from sknettrim._network import innermost

FORMATS = [
    np.asarray,
    sparse.csr_array,
    sparse.csc_array,
    sparse.coo_array,
    sparse.csr_matrix,
    sparse.csc_matrix,
]


def is_sparse(estimator):
    """Which layers are stored in sparse arrays."""
    return [sparse.issparse(W) for W in innermost(estimator).coefs_]


@pytest.fixture(scope="module")
def wide():
    """(X, y) with 110 inputs, few of them of use."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((120, 110)) < 0.3, rng.standard_normal((120, 110)), 0)
    return X, (X[:, 0] + X[:, 1] > 0.2).astype(int) + (X[:, 2] > 0)


def pruned(model, wide, train, dtype=np.float64):
    X, y = wide[0].astype(dtype), wide[1]
    return NetTrim(train(model, X, y), epsilon=0.4, scheme="cascade", inactive="budget").fit(X)


OPTIONS = {"hidden_layer_sizes": (100, 100), "max_iter": 8, "random_state": 0}


@pytest.fixture(params=["classifier", "regressor", "tanh", "float32"])
def trim(request, wide, train):
    """A pruned network with two large layers."""
    if request.param == "regressor":
        return pruned(MLPRegressor(**OPTIONS), wide, train)
    activation = "tanh" if request.param == "tanh" else "relu"
    dtype = np.float32 if request.param == "float32" else np.float64
    return pruned(MLPClassifier(**OPTIONS, activation=activation), wide, train, dtype)


@pytest.mark.parametrize("convert", FORMATS)
def test_predictions_are_the_same_for_every_format_of_the_data(trim, wide, convert):
    X, y = wide
    X = convert(X.astype(trim.estimator_.coefs_[0].dtype))
    tolerance = 1e-5 if X.dtype == np.float32 else 1e-10
    methods = [name for name in ("predict", "predict_proba") if hasattr(trim, name)]
    dense = [getattr(trim, name)(X) for name in methods]
    score = trim.score(X, y)
    assert is_sparse(trim.sparsify(max_density=1).estimator_) == [True, True, False]
    for expected, name in zip(dense, methods, strict=True):
        values = getattr(trim, name)(X)
        assert type(values) is np.ndarray
        assert values.dtype == expected.dtype
        assert values.shape == expected.shape
        np.testing.assert_allclose(values, expected, atol=tolerance)
    assert trim.score(X, y) == pytest.approx(score, abs=tolerance)
    one_row = getattr(trim, methods[-1])(X.tocsr()[:1] if sparse.issparse(X) else X[:1])
    np.testing.assert_allclose(one_row, dense[-1][:1], atol=tolerance)


def test_densify_brings_back_the_same_arrays(trim):
    before = [W.copy() for W in trim.estimator_.coefs_]
    assert trim.sparsify(max_density=1) is trim
    assert trim.densify() is trim
    assert trim.densify() is trim
    for W, old in zip(trim.estimator_.coefs_, before, strict=True):
        assert type(W) is np.ndarray
        assert W.dtype == old.dtype
        np.testing.assert_array_equal(W, old)


def test_only_large_and_sparse_layers_are_stored_sparse(wide, train):
    trim = pruned(MLPClassifier(**OPTIONS), wide, train)
    densities = [np.mean(W != 0) for W in trim.estimator_.coefs_]
    for max_density in (0.0, *densities, 1.0):
        expected = [density <= max_density for density in densities[:2]]
        assert is_sparse(trim.sparsify(max_density).estimator_) == [*expected, False]
    assert is_sparse(trim.sparsify().estimator_) == is_sparse(trim.sparsify(0.1).estimator_)


def test_it_works_inside_wrappers(wide, train):
    X, _ = wide
    regressor = TransformedTargetRegressor(MLPRegressor(**OPTIONS), transformer=StandardScaler())
    for model in (make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS)), regressor):
        trim = pruned(model, wide, train)
        expected = trim.predict(X)
        assert is_sparse(trim.sparsify(1).estimator_) == [True, True, False]
        np.testing.assert_allclose(trim.predict(X), expected)


def test_the_original_and_clones_are_left_alone(wide, train):
    mlp = train(MLPClassifier(**OPTIONS), *wide)
    before = joblib.hash(mlp)
    trim = NetTrim(mlp, epsilon=0.4).fit(wide[0]).sparsify(1)
    assert joblib.hash(mlp) == before
    assert not any(is_sparse(clone(trim).fit(wide[0]).estimator_))


def test_what_is_known_of_the_network_does_not_change(wide, train):
    trim = pruned(MLPClassifier(**OPTIONS), wide, train)
    importances, support = trim.feature_importances_, trim.get_support()
    trim.sparsify(1)
    np.testing.assert_array_equal(trim.feature_importances_, importances)
    np.testing.assert_array_equal(trim.get_support(), support)


def test_compacting_keeps_the_format(wide, train):
    X, _ = wide
    trim = pruned(MLPClassifier(**OPTIONS), wide, train)
    dense, probabilities = trim.compact(), trim.predict_proba(X)
    both = trim.sparsify(1).compact()
    assert is_sparse(both) == [True, True, False]
    assert both.hidden_layer_sizes == dense.hidden_layer_sizes
    for estimator in (both, trim.compact(drop_inputs=True)):
        np.testing.assert_allclose(estimator.predict_proba(X), probabilities, rtol=1e-9)


def test_a_sparse_network_can_be_pruned(wide, train):
    X, _ = wide
    trim = pruned(MLPClassifier(**OPTIONS), wide, train)
    dense = NetTrim(trim.estimator_, epsilon=0.2).fit(X)
    sparse_one = NetTrim(trim.sparsify(1).estimator_, epsilon=0.2).fit(X)
    assert is_sparse(sparse_one.estimator_) == [True, True, False]
    np.testing.assert_allclose(sparse_one.predict_proba(X), dense.predict_proba(X))


def test_files_are_smaller(wide, train):
    trim = pruned(MLPClassifier(**OPTIONS), wide, train)
    dense = len(pickle.dumps(trim.estimator_))
    file = pickle.dumps(trim.sparsify(max_density=1).estimator_)
    # A weight takes 8 bytes, its column 4.
    assert len(file) < (1.5 * trim.density_ + 0.1) * dense
    np.testing.assert_array_equal(pickle.loads(file).predict(wide[0]), trim.predict(wide[0]))


def test_bad_input(mlp, blobs):
    for method in ("sparsify", "densify"):
        with pytest.raises(AttributeError) as error:
            getattr(NetTrim(mlp), method)
        assert isinstance(error.value.__cause__, NotFittedError)
    trim = NetTrim(mlp).fit(blobs[0])
    for bad in (-0.1, 1.1, "most", None):
        with pytest.raises(ValueError, match="max_density"):
            trim.sparsify(bad)

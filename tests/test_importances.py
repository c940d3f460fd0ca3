"""Importances are what the definition says, and scikit-learn's feature selection can use them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sknettrim import NetTrim
from sknettrim._compact import shrink, used_inputs
from sknettrim._importances import column_spread, importances
from sknettrim._network import Network


@pytest.fixture(scope="module")
def data():
    """(X, y): six features, of which the last three do not matter, the last is constant."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 6))
    X[:, 5] = 2.0
    return X, (X[:, 0] + 2 * X[:, 1] - X[:, 2] > 0).astype(int)


@pytest.fixture(scope="module")
def fitted(data, train):
    mlp = MLPClassifier(hidden_layer_sizes=(20, 10), alpha=1.0, max_iter=200, random_state=0)
    return train(mlp, *data)


@pytest.fixture(scope="module")
def trim(fitted, data):
    return NetTrim(fitted, epsilon=0.3, scheme="cascade", inactive="budget").fit(data[0])


# The definition -------------------------------------------------------------------------------


def test_they_are_the_sum_over_all_paths():
    rng = np.random.default_rng(0)
    coefs = [rng.standard_normal(shape) for shape in ((3, 4), (4, 2), (2, 2))]
    network = Network(coefs, [rng.standard_normal(W.shape[1]) for W in coefs], "relu")
    spread = np.array([0.5, 1.0, 3.0])
    connections = np.zeros((3, 2))
    for path in itertools.product(*[range(n) for n in (3, 4, 2, 2)]):
        steps = zip(coefs, itertools.pairwise(path), strict=True)
        connections[path[0], path[-1]] += np.prod([W[step] for W, step in steps])
    expected = np.abs(connections).sum(axis=1) * spread
    np.testing.assert_allclose(importances(network, spread), expected / expected.sum())


def test_without_activation_they_are_the_derivative(data, train):
    X, y = data
    mlp = MLPRegressor(
        hidden_layer_sizes=(8, 4), activation="identity", max_iter=50, random_state=0
    )
    trim = NetTrim(train(mlp, X, y), epsilon=0.2).fit(X)
    origin = trim.predict(np.zeros((1, 6)))
    slopes = np.abs(trim.predict(np.eye(6)) - origin) * X.std(axis=0)
    np.testing.assert_allclose(trim.feature_importances_, slopes / slopes.sum(), atol=1e-9)


def test_they_do_not_depend_on_the_unit_of_an_input():
    rng = np.random.default_rng(0)
    coefs, intercepts = [rng.standard_normal((4, 3)), rng.standard_normal((3, 2))], [0, 0]
    spread, units = rng.random(4), np.array([1e-3, 1.0, 10.0, 1e4])
    other = Network([coefs[0] / units[:, None], coefs[1]], intercepts, "relu")
    np.testing.assert_allclose(
        importances(other, spread * units), importances(Network(coefs, intercepts, "relu"), spread)
    )


def test_shares(trim):
    shares = trim.feature_importances_
    assert shares.shape == (6,)
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1)
    assert shares[:3].sum() > 0.8
    assert shares[5] == 0
    assert set(np.flatnonzero(shares)) <= set(trim.get_support(indices=True))


def test_neurons_that_cannot_matter_do_not_count():
    """All of the first input goes through a neuron that is never on."""
    coefs = [np.eye(2), np.diag([-1.0, 1.0]), np.array([[5.0], [1.0]])]
    network = Network(coefs, [np.zeros(2), np.array([-0.1, 0.0]), np.zeros(1)], "relu")
    assert importances(network, np.ones(2))[0] > 0
    np.testing.assert_array_equal(importances(shrink(network), np.ones(2)), [0, 1])
    np.testing.assert_array_equal(used_inputs(shrink(network)), [False, True])


def test_nothing_is_left(data, fitted):
    trim = NetTrim(fitted, epsilon=2.0).fit(data[0])
    assert trim.density_ == 0
    np.testing.assert_array_equal(trim.feature_importances_, np.zeros(6))
    assert not trim.get_support().any()
    assert trim.get_support(indices=True).size == 0


def test_deep_networks_stay_within_the_range_of_numbers():
    for scale in (1e-30, 1e30):
        coefs = [scale * np.diag([1.0, 3.0])] * 40
        shares = importances(Network(coefs, [np.zeros(2)] * 40, "relu"), np.ones(2))
        np.testing.assert_allclose(shares, [0, 1], atol=1e-12)
        two = importances(Network(coefs[:2], [np.zeros(2)] * 2, "relu"), np.ones(2))
        np.testing.assert_allclose(two, [0.1, 0.9])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, sparse.csr_matrix])
def test_the_spread_is_the_standard_deviation(convert, dtype):
    A = np.random.default_rng(0).standard_normal((50, 4)).astype(dtype)
    A[A < 0] = 0
    np.testing.assert_allclose(column_spread(convert(A)), A.std(axis=0), rtol=1e-5)


# Which inputs are used ------------------------------------------------------------------------


def test_predictions_depend_on_what_is_used_and_on_nothing_else(trim, data):
    X, _ = data
    expected = trim.predict_proba(X)
    support = trim.get_support()
    assert support.any() and not support.all()
    for feature, used in enumerate(support):
        moved = X.copy()
        moved[:, feature] += 50 * np.random.default_rng(feature).standard_normal(len(X))
        assert np.array_equal(trim.predict_proba(moved), expected) != used


def test_support_is_what_compact_keeps(trim):
    selector = trim.compact(drop_inputs=True)[0]
    np.testing.assert_array_equal(trim.get_support(indices=True), selector.transformers_[0][2])
    np.testing.assert_array_equal(
        np.flatnonzero(trim.get_support()), trim.get_support(indices=True)
    )


# Names ----------------------------------------------------------------------------------------


def test_names_of_a_data_frame(data, train):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    mlp = MLPClassifier(hidden_layer_sizes=(20,), alpha=1.0, max_iter=100, random_state=0)
    for model in (mlp, make_pipeline(StandardScaler(), mlp)):
        trim = NetTrim(train(model, frame, y), epsilon=0.3).fit(frame)
        names = trim.get_feature_names_out()
        assert list(names) == list(frame.columns[trim.get_support()])
        assert list(trim.get_feature_names_out(frame.columns)) == list(names)
        with pytest.raises(ValueError, match="input_features"):
            trim.get_feature_names_out(list("ABCDEF"))


def test_names_without_a_data_frame(trim):
    numbers = trim.get_support(indices=True)
    assert list(trim.get_feature_names_out()) == [f"x{number}" for number in numbers]
    names = np.array(list("uvwxyz"))
    np.testing.assert_array_equal(trim.get_feature_names_out(names), names[numbers])
    with pytest.raises(ValueError, match="input_features should have length"):
        trim.get_feature_names_out(["a"])


def test_names_that_the_steps_before_give(data, train):
    X, y = data
    frame = pd.DataFrame({"size": X[:, 1], "place": np.where(X[:, 0] > 0, "in", "out")})
    steps = ColumnTransformer(
        [("number", StandardScaler(), ["size"]), ("text", OneHotEncoder(), ["place"])]
    )
    mlp = MLPClassifier(hidden_layer_sizes=(10,), max_iter=100, random_state=0)
    trim = NetTrim(train(make_pipeline(steps, mlp), frame, y), epsilon=0.02).fit(frame)
    assert trim.n_features_in_ == 2
    assert trim.feature_importances_.shape == (3,)
    everything = np.array(["number__size", "text__place_in", "text__place_out"])
    np.testing.assert_array_equal(trim.get_feature_names_out(), everything[trim.get_support()])


def test_names_through_target_transformer_and_nested_pipelines(data, train):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    mlp = MLPRegressor(hidden_layer_sizes=(10,), max_iter=50, random_state=0)
    inner = make_pipeline("passthrough", StandardScaler(), TransformedTargetRegressor(mlp))
    model = train(make_pipeline(StandardScaler(), inner), frame, y)
    trim = NetTrim(model, epsilon=0.3).fit(frame)
    assert list(trim.get_feature_names_out()) == list(frame.columns[trim.get_support()])


def test_steps_without_names_are_told_by_scikit_learn(data, train):
    mlp = MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0)
    model = make_pipeline(FunctionTransformer(np.tanh), mlp)
    trim = NetTrim(train(model, *data)).fit(data[0])
    with pytest.raises(AttributeError, match="get_feature_names_out"):
        trim.get_feature_names_out()
    assert trim.feature_importances_.shape == (6,)


# Feature selection ----------------------------------------------------------------------------


def test_select_from_model_that_is_fitted(trim, data):
    X, _ = data
    selector = SelectFromModel(trim, prefit=True).fit(X)
    shares = trim.feature_importances_
    np.testing.assert_array_equal(selector.get_support(), shares >= shares.mean())
    used = SelectFromModel(trim, prefit=True, threshold=1e-12)
    np.testing.assert_array_equal(used.get_support(), shares > 0)
    assert used.transform(X).shape == (len(X), np.count_nonzero(shares))


def test_select_from_model_that_fits(fitted, data, no_training):
    X, y = data
    selector = SelectFromModel(NetTrim(fitted, epsilon=0.3)).fit(X, y)
    assert selector.get_support()[:3].any()
    assert not selector.get_support()[5]


def test_select_from_model_keeps_names(data, train):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    mlp = MLPClassifier(hidden_layer_sizes=(20,), alpha=1.0, max_iter=100, random_state=0)
    selector = SelectFromModel(NetTrim(mlp, epsilon=0.3)).set_output(transform="pandas")
    selected = train(selector, frame, y).transform(frame)
    assert list(selected.columns) == list(selector.get_feature_names_out())
    assert set(selected.columns) <= set("abcde")


def test_selection_in_a_pipeline_and_a_search(fitted, data):
    X, y = data
    pipeline = make_pipeline(SelectFromModel(NetTrim(fitted)), LogisticRegression())
    grid = {
        "selectfrommodel__estimator__epsilon": [0.05, 0.3],
        "selectfrommodel__threshold": ["mean", 1e-9],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8


def test_recursive_elimination(data):
    mlp = MLPClassifier(hidden_layer_sizes=(10,), solver="lbfgs", max_iter=1000, random_state=0)
    X, y = data
    eliminated = RFE(NetTrim(mlp, epsilon=0.2), n_features_to_select=3, step=3).fit(X, y)
    assert eliminated.support_[1]
    assert not eliminated.support_[5]


def test_before_fit(mlp):
    for trim in (NetTrim(mlp), NetTrim(FrozenEstimator(mlp))):
        assert not hasattr(trim, "feature_importances_")
        for call in (trim.get_support, trim.get_feature_names_out):
            with pytest.raises(NotFittedError):
                call()

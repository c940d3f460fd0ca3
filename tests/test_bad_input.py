"""Bad input: a clear error, and the user's estimator untouched; hard input: a result."""

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim, trim_layer
from sknettrim._network import Network, rebuild
from sknettrim.exceptions import InfeasibleError


@pytest.fixture(autouse=True)
def untouched(mlp):
    """No test here changes the user's estimator."""
    before = joblib.hash(mlp)
    yield
    assert joblib.hash(mlp) == before


# Parameters ----------------------------------------------------------------------------------

BAD_PARAMETERS = [
    ({"epsilon": -1}, r"epsilon must be >= 0, got -1"),
    ({"epsilon": np.nan}, r"epsilon must be finite, got nan"),
    ({"epsilon": np.inf}, r"epsilon must be finite, got inf"),
    ({"epsilon": "0.1"}, r"epsilon must be a number >= 0 or one per layer, got '0.1'"),
    ({"epsilon": None}, r"epsilon must be a number"),
    ({"epsilon": True}, r"epsilon must be a number .* got True"),
    ({"epsilon": [0.1, 0.1]}, r"epsilon has 2 values but the network has 3 layers"),
    ({"epsilon": [0.1] * 4}, r"epsilon has 4 values but the network has 3 layers"),
    ({"epsilon": []}, r"epsilon has 0 values"),
    ({"epsilon": [0.1, -2, 0.1]}, r"epsilon must be >= 0, got -2"),
    ({"epsilon": [0.1, "a", 0.1]}, r"epsilon must be a number .* got 'a'"),
    ({"epsilon": np.ones((3, 1))}, r"epsilon must be a number or one number per layer"),
    ({"gamma": 0.9}, r"gamma must be >= 1, got 0.9"),
    ({"gamma": [2, 2]}, r"gamma has 2 values"),
    ({"gamma": "2"}, r"gamma must be a number"),
    ({"kappa": 0}, r"'kappa' .* range \(0.0, 1.0\]. Got 0"),
    ({"kappa": 1.5}, r"'kappa' .* Got 1.5"),
    ({"kappa": np.nan}, r"'kappa'"),
    ({"scheme": "serial"}, r"'scheme' .*cascade.* Got 'serial'"),
    ({"solver": "magic"}, r"'solver' .*admm.* Got 'magic'"),
    ({"inactive": "loose"}, r"'inactive' .*budget.* Got 'loose'"),
    ({"epsilon_per": "weight"}, r"'epsilon_per' .*neuron.* Got 'weight'"),
    ({"n_reweights": -1}, r"'n_reweights' .* Got -1"),
    ({"n_reweights": 1.5}, r"'n_reweights' .* Got 1.5"),
    ({"refit": "yes"}, r"'refit' .* Got 'yes'"),
    ({"penalize_intercept": "yes"}, r"'penalize_intercept'"),
    ({"solver_options": "fast"}, r"'solver_options'"),
    ({"tol": 0}, r"'tol'"),
    ({"max_iter": 0}, r"'max_iter'"),
    ({"max_samples": 0}, r"'max_samples' .* Got 0"),
    ({"max_samples": 1}, r"'max_samples' .* Got 1"),
    ({"max_samples": 1.5}, r"'max_samples' .* Got 1.5"),
    ({"max_samples": -3}, r"'max_samples' .* Got -3"),
    ({"max_samples": 91}, r"max_samples=91 is more than the 90 rows of X"),
    ({"max_samples": 1e-3}, r"max_samples leaves 1 of the 90 rows of X: at least 2"),
    ({"random_state": "seed"}, r"'random_state'"),
    ({"n_jobs": 0}, r"n_jobs"),
    ({"n_jobs": "all"}, r"'n_jobs'"),
    ({"verbose": -1}, r"'verbose'"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS, ids=lambda value: str(value))
def test_bad_parameters(parameters, message, mlp, blobs, no_training):
    trim = NetTrim(mlp, **parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        trim.fit(blobs[0])
    with pytest.raises(NotFittedError):
        trim.predict(blobs[0])


@pytest.mark.parametrize(
    "parameters",
    [{"epsilon": -1}, {"epsilon": [1, 1]}, {"max_samples": 91}, {"gamma": 0.5}],
    ids=str,
)
def test_bad_parameters_are_found_before_training(parameters, blobs, no_training):
    unfitted = MLPClassifier(hidden_layer_sizes=(5, 4))
    with pytest.raises(ValueError):
        NetTrim(unfitted, **parameters).fit(*blobs)


def test_a_list_of_the_wrong_length_for_the_network_that_a_search_chose(blobs, train):
    search = GridSearchCV(MLPClassifier(max_iter=5), {"hidden_layer_sizes": [(3,)]}, cv=2)
    with pytest.raises(ValueError, match="epsilon has 3 values but the network has 2 layers"):
        train(NetTrim(search, epsilon=[0.1, 0.1, 0.1]), *blobs)


# Estimators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(), make_pipeline(StandardScaler()), MLPClassifier, "mlp", None],
    ids=lambda estimator: repr(estimator)[:20],
)
def test_an_estimator_that_is_not_an_mlp(estimator, blobs):
    with pytest.raises(TypeError, match=r"MLPClassifier or an MLPRegressor.*got"):
        NetTrim(estimator).fit(*blobs)


def test_y_is_missing_when_training_is_needed(mlp, blobs):
    with pytest.raises(ValueError, match=r"MLPClassifier is not fitted.*requires y to be passed"):
        NetTrim(clone(mlp)).fit(blobs[0])


def test_frozen_before_it_was_trained(mlp, blobs):
    with pytest.raises(NotFittedError, match="fit it before freezing it"):
        NetTrim(FrozenEstimator(clone(mlp))).fit(*blobs)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad, mlp, blobs):
    broken = rebuild(mlp, Network.of(mlp))
    broken.coefs_[1][0, 0] = bad
    with pytest.raises(ValueError, match=r"layer 2 of 3: the weights .* NaN or infinite"):
        NetTrim(broken).fit(blobs[0])


def test_infeasible_kappa(mlp, blobs):
    trim = NetTrim(mlp, scheme="cascade", epsilon=0.3, kappa=1e-3)
    message = r"layer 3 of 3: no solution with kappa=0.001; the smallest that works here is 0\.\d+"
    with pytest.raises(InfeasibleError, match=message) as info:
        trim.fit(blobs[0])
    trim.set_params(kappa=float(str(info.value).split()[-1])).fit(blobs[0])


@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
@pytest.mark.parametrize("inactive", ["strict", "budget"])
@pytest.mark.parametrize("n_inputs", [5, 40])
def test_responses_that_no_weights_give(inactive, epsilon_per, n_inputs):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((200, n_inputs)) * np.geomspace(1, 100, n_inputs)
    Y = np.maximum(rng.standard_normal((200, 3)), 0)
    with pytest.warns(ConvergenceWarning, match=r"did not converge .* a larger epsilon is needed"):
        trim_layer(A, Y, epsilon=0.01, inactive=inactive, epsilon_per=epsilon_per)


def test_a_solver_that_diverges_is_not_where_the_next_one_starts():
    """Neurons that are off for all rows but few, behind others that were pruned away."""
    rng = np.random.default_rng(0)
    A = np.zeros((300, 40))
    A[:, :8] = np.maximum(rng.standard_normal((300, 8)), 0)
    A[:, 8:] = rng.uniform(0, 3, 32)
    Y = np.maximum(A[:, :8] @ rng.standard_normal((8, 10)) + rng.standard_normal((300, 10)), 0)
    with pytest.warns(ConvergenceWarning, match=r"did not converge .* a larger epsilon is needed"):
        trim_layer(A, Y, epsilon=0.02, inactive="budget", n_reweights=2)


# Data ----------------------------------------------------------------------------------------


def spoiled(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


BAD_DATA = [
    (lambda X: spoiled(X, np.nan), "contains NaN"),
    (lambda X: spoiled(X, np.inf), "contains infinity"),
    (lambda X: sparse.csr_array(spoiled(X, np.nan)), "contains NaN"),
    (lambda X: X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features"),
    (lambda X: X[:0], r"Found array with 0 sample\(s\)"),
    (lambda X: [], r"Found array with 0 sample\(s\)"),
    (lambda X: X[:1], r"Found array with 1 sample\(s\) \(shape=\(1, 4\)\) while a minimum of 2"),
    (lambda X: sparse.csr_array(X[:1]), r"Found array with 1 sample\(s\) \(shape=\(1, 4\)\)"),
    (lambda X: X.astype(str).astype(object) + "a", "could not convert string to float"),
    (lambda X: X[:, 0], "Expected 2D array, got 1D array"),
    (lambda X: X[:, :, None], "Found array with dim 3"),
    (lambda X: X[:, :0], r"0 feature\(s\)"),
    (lambda X: 3.0, "array-like"),
    (lambda X: None, "array-like"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_DATA, ids=[message for _, message in BAD_DATA])
def test_bad_data(spoil, message, mlp, blobs):
    trim = NetTrim(mlp)
    with pytest.raises((ValueError, TypeError), match=message):
        trim.fit(spoil(blobs[0]))
    with pytest.raises(NotFittedError):
        trim.predict(blobs[0])


@pytest.mark.parametrize("columns", ["badc", "abc", "abcx"])
def test_columns_reordered_missing_or_renamed(columns, blobs, train):
    X = pd.DataFrame(blobs[0], columns=list("abcd")).assign(x=0.0)
    named = train(MLPClassifier(hidden_layer_sizes=(3,), max_iter=5), X[list("abcd")], blobs[1])
    for model in (named, FrozenEstimator(named), make_pipeline("passthrough", named)):
        with pytest.raises(ValueError, match="feature names should match"):
            NetTrim(model).fit(X[list(columns)])


def test_data_without_the_names_the_network_knows(blobs, train):
    X = pd.DataFrame(blobs[0], columns=list("abcd"))
    named = train(MLPClassifier(hidden_layer_sizes=(3,), max_iter=5), X, blobs[1])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        NetTrim(named).fit(blobs[0])


# Hard but valid ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_constant_features(value, scheme, blobs, train):
    X = np.column_stack([blobs[0], np.full(90, value)])
    mlp = train(MLPClassifier(hidden_layer_sizes=(5,), max_iter=30, random_state=0), X, blobs[1])
    trim = NetTrim(mlp, scheme=scheme).fit(X)
    # The intercept does for nothing what a constant feature does.
    assert not trim.estimator_.coefs_[0][-1].any()
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
@pytest.mark.parametrize("dead", [slice(2), slice(None)])
def test_dead_neurons_and_layers(dead, epsilon_per, scheme, mlp, blobs):
    X, _ = blobs
    model = rebuild(mlp, Network.of(mlp))
    model.intercepts_[0][dead] = -1e4
    trim = NetTrim(model, scheme=scheme, epsilon_per=epsilon_per).fit(X)
    assert not trim.estimator_.coefs_[0][:, dead].any()
    assert not trim.estimator_.coefs_[1][dead].any()
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
def test_all_features_zero(scheme, mlp):
    trim = NetTrim(mlp, scheme=scheme).fit(np.zeros((10, 4)))
    assert trim.density_ == 0
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
def test_one_hidden_unit(scheme, blobs, train):
    X, _ = blobs
    mlp = train(MLPRegressor(hidden_layer_sizes=(1,), max_iter=30, random_state=0), X, X[:, 0])
    trim = NetTrim(mlp, epsilon=0.1, scheme=scheme).fit(X)
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_weights_of_any_scale(scale, scheme, mlp, blobs):
    X, _ = blobs
    model = rebuild(mlp, Network.of(mlp))
    for layer in range(3):
        model.coefs_[layer] *= scale
        model.intercepts_[layer] *= scale ** (layer + 1)
    trim, plain = (
        NetTrim(estimator, epsilon=0.1, scheme=scheme).fit(X) for estimator in (model, mlp)
    )
    # Every program is the same but for its unit, so the answer is too.
    for ours, theirs, unit in zip(trim.layers_, plain.layers_, [scale] * 3, strict=True):
        assert ours.objective == pytest.approx(unit * theirs.objective, rel=5e-3)

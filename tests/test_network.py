"""What the package knows of MLPs and their wrappers, against scikit-learn's own predictions."""

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknettrim._network import (
    Network,
    check_prunable,
    count_layers,
    innermost,
    is_fitted,
    network_inputs,
    rebuild,
    train,
)

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


# Arithmetic ----------------------------------------------------------------------------------


def test_outputs_are_what_the_mlp_predicts(task):
    mlp, X, _ = task
    last = Network.of(mlp).outputs(X)[-1]
    if not hasattr(mlp, "classes_"):
        expected = mlp.predict(X).reshape(len(X), -1)
    elif mlp.out_activation_ == "softmax":
        last, expected = softmax(last, axis=1), mlp.predict_proba(X)
    else:
        last, expected = expit(last), mlp.predict_proba(X)[:, -last.shape[1] :]
    np.testing.assert_allclose(last, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (1,), (5, 3)])
def test_outputs_for_every_activation_and_depth(activation, hidden, blobs, train):
    X, y = blobs
    mlp = MLPRegressor(hidden_layer_sizes=hidden, activation=activation, max_iter=5, random_state=0)
    network = Network.of(train(mlp, X, y))
    outputs = network.outputs(X)
    assert len(outputs) == network.n_layers + 1 == len(hidden) + 2
    np.testing.assert_allclose(outputs[-1][:, 0], mlp.predict(X), rtol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_lipschitz_constant_is_the_steepest_slope(activation):
    network = Network([np.ones((1, 1))] * 2, [np.zeros(1)] * 2, activation)
    Z = np.linspace(-3, 3, 6001)
    slopes = np.diff(network.activate(0, Z)) / np.diff(Z)
    assert slopes.max() == pytest.approx(network.lipschitz(0), rel=1e-5)


def test_csr_gives_the_same_outputs(mlp, blobs):
    X, _ = blobs
    network = Network.of(mlp)
    for ours, theirs in zip(
        network.outputs(X)[1:], network.outputs(sparse.csr_array(X))[1:], strict=True
    ):
        np.testing.assert_allclose(ours, theirs)


def test_float32_stays_float32(blobs, train):
    X, y = blobs
    mlp = train(MLPClassifier(hidden_layer_sizes=(3,), max_iter=5), X.astype(np.float32), y)
    inputs = network_inputs(mlp, X)
    assert {Y.dtype for Y in Network.of(mlp).outputs(inputs)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("attribute", ["coefs_", "intercepts_"])
def test_weights_that_are_not_finite_name_the_layer(attribute, bad, mlp):
    broken = joblib.hash(mlp), rebuild(mlp, Network.of(mlp))
    getattr(broken[1], attribute)[1][0] = bad
    with pytest.raises(ValueError, match=r"layer 2 of 3.*NaN or infinite"):
        Network.of(broken[1])
    assert joblib.hash(mlp) == broken[0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_responses_that_overflow_name_the_layer(mlp, blobs):
    with pytest.raises(ValueError, match=r"layer \d of 3: its responses to X overflow float64"):
        Network.of(mlp).outputs(blobs[0] * 1e308)


# Levels --------------------------------------------------------------------------------------


def wrapped(mlp, X, y):
    """Every wrapper around a trained MLP, alone and nested, as (name, estimator)."""
    scaler = StandardScaler().fit(X)
    pipeline = make_pipeline(FrozenEstimator(scaler), FrozenEstimator(mlp)).fit(X, y)
    search = GridSearchCV(pipeline, {"verbose": [False]}, cv=2).fit(X, y)
    yield "frozen", FrozenEstimator(mlp)
    yield "pipeline", pipeline
    yield "frozen pipeline", FrozenEstimator(pipeline)
    yield "search", search
    yield "pipeline of a search", make_pipeline("passthrough", search)
    yield "frozen frozen", FrozenEstimator(FrozenEstimator(mlp))
    if isinstance(mlp, MLPRegressor):
        target = TransformedTargetRegressor(FrozenEstimator(mlp), transformer=StandardScaler())
        yield "target", target.fit(X, y)
        yield "pipeline of a target", make_pipeline(scaler, target)
        yield "target of a search", TransformedTargetRegressor(FrozenEstimator(search)).fit(X, y)


@pytest.fixture
def wrappings(mlp, regressor, blobs):
    X, y = blobs
    many = np.column_stack([y, y])
    return [*wrapped(mlp, X, y), *wrapped(regressor, X, many)]


def test_the_mlp_is_found_inside_every_wrapper(wrappings, mlp, regressor):
    for name, estimator in wrappings:
        check_prunable(estimator)
        assert is_fitted(estimator), name
        assert innermost(estimator) in (mlp, regressor), name
        assert count_layers(estimator) == 3, name


def test_network_inputs_and_rebuilding_reproduce_the_predictions(wrappings, blobs):
    X, _ = blobs
    for name, estimator in wrappings:
        network, inputs = Network.of(estimator), network_inputs(estimator, X)
        np.testing.assert_array_equal(
            innermost(estimator).predict(inputs),
            innermost(rebuild(estimator, network)).predict(inputs),
        )
        np.testing.assert_array_equal(
            estimator.predict(X), rebuild(estimator, network).predict(X), err_msg=name
        )


def arrays(value):
    """All arrays inside an estimator, wherever they are."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from arrays(entry)
    elif isinstance(value, BaseEstimator):
        for entry in vars(value).values():
            yield from arrays(entry)


def test_rebuilding_shares_nothing_and_changes_nothing(wrappings):
    for name, estimator in wrappings:
        before = joblib.hash(estimator)
        for array in arrays(rebuild(estimator, Network.of(estimator))):
            array.fill(0)
        assert joblib.hash(estimator) == before, name


def test_rebuilding_leaves_wrappers_around_the_mlp_that_only_served_training(wrappings):
    for name, estimator in wrappings:
        rebuilt = rebuild(estimator, Network.of(estimator))
        assert not isinstance(rebuilt, (FrozenEstimator, GridSearchCV)), name
        assert type(innermost(rebuilt)) is type(innermost(estimator)), name
        assert not {"_optimizer", "_best_coefs"} & set(vars(innermost(rebuilt))), name


def test_the_parameter_of_a_rebuilt_target_regressor_holds_no_network(regressor, blobs):
    X, _ = blobs
    target = TransformedTargetRegressor(FrozenEstimator(regressor)).fit(X, regressor.predict(X))
    rebuilt = rebuild(target, Network.of(target))
    assert isinstance(rebuilt.regressor, MLPRegressor)
    assert not is_fitted(rebuilt.regressor)


def test_subclasses_keep_their_class_and_attributes(blobs, train):
    class Named(MLPClassifier):
        def fit(self, X, y):
            self.label_ = "mine"
            return super().fit(X, y)

    mlp = train(Named(hidden_layer_sizes=(3,), max_iter=5), *blobs)
    rebuilt = rebuild(mlp, Network.of(mlp))
    assert type(rebuilt) is Named
    assert rebuilt.label_ == "mine"


def test_not_fitted_at_any_level(mlp, regressor):
    for estimator in [
        clone(mlp),
        make_pipeline(StandardScaler(), clone(mlp)),
        FrozenEstimator(clone(mlp)),
        GridSearchCV(mlp, {"alpha": [1.0]}),
        TransformedTargetRegressor(regressor),
    ]:
        assert not is_fitted(estimator), estimator


def test_layers_are_counted_before_training_unless_a_search_decides():
    assert count_layers(MLPClassifier()) == 2
    assert count_layers(MLPClassifier(hidden_layer_sizes=())) == 1
    assert count_layers(make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=7))) == 2
    assert count_layers(MLPClassifier(hidden_layer_sizes=np.array([5, 5]))) == 3
    assert count_layers(GridSearchCV(MLPClassifier(), {"hidden_layer_sizes": [(), (5, 5)]})) is None


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(),
        make_pipeline(StandardScaler()),
        make_pipeline(MLPClassifier(), "passthrough"),
        GridSearchCV(RandomForestClassifier(), {}),
        TransformedTargetRegressor(),
        MLPClassifier,
        "mlp",
        None,
    ],
    ids=lambda estimator: repr(estimator)[:30],
)
def test_what_is_not_an_mlp_is_refused_with_the_list_of_what_is_supported(estimator):
    with pytest.raises(TypeError, match=r"MLPClassifier.*Pipeline.*GridSearchCV; got"):
        check_prunable(estimator)
    assert not is_fitted(estimator)


def test_frozen_before_it_was_trained():
    with pytest.raises(NotFittedError, match="fit it before freezing it"):
        check_prunable(make_pipeline(StandardScaler(), FrozenEstimator(MLPClassifier())))


def test_search_without_a_best_estimator():
    with pytest.raises(ValueError, match="set refit=True"):
        check_prunable(GridSearchCV(MLPClassifier(), {}, refit=False))


# Data ----------------------------------------------------------------------------------------


def test_steps_that_check_nothing_and_steps_left_out(mlp, blobs):
    X, _ = blobs
    pipeline = make_pipeline(FunctionTransformer(lambda X: 2 * X), "passthrough", mlp)
    np.testing.assert_array_equal(network_inputs(pipeline, X), 2 * X)


def test_names_are_checked_as_predict_checks_them(blobs, train):
    X, y = blobs
    frame = pd.DataFrame(X, columns=list("abcd"))
    mlp = train(MLPClassifier(hidden_layer_sizes=(3,), max_iter=5), frame, y)
    np.testing.assert_array_equal(network_inputs(mlp, frame), X)
    for wrong in (frame[list("badc")], frame[list("abc")]):
        with pytest.raises(ValueError, match="feature names should match") as ours:
            network_inputs(mlp, wrong)
        with pytest.raises(ValueError) as theirs:
            mlp.predict(wrong)
        assert str(ours.value) == str(theirs.value)


# Training ------------------------------------------------------------------------------------


def test_training_clones(blobs):
    X, y = blobs
    mlp = MLPClassifier(hidden_layer_sizes=(3,), solver="lbfgs", alpha=1, max_iter=500)
    assert is_fitted(train(mlp, X, y))
    assert not is_fitted(mlp)


def test_ctrl_c_while_training_is_not_swallowed(blobs, monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(MLPClassifier(), *blobs)


def test_other_warnings_of_training_stay_what_they_are(blobs):
    with pytest.warns(UserWarning, match="Maximum iterations"):
        train(MLPClassifier(hidden_layer_sizes=(3,), max_iter=1), *blobs)

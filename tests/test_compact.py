"""The compacted network gives the same outputs for any input, and nothing in it could still go."""

import itertools
import pickle
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim, compact
from sknettrim._compact import _response_range, shrink
from sknettrim._network import Network, innermost, rebuild

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


def with_weights(mlp, coefs, intercepts):
    """A fitted MLP like `mlp` with other weights of the same shapes."""
    return rebuild(mlp, Network(coefs, intercepts, mlp.activation))


def thinned(mlp, share, seed=0):
    """A copy of `mlp` in which only a share of the weights is left, and of the intercepts."""
    rng = np.random.default_rng(seed)

    def thin(arrays):
        return [np.where(rng.random(array.shape) < share, array, 0) for array in arrays]

    return with_weights(mlp, thin(mlp.coefs_), thin(mlp.intercepts_))


def inputs(n_features, seed=1):
    """Rows far outside of any training data as well as within."""
    rng = np.random.default_rng(seed)
    scales = np.repeat([0.1, 1.0, 100.0], 20)[:, None]
    return scales * rng.standard_normal((60, n_features))


def assert_same_outputs(one, other, X):
    method = "predict_proba" if hasattr(one, "predict_proba") else "predict"
    expected = getattr(other, method)(X)
    scale = max(np.abs(expected).max(), 1)
    np.testing.assert_allclose(getattr(one, method)(X), expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.fixture
def made(blobs, train):
    """A function that trains an MLP of some kind for a moment."""
    X, y = blobs

    def make(cls=MLPClassifier, **options):
        options = {"hidden_layer_sizes": (12, 8, 5), "max_iter": 3, "random_state": 0} | options
        return train(cls(**options), X, y)

    return make


# Same outputs, nothing superfluous ------------------------------------------------------------


@pytest.mark.parametrize("drop_inputs", [False, True])
@pytest.mark.parametrize("share", [0.6, 0.3, 0.15])
def test_every_kind_of_target(task, share, drop_inputs):
    mlp = thinned(task[0], share)
    assert_same_outputs(compact(mlp, drop_inputs=drop_inputs), mlp, inputs(4))
    assert_same_outputs(compact(mlp, drop_inputs=drop_inputs), mlp, task[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(6))
def test_every_activation(activation, seed, made):
    mlp = thinned(made(activation=activation), 0.3, seed)
    smaller = compact(mlp)
    assert sum(smaller.hidden_layer_sizes) < sum(mlp.hidden_layer_sizes)
    assert_same_outputs(smaller, mlp, inputs(4))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("seed", range(6))
def test_every_neuron_that_is_left_has_weights_in_and_out(activation, seed, made):
    network = shrink(Network.of(thinned(made(activation=activation), 0.3, seed)))
    if not network.coefs[0].any():
        assert not any(W.any() for W in network.coefs)  # constant, see below
        return
    for before, after in itertools.pairwise(network.coefs):
        assert before.any(axis=0).all()
        assert after.any(axis=1).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("share", [1.0, 0.3, 0.1, 0.0])
def test_compacting_again_changes_nothing(activation, share, made):
    once = compact(thinned(made(activation=activation), share))
    assert joblib.hash(compact(once)) == joblib.hash(once)


def test_what_net_trim_has_pruned(task):
    mlp, X, y = task
    trim = NetTrim(mlp, epsilon=0.3, scheme="cascade", inactive="budget").fit(X)
    for drop_inputs in (False, True):
        smaller = trim.compact(drop_inputs=drop_inputs)
        assert_same_outputs(smaller, trim.estimator_, inputs(4))
        assert smaller.score(X, y) == pytest.approx(trim.score(X, y))
    assert joblib.hash(trim.compact()) == joblib.hash(compact(trim.estimator_))


def test_a_network_with_nothing_to_remove_is_equal(mlp, blobs):
    smaller = compact(mlp)
    assert smaller.hidden_layer_sizes == mlp.hidden_layer_sizes
    for ours, theirs in zip(
        smaller.coefs_ + smaller.intercepts_, mlp.coefs_ + mlp.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(smaller.predict_proba(blobs[0]), mlp.predict_proba(blobs[0]))


def test_the_estimator_is_not_changed_and_shares_nothing(made):
    mlp = thinned(made(), 0.3)
    before = joblib.hash(mlp)
    smaller = compact(mlp)
    for array in smaller.coefs_ + smaller.intercepts_ + smaller.loss_curve_:
        np.asarray(array).fill(7)
    assert joblib.hash(mlp) == before


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_no_hidden_layer(kind, made):
    mlp = thinned(made(kind, hidden_layer_sizes=()), 0.4)
    assert compact(mlp).hidden_layer_sizes == ()
    for drop_inputs in (False, True):
        assert_same_outputs(compact(mlp, drop_inputs=drop_inputs), mlp, inputs(4))


def test_float32_stays_float32(blobs, train):
    X, y = blobs
    mlp = MLPClassifier(hidden_layer_sizes=(12, 8), max_iter=5, random_state=0)
    mlp = thinned(train(mlp, X.astype(np.float32), y), 0.3)
    smaller = compact(mlp)
    assert {array.dtype for array in smaller.coefs_ + smaller.intercepts_} == {np.dtype("float32")}
    A = inputs(4).astype(np.float32)
    expected = mlp.predict_proba(A)
    assert smaller.predict_proba(A).dtype == expected.dtype
    np.testing.assert_allclose(smaller.predict_proba(A), expected, atol=1e-4)


# What is constant -----------------------------------------------------------------------------


def second_layer(made, activation, weights, intercept):
    """How many neurons of a second hidden layer are left, of one made of the arguments and one
    that depends on the data.
    """
    mlp = made(MLPRegressor, activation=activation, hidden_layer_sizes=(2, 2))
    coefs = [
        np.full((4, 2), 0.5),
        np.column_stack([weights, [1.0, -1.0]]),
        np.array([[2.0], [3.0]]),
    ]
    coefs[0][0, 1] = -0.5
    mlp = with_weights(mlp, coefs, [np.zeros(2), np.array([intercept, 0.1]), np.ones(1)])
    smaller = compact(mlp)
    assert_same_outputs(smaller, mlp, inputs(4))
    return smaller.hidden_layer_sizes[1]


@pytest.mark.parametrize(
    ("activation", "weights", "intercept", "left"),
    [
        # Behind relu, inputs are at least 0.
        ("relu", [-1.0, -2.0], 0.0, 1),
        ("relu", [-1.0, -2.0], -0.5, 1),
        ("relu", [-1.0, -2.0], 0.01, 2),
        ("relu", [-1.0, 0.01], -100.0, 2),
        ("relu", [0.0, 0.0], 3.0, 1),
        # Behind logistic between 0 and 1, behind tanh between -1 and 1: saturated or not.
        ("logistic", [-20.0, 10.0], 90.0, 1),
        ("logistic", [-20.0, 10.0], 25.0, 2),
        ("logistic", [0.0, 0.0], 0.3, 1),
        ("tanh", [-20.0, 10.0], 60.0, 1),
        ("tanh", [-20.0, 10.0], -60.0, 1),
        ("tanh", [-20.0, 10.0], 30.0, 2),
        ("identity", [-20.0, 10.0], 60.0, 2),
        ("identity", [0.0, 0.0], 60.0, 1),
    ],
)
def test_a_neuron_goes_if_and_only_if_it_is_constant(made, activation, weights, intercept, left):
    assert second_layer(made, activation, weights, intercept) == left


def test_a_first_layer_that_is_off_on_the_data_stays(blobs, made):
    X, _ = blobs
    mlp = made(hidden_layer_sizes=(3,))
    intercepts = [np.full(3, -1e6), mlp.intercepts_[1]]
    mlp = with_weights(mlp, mlp.coefs_, intercepts)
    assert not Network.of(mlp).outputs(X)[1].any()
    assert compact(mlp).hidden_layer_sizes == (3,)


def test_a_constant_that_makes_the_next_neuron_constant(made):
    """The only input of a neuron in layer 2 is constant, and so on to the output."""
    mlp = made(MLPRegressor, hidden_layer_sizes=(2, 2, 2))
    coefs = [np.zeros((4, 2)), np.zeros((2, 2)), np.zeros((2, 2)), np.array([[1.0], [10.0]])]
    coefs[0][:, 1] = 1.0
    for coef in coefs[1:3]:
        coef[:] = np.diag([2.0, 1.0])
    intercepts = [np.array([0.5, 0.0]), np.array([-0.25, 0.0]), np.array([1.0, 0.0]), np.zeros(1)]
    mlp = with_weights(mlp, coefs, intercepts)
    smaller = compact(mlp)
    assert smaller.hidden_layer_sizes == (1, 1, 1)
    assert smaller.intercepts_[-1] == pytest.approx(2 * (2 * 0.5 - 0.25) + 1)
    assert_same_outputs(smaller, mlp, inputs(4))


def test_the_range_of_the_responses_is_that_over_all_corners():
    rng = np.random.default_rng(0)
    W = np.where(rng.random((6, 5)) < 0.7, rng.standard_normal((6, 5)), 0)
    b, low = rng.standard_normal(5), rng.standard_normal(6)
    high = low + rng.random(6)
    corners = np.array(list(itertools.product(*zip(low, high, strict=True)))) @ W + b
    smallest, largest = _response_range(W, b, low, high)
    np.testing.assert_allclose(smallest, corners.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(largest, corners.max(axis=0), rtol=1e-12)


def test_inputs_without_bounds_bound_nothing_that_they_reach():
    W = np.array([[1.0, 0.0, -2.0], [0.0, 0.0, 1.0]])
    b = np.array([1.0, 2.0, 3.0])
    smallest, largest = _response_range(W, b, np.array([0.0, -np.inf]), np.array([1.0, np.inf]))
    np.testing.assert_array_equal(smallest, [1.0, 2.0, -np.inf])
    np.testing.assert_array_equal(largest, [2.0, 2.0, np.inf])


# Layers of which nothing is left --------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("emptied", [[0], [1], [2], [3], [0, 1, 2, 3]])
def test_layers_without_weights_make_the_output_constant(activation, emptied, made):
    mlp = made(activation=activation)
    coefs = [W * (number not in emptied) for number, W in enumerate(mlp.coefs_)]
    mlp = with_weights(mlp, coefs, mlp.intercepts_)
    smaller, without_inputs = compact(mlp), compact(mlp, drop_inputs=True)
    assert smaller.hidden_layer_sizes == (1, 1, 1)
    assert not any(W.any() for W in smaller.coefs_)
    assert without_inputs[-1].n_features_in_ == 1
    for estimator in (smaller, without_inputs):
        assert_same_outputs(estimator, mlp, inputs(4))


# Dropped inputs -------------------------------------------------------------------------------

COLUMNS = ["age", "size", "blood", "weight"]


@pytest.fixture
def framed(blobs, train):
    """A thin MLP trained on a data frame, of which it uses two columns; and the frame."""
    X, y = blobs
    frame = pd.DataFrame(X, columns=COLUMNS)
    mlp = MLPClassifier(hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    mlp = train(mlp, frame, y)
    first = mlp.coefs_[0] * np.array([0.0, 1.0, 0.0, 1.0])[:, None]
    return with_weights(mlp, [first, mlp.coefs_[1]], mlp.intercepts_), frame


def test_columns_of_a_frame_are_taken_by_name(framed):
    mlp, frame = framed
    smaller = compact(mlp, drop_inputs=True)
    assert isinstance(smaller, Pipeline)
    assert type(smaller[-1]) is MLPClassifier
    assert smaller[-1].coefs_[0].shape[0] == smaller[-1].n_features_in_ == 2
    assert list(smaller.feature_names_in_) == COLUMNS
    assert smaller.n_features_in_ == 4
    assert list(smaller[:-1].get_feature_names_out()) == ["size", "weight"]
    expected = mlp.predict_proba(frame)
    for given in (
        frame,
        frame[["weight", "size"]],
        frame[COLUMNS[::-1]].assign(extra=0),
        frame.assign(age=np.nan),
        frame.to_numpy(),
    ):
        np.testing.assert_allclose(smaller.predict_proba(given), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="columns are missing"):
        smaller.predict(frame[["weight"]])


def test_the_selector_is_as_if_fitted_on_the_frame(framed):
    mlp, frame = framed
    ours = compact(mlp, drop_inputs=True)[0]
    theirs = clone(ours).fit(frame)
    assert set(vars(ours)) == set(vars(theirs))
    np.testing.assert_array_equal(ours.transform(frame), theirs.transform(frame))
    np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)
    assert ours.output_indices_ == theirs.output_indices_
    assert repr(ours.transformers_) == repr(theirs.transformers_)


def test_frames_as_the_output_of_transformers_change_nothing(framed):
    mlp, frame = framed
    expected = mlp.predict_proba(frame)
    with config_context(transform_output="pandas"):
        smaller = compact(mlp, drop_inputs=True)
        np.testing.assert_allclose(smaller.predict_proba(frame), expected, rtol=1e-9)
    np.testing.assert_allclose(smaller.predict_proba(frame), expected, rtol=1e-9)


def test_a_pipeline_whose_steps_put_out_frames(framed, blobs, train):
    mlp, frame = framed
    scaler = StandardScaler().set_output(transform="pandas").fit(frame)
    pipeline = make_pipeline(FrozenEstimator(scaler), FrozenEstimator(mlp)).fit(frame, blobs[1])
    smaller = compact(pipeline, drop_inputs=True)
    assert list(smaller[:-1].get_feature_names_out()) == ["size", "weight"]
    assert_same_outputs(smaller, pipeline, frame)


def test_sparse_and_dense_data_and_a_wrong_width(made):
    mlp = thinned(made(hidden_layer_sizes=(8,)), 0.1)
    smaller = compact(mlp, drop_inputs=True)
    assert smaller[-1].n_features_in_ < 4
    X = inputs(4)
    for convert in (sparse.csr_array, sparse.csr_matrix, sparse.csc_array):
        np.testing.assert_allclose(
            smaller.predict_proba(convert(X)), mlp.predict_proba(X), rtol=1e-9
        )
    with pytest.raises(ValueError, match="X has 3 features"):
        smaller.predict(X[:, :3])


def test_a_pipeline_comes_back_when_all_inputs_are_used(mlp):
    smaller = compact(mlp, drop_inputs=True)
    assert [type(step) for _, step in smaller.steps] == [ColumnTransformer, MLPClassifier]
    assert_same_outputs(smaller, mlp, inputs(4))


def test_dropping_inputs_twice(framed):
    mlp, frame = framed
    once = compact(mlp, drop_inputs=True)
    twice = compact(once, drop_inputs=True)
    assert len(twice.named_steps) == 3
    assert_same_outputs(twice, mlp, frame)
    assert_same_outputs(compact(twice), mlp, frame)
    assert len(compact(twice).steps) == 3
    twice.get_params()


# Wrappers -------------------------------------------------------------------------------------


def test_every_wrapper(made, blobs, train):
    X, y = blobs
    scaler = FrozenEstimator(StandardScaler().fit(X))
    mlp = thinned(made(), 0.3)
    regressor = thinned(made(MLPRegressor), 0.3)
    pipeline = make_pipeline(scaler, FrozenEstimator(mlp)).fit(X, y)
    target = TransformedTargetRegressor(
        make_pipeline(scaler, FrozenEstimator(regressor)), transformer=StandardScaler()
    ).fit(X, y)
    for estimator, structure in [
        (FrozenEstimator(mlp), MLPClassifier),
        (pipeline, Pipeline),
        (FrozenEstimator(pipeline), Pipeline),
        (GridSearchCV(pipeline, {}, cv=2).fit(X, y), Pipeline),
        (make_pipeline("passthrough", pipeline), Pipeline),
        (target, TransformedTargetRegressor),
        (
            TransformedTargetRegressor(FrozenEstimator(regressor)).fit(X, y),
            TransformedTargetRegressor,
        ),
    ]:
        before = joblib.hash(estimator)
        smaller = compact(estimator)
        assert type(smaller) is structure
        assert_same_outputs(smaller, estimator, inputs(4))
        dropped = compact(estimator, drop_inputs=True)
        assert_same_outputs(dropped, estimator, inputs(4))
        assert innermost(dropped).n_features_in_ == innermost(dropped).coefs_[0].shape[0]
        assert joblib.hash(estimator) == before
        train(clone(dropped), X, y)


def test_a_pipeline_gets_one_more_step_and_keeps_its_names(made, blobs):
    mlp = thinned(made(), 0.3)
    pipeline = Pipeline([("scale", StandardScaler().fit(blobs[0])), ("net", mlp)])
    dropped = compact(pipeline, drop_inputs=True)
    assert list(dropped.named_steps) == ["scale", "used_inputs", "net"]
    assert list(compact(pipeline).named_steps) == ["scale", "net"]


# A fitted estimator like any other ------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_it_can_be_trained_further_and_cloned(kind, solver, made, blobs):
    X, y = blobs
    smaller = compact(thinned(made(kind, solver=solver, warm_start=True), 0.3))
    sizes = [W.shape for W in smaller.coefs_]
    assert smaller.n_layers_ == len(smaller.hidden_layer_sizes) + 2
    assert [len(b) for b in smaller.intercepts_] == [shape[1] for shape in sizes]
    assert not hasattr(clone(smaller), "coefs_")
    assert [W.shape for W in clone(smaller).fit(X, y).coefs_] == sizes
    smaller.fit(X, y)
    if solver != "lbfgs":
        smaller.partial_fit(X, y)
    assert [W.shape for W in smaller.coefs_] == sizes


def test_predictions_in_a_process_without_this_package(framed, tmp_path):
    mlp, frame = framed
    models = [compact(mlp), compact(mlp, drop_inputs=True)]
    (tmp_path / "models").write_bytes(pickle.dumps((models, frame)))
    script = textwrap.dedent("""
        import pickle, sys
        sys.modules["sknettrim"] = None  # importing it would fail
        models, X = pickle.load(open("models", "rb"))
        pickle.dump([model.predict_proba(X) for model in models], open("predictions", "wb"))
    """)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    for predicted in pickle.loads((tmp_path / "predictions").read_bytes()):
        np.testing.assert_allclose(predicted, mlp.predict_proba(frame), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx_gives_the_same_values(made):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = inputs(4)[:40].astype(np.float32)
    mlp = thinned(made(), 0.3)
    pipeline = make_pipeline(StandardScaler().fit(X), mlp)
    # skl2onnx takes a ColumnTransformer as the first step of a pipeline only.
    for estimator, drop_inputs in ((mlp, False), (mlp, True), (pipeline, False)):
        smaller = compact(estimator, drop_inputs=drop_inputs)
        converted = skl2onnx.to_onnx(smaller, X[:1], options={"zipmap": False})
        session = onnxruntime.InferenceSession(
            converted.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        labels, values = session.run(None, {session.get_inputs()[0].name: X})
        np.testing.assert_array_equal(labels, estimator.predict(X))
        np.testing.assert_allclose(values, estimator.predict_proba(X), atol=1e-5)


def test_it_is_smaller_on_disk(train):
    X = np.random.default_rng(0).standard_normal((60, 40))
    mlp = train(MLPRegressor(hidden_layer_sizes=(200, 50), max_iter=5, random_state=0), X, X[:, 0])
    trim = NetTrim(mlp, epsilon=0.4, scheme="cascade", inactive="budget").fit(X)
    assert len(pickle.dumps(trim.compact())) < 0.5 * len(pickle.dumps(trim.estimator_))


# Bad input ------------------------------------------------------------------------------------


def test_what_is_not_fitted_or_no_mlp_is_refused(mlp, blobs):
    for estimator in (MLPClassifier(), make_pipeline(StandardScaler(), MLPRegressor())):
        with pytest.raises(NotFittedError, match="not fitted: compact takes a trained network"):
            compact(estimator)
    for estimator in (LogisticRegression().fit(*blobs), "mlp", NetTrim(mlp).fit(blobs[0])):
        with pytest.raises(TypeError, match="expected an MLPClassifier or an MLPRegressor"):
            compact(estimator)
    with pytest.raises(ValueError, match="drop_inputs"):
        compact(mlp, drop_inputs="all")
    with pytest.raises(TypeError):
        compact(mlp, True)
    with pytest.raises(NotFittedError):
        NetTrim(mlp).compact()


def test_weights_that_are_not_finite_are_refused(mlp):
    broken = rebuild(mlp, Network.of(mlp))
    broken.coefs_[1][0] = np.inf
    with pytest.raises(ValueError, match=r"layer 2 of 3.*NaN or infinite"):
        compact(broken)

"""What comes out needs this package no more: pickles, joblib, skops, other processes, ONNX."""

import copy
import pickle
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim


@pytest.fixture(scope="module")
def models(blobs, train):
    """A classifier, a regressor, a pipeline, a target transformer: each fitted."""
    X, y = blobs
    options = {"hidden_layer_sizes": (20, 10), "max_iter": 40, "random_state": 0}
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**options))
    target = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    return [
        train(MLPClassifier(**options), X, y),
        train(MLPRegressor(**options), X, X[:, 1] ** 2),
        train(pipeline, X, y),
        train(target, X, X[:, 0] ** 2),
    ]


def test_pickles_are_smaller_than_those_of_the_original(models, blobs):
    for model in models:
        pruned = NetTrim(model).fit(blobs[0]).estimator_
        assert len(pickle.dumps(pruned)) < 0.6 * len(pickle.dumps(model)), model


def test_predictions_in_a_process_without_this_package(models, blobs, tmp_path):
    X, _ = blobs
    pruned = [NetTrim(model).fit(X).estimator_ for model in models]
    (tmp_path / "models").write_bytes(pickle.dumps((pruned, X)))
    script = textwrap.dedent("""
        import pickle, sys
        sys.modules["sknettrim"] = None  # importing it would fail
        models, X = pickle.load(open("models", "rb"))
        pickle.dump([model.predict(X) for model in models], open("predictions", "wb"))
    """)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    predictions = pickle.loads((tmp_path / "predictions").read_bytes())
    for model, predicted in zip(pruned, predictions, strict=True):
        np.testing.assert_allclose(model.predict(X), predicted)


@pytest.fixture(scope="module")
def outcomes(models, blobs):
    """What a user may want to keep, of each model: pruned, fine-tuned, compact."""
    X, y = blobs
    targets = [y, X[:, 1] ** 2, y, X[:, 0] ** 2]
    estimators = []
    for model, target in zip(models, targets, strict=True):
        trim = NetTrim(model, epsilon=0.3, random_state=0).fit(X)
        estimators.append(trim.estimator_)
        trim.fine_tune(X, target, max_iter=3)
        estimators += [trim.estimator_, trim.compact(), trim.compact(drop_inputs=True)]
    return estimators


def assert_same(one, other, X):
    """Same type, parameters and answers, to the last bit."""
    assert type(one) is type(other)
    assert repr(one) == repr(other)
    for method in ("predict", "predict_proba"):
        if hasattr(one, method):
            np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X))


def test_joblib_round_trips(outcomes, blobs, tmp_path):
    for estimator in outcomes:
        for compress in (0, 3):
            joblib.dump(estimator, tmp_path / "model", compress=compress)
            assert_same(estimator, joblib.load(tmp_path / "model"), blobs[0])


def test_skops_round_trips_without_trusting_any_type(outcomes, blobs):
    sio = pytest.importorskip("skops.io")
    for estimator in outcomes:
        saved = sio.dumps(estimator)
        assert sio.get_untrusted_types(data=saved) == []
        assert_same(estimator, sio.loads(saved), blobs[0])


def test_skops_has_to_trust_sparse_weights(mlp, blobs):
    sio = pytest.importorskip("skops.io")
    estimator = copy.deepcopy(mlp)
    estimator.coefs_ = [sparse.csr_array(W) for W in mlp.coefs_]
    saved = sio.dumps(estimator)
    trusted = sio.get_untrusted_types(data=saved)
    assert "scipy.sparse._csr.csr_array" in trusted
    assert_same(estimator, sio.loads(saved, trusted=trusted), blobs[0])


def test_skops_round_trips_of_a_nettrim(models, blobs):
    """With the original inside, and what only training needed. The list is in the user guide."""
    sio = pytest.importorskip("skops.io")
    trusted = [
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sknettrim._net_trim.NetTrim",
        "sknettrim._network.Network",
        "sknettrim._solve.LayerResult",
    ]
    for model in models:
        trim = NetTrim(model).fit(blobs[0])
        saved = sio.dumps(trim)
        assert sio.get_untrusted_types(data=saved) == trusted
        again = sio.loads(saved, trusted=trusted)
        assert_same(trim, again, blobs[0])
        assert again.summary() == trim.summary()


def selects_late(estimator):
    """Whether a step before the network selects from what other steps have made."""
    return isinstance(estimator, Pipeline) and len(estimator) > 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx_gives_the_same_labels_and_values(outcomes, blobs):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = blobs[0].astype(np.float32)
    for estimator in outcomes:
        if isinstance(estimator, TransformedTargetRegressor) or selects_late(estimator):
            continue  # skl2onnx cannot
        classifies = hasattr(estimator, "classes_")
        model = skl2onnx.to_onnx(
            estimator, X[:1], options={"zipmap": False} if classifies else None
        )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        predicted, *probabilities = session.run(None, {session.get_inputs()[0].name: X})
        if classifies:
            np.testing.assert_array_equal(predicted, estimator.predict(X))
            np.testing.assert_allclose(probabilities[0], estimator.predict_proba(X), atol=1e-5)
        else:
            np.testing.assert_allclose(predicted.ravel(), estimator.predict(X), 1e-5, 1e-5)


def test_weights_that_were_dropped_are_exactly_zero(models, blobs):
    trim = NetTrim(models[0], epsilon=0.2).fit(blobs[0])
    for coef in trim.estimator_.coefs_:
        smallest = np.abs(coef[coef != 0]).min()
        assert smallest > 1e-8 * np.abs(coef).max()
        assert (coef == 0).any()


def test_training_further_works(models, blobs):
    X, y = blobs
    pruned = NetTrim(models[0], epsilon=0.2).fit(X).estimator_
    assert pruned.partial_fit(X, y).score(X, y) > 0.3


def test_training_further_with_early_stopping_works(blobs, train):
    X, y = blobs
    mlp = MLPClassifier(
        hidden_layer_sizes=(10,), early_stopping=True, warm_start=True, max_iter=20, random_state=0
    )
    pruned = NetTrim(train(mlp, X, y), epsilon=0.3).fit(X).estimator_
    train(pruned, X, y)
    assert 0 < pruned.best_validation_score_ <= 1

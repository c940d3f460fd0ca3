"""What comes out needs this package no more: pickles, other processes, ONNX."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx_gives_the_same_labels(models, blobs):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = blobs[0].astype(np.float32)
    for model in models[:3]:
        pruned = NetTrim(model).fit(blobs[0]).estimator_
        converted = skl2onnx.to_onnx(
            pruned, X[:1], options={"zipmap": False} if hasattr(pruned, "classes_") else None
        )
        session = onnxruntime.InferenceSession(
            converted.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        predicted = session.run(None, {session.get_inputs()[0].name: X})[0]
        np.testing.assert_allclose(np.ravel(predicted), pruned.predict(X), rtol=1e-3, atol=1e-4)


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

"""The C header: compiled, it answers as scikit-learn does, and zeros take no place in it."""

import copy
import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknettrim import NetTrim, export_c
from sknettrim._network import Network, rebuild

# -Wdouble-promotion: a double costs dearly where there is no hardware for it.
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-pedantic", "-Werror"]
COMPILERS = [
    pytest.param(
        [program, standard],
        marks=pytest.mark.skipif(not shutil.which(program), reason=f"no compiler {program} found"),
        id=program,
    )
    for program, standard in (("cc", "-std=c99"), ("c++", "-std=c++11"))
]
FUNCTIONS = {"predict": ctypes.c_int, "predict_proba": None}


@pytest.fixture(scope="module", params=COMPILERS)
def compiled(request, tmp_path_factory):
    """Compiles the header of an estimator and returns its functions, for arrays of rows."""

    def compile_header(estimator):
        folder = tmp_path_factory.mktemp("c")
        header = export_c(estimator, name="net")
        (folder / "net.h").write_text(header)
        # Inline functions are in no library: give the ones of the header a name outside.
        calls = re.findall(r"static inline (\w+) net_(predict\w*)\((.*)\)$", header, re.MULTILINE)
        source = ['#include "net.h"', '#include "net.h"']
        for kind, name, given in calls:
            result, names = ("return ", "x") if kind == "int" else ("", "x, outputs")
            source += [
                "#ifdef __cplusplus", 'extern "C"', "#endif",
                f"{kind} {name}({given});",
                f"{kind} {name}({given}) {{ {result}net_{name}({names}); }}",
            ]  # fmt: skip
        (folder / "net.c").write_text("\n".join(source) + "\n")
        language = ["-x", "c++"] if request.param[0] == "c++" else []
        subprocess.run(
            [*request.param, *STRICT, "-O1", "-shared", "-fPIC", *language,
             "net.c", "-o", "net.so", "-lm"], cwd=folder, check=True,
        )  # fmt: skip
        return Header(ctypes.CDLL(str(folder / "net.so")), calls, header)

    return compile_header


class Header:
    def __init__(self, library, calls, text):
        self.functions = {name: getattr(library, name) for _, name, _ in calls}
        self.kinds = {name: kind for kind, name, _ in calls}
        self.inputs, self.outputs = (
            int(re.search(rf"#define net_{which} (\d+)", text)[1])
            for which in ("INPUTS", "OUTPUTS")
        )

    def __call__(self, name, X):
        X = np.ascontiguousarray(X, dtype=np.float32)
        assert X.shape[1] == self.inputs
        function, pointer = self.functions[name], ctypes.POINTER(ctypes.c_float)
        if self.kinds[name] == "int":
            return np.array([function(row.ctypes.data_as(pointer)) for row in X])
        outputs = np.empty((len(X), self.outputs), dtype=np.float32)
        for row, values in zip(X, outputs, strict=True):
            function(row.ctypes.data_as(pointer), values.ctypes.data_as(pointer))
        return outputs


def check_same(mlp, compiled, X):
    header = compiled(mlp)
    if not is_classifier(mlp):
        expected = mlp.predict(X).reshape(len(X), -1)
        np.testing.assert_allclose(header("predict", X), expected, rtol=1e-5, atol=1e-5)
        return
    np.testing.assert_allclose(header("predict_proba", X), mlp.predict_proba(X), atol=1e-5)
    if mlp.out_activation_ == "logistic" and mlp.n_outputs_ > 1:
        assert "predict" not in header.functions
        np.testing.assert_array_equal(header("predict_proba", X) > 0.5, mlp.predict(X))
    else:
        np.testing.assert_array_equal(mlp.classes_[header("predict", X)], mlp.predict(X))


# The same answers ----------------------------------------------------------------------------


def test_every_kind_of_target(task, compiled):
    mlp, X, _ = task
    check_same(NetTrim(mlp, epsilon=0.1).fit(X).estimator_, compiled, X)


@pytest.mark.parametrize("activation", ["identity", "tanh", "logistic"])
@pytest.mark.parametrize("hidden", [(), (5,), (7, 3, 6, 2)], ids=str)
def test_every_activation_and_depth(activation, hidden, blobs, train, compiled):
    X, y = blobs
    mlp = MLPClassifier(hidden, activation=activation, max_iter=30, random_state=0)
    check_same(train(mlp, X, y), compiled, X)


def test_a_poisson_regressor(blobs, train, compiled):
    X, _ = blobs
    mlp = MLPRegressor(hidden_layer_sizes=(6,), max_iter=30, random_state=0)
    if "loss" not in mlp.get_params():
        pytest.skip("this scikit-learn has no Poisson loss")
    check_same(train(mlp.set_params(loss="poisson"), X, np.abs(X[:, 0])), compiled, X)


def test_labels_are_found_by_their_position(blobs, train, compiled):
    X, y = blobs
    labels = np.array(["*/ nine", "$name \\", 'x"é\n'])[y]
    mlp = train(MLPClassifier((6,), max_iter=60, random_state=0), X, labels)
    check_same(mlp, compiled, X)


def test_scales_keep_their_digits(blobs, train, compiled):
    """Six places after the point, say, would leave nothing of weights for large inputs."""
    X, _ = blobs
    mlp = train(MLPRegressor(hidden_layer_sizes=(6,), max_iter=60, random_state=0), X, X[:, 0])
    for scale in (1e-12, 1e12):
        network = Network.of(mlp)
        network = Network([network.coefs[0] / scale, network.coefs[1]],
                          network.intercepts, network.activation)  # fmt: skip
        check_same(rebuild(mlp, network), compiled, X * scale)


def test_inputs_wider_than_a_byte_and_layers_without_weights(compiled):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(20, 300)), np.arange(20) % 3
    mlp = MLPClassifier((4, 3), max_iter=1, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    check_same(mlp, compiled, X)
    for W in mlp.coefs_[1:]:
        W[:] = 0
    check_same(mlp, compiled, X)


def test_single_precision_networks(blobs, train, compiled):
    X, y = blobs[0].astype(np.float32), blobs[1]
    check_same(train(MLPClassifier((6,), max_iter=60, random_state=0), X, y), compiled, X)


def test_sparse_weights_are_weights(mlp):
    stored = copy.deepcopy(mlp)
    stored.coefs_ = [sparse.csr_array(W) for W in mlp.coefs_]
    assert export_c(stored) == export_c(mlp)


def test_a_compact_network_takes_less(mlp, blobs, compiled):
    trim = NetTrim(mlp, epsilon=0.5).fit(blobs[0])
    assert len(export_c(trim.compact())) < len(export_c(trim.estimator_))
    check_same(trim.compact(), compiled, blobs[0])
    check_same(trim.compact(drop_inputs=True)[-1], compiled, blobs[0][:, trim.get_support()])


# What it takes -------------------------------------------------------------------------------


def constants(header):
    """Number of values in the arrays of a header, by the names of the arrays."""
    arrays = re.findall(r"static const \w+ \w+?_(\w+)\[(\d+)\]", header)
    return {name: int(length) for name, length in arrays}


def test_only_weights_that_are_not_zero_are_stored(mlp, blobs):
    pruned = NetTrim(mlp, epsilon=0.3).fit(blobs[0]).estimator_
    header = export_c(pruned)
    lengths = constants(header)
    for number, W in enumerate(pruned.coefs_, start=1):
        for array in ("weight", "index"):
            assert lengths[f"{array}_{number}"] == np.count_nonzero(W)
        assert lengths[f"start_{number}"] == W.shape[1] + 1
    kept, places = (sum(map(f, pruned.coefs_)) for f in (np.count_nonzero, np.size))
    bytes_each = 5 * kept + 5 * sum(W.shape[1] for W in pruned.coefs_) + len(pruned.coefs_)
    assert f"{kept} of {places} weights are not zero; {bytes_each} bytes of constants" in header


def test_the_types_are_the_smallest_that_fit():
    for n_inputs, index in ((256, "uint8_t"), (257, "uint16_t"), (65537, "uint32_t")):
        X, y = np.ones((4, n_inputs)), np.arange(4) % 2
        mlp = MLPClassifier((1,), max_iter=1, random_state=0).partial_fit(X, y, classes=[0, 1])
        header = export_c(mlp)
        assert f"static const {index} network_index_1" in header
        start = "uint16_t" if n_inputs < 65536 else "uint32_t"
        assert f"static const {start} network_start_1" in header


# What it refuses -----------------------------------------------------------------------------


def test_a_frozen_mlp_is_an_mlp(mlp):
    assert export_c(FrozenEstimator(mlp)) == export_c(make_pipeline(mlp)) == export_c(mlp)


def test_what_transforms_is_refused(mlp, blobs, train):
    X, y = blobs
    pipeline = train(make_pipeline(StandardScaler(), copy.deepcopy(mlp)), X, y)
    with pytest.raises(TypeError, match=r"Pipeline transforms its inputs.*pipeline\[-1\]"):
        export_c(pipeline)
    target = TransformedTargetRegressor(MLPRegressor(max_iter=20), transformer=StandardScaler())
    with pytest.raises(TypeError, match="TransformedTargetRegressor transforms"):
        export_c(train(target, X, X[:, 0]))


def test_what_is_no_trained_mlp_is_refused(mlp, blobs):
    with pytest.raises(NotFittedError, match="takes a trained network"):
        export_c(MLPClassifier())
    with pytest.raises(TypeError, match="got StandardScaler"):
        export_c(StandardScaler())
    with pytest.raises(TypeError, match="got NetTrim"):
        export_c(NetTrim(mlp).fit(blobs[0]))


@pytest.mark.parametrize("name", ["", "2nd", "a-b", "é", "a b", "a\n"])
def test_names_that_are_not_of_c_are_refused(mlp, name):
    with pytest.raises(ValueError, match="C identifier"):
        export_c(mlp, name=name)


def test_weights_that_a_float_cannot_hold_are_refused(mlp):
    network = Network.of(mlp)
    coefs = [network.coefs[0], network.coefs[1] * 1e40, network.coefs[2]]
    with pytest.raises(ValueError, match="layer 2: a weight is too large for single precision"):
        export_c(rebuild(mlp, Network(coefs, network.intercepts, "relu")))

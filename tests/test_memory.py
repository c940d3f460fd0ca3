"""Inputs that may not be written to or lie in a file, what is copied, and how much is held."""

import numpy as np
import pytest
from scipy import sparse

from benchmarks._data import made_layer
from benchmarks._measure import peak_memory
from sknettrim import NetTrim, _trim, trim_layer
from sknettrim._problem import LayerProblem
from sknettrim.solvers._base import zero
from sknettrim.solvers._newton import refine

RNG = np.random.default_rng(0)
A = RNG.standard_normal((60, 6))
A[:, 4] = A[:, 2]  # one input to leave out
Y = np.maximum(A @ RNG.standard_normal((6, 4)), 0)


def read_only(array):
    parts = [array.data, array.indices, array.indptr] if sparse.issparse(array) else [array]
    for part in parts:
        part.setflags(write=False)
    return array


def in_file(array, folder):
    np.save(folder / "array.npy", array)
    return np.load(folder / "array.npy", mmap_mode="r")


@pytest.mark.parametrize("solver", ["admm", "cvxpy"])
@pytest.mark.parametrize("inactive", ["strict", "budget"])
@pytest.mark.parametrize("storage", [np.array, sparse.csr_array])
@pytest.mark.parametrize(("tol", "upper"), [(1e-3, 0.1), (1e-6, None)])
def test_a_layer_of_read_only_arrays(tol, upper, storage, inactive, solver):
    """Without an upper bound the targets themselves are what double precision works with."""

    def trim(finish):
        return trim_layer(
            finish(storage(A)),
            finish(Y.copy()),
            epsilon=0.1,
            inactive=inactive,
            upper=None if upper is None else finish(np.full(Y.shape, upper)),
            penalty_weights=finish(np.linspace(1, 2, 24).reshape(6, 4)),
            solver=solver,
            tol=tol,
        )

    np.testing.assert_array_equal(trim(read_only).coef, trim(lambda array: array).coef)


@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
@pytest.mark.parametrize("storage", [np.array, sparse.csr_array])
def test_a_network_on_read_only_data(storage, scheme, mlp, blobs):
    trim = NetTrim(mlp, epsilon=0.1, scheme=scheme)
    expected = trim.fit(storage(blobs[0])).estimator_.coefs_
    found = trim.fit(read_only(storage(blobs[0]))).estimator_.coefs_
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def problems(monkeypatch):
    """The problems that are solved in this process during the test."""
    seen = []

    def note(solve):
        def noting(problem, *args, **options):
            seen.append(problem)
            return solve(problem, *args, **options)

        return noting

    monkeypatch.setattr(_trim, "solve_layer", note(_trim.solve_layer))
    return seen


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_is_read_from_its_file_not_copied(dtype, problems, tmp_path):
    mapped = in_file(A.astype(dtype), tmp_path)
    trim_layer(mapped, Y.astype(dtype), epsilon=0.1)
    assert np.shares_memory(problems[0].A, mapped)


def test_calibration_data_are_read_from_their_file_not_copied(mlp, blobs, problems, tmp_path):
    mapped = in_file(blobs[0], tmp_path)
    trim = NetTrim(mlp, epsilon=0.1).fit(mapped)
    assert np.shares_memory(problems[0].A, mapped)
    np.testing.assert_array_equal(trim.predict(mapped), trim.predict(blobs[0]))


@pytest.mark.parametrize(
    "options",
    [
        {"inactive": "strict"},
        {"inactive": "strict", "tol": 1e-6},
        {"inactive": "budget", "tol": 1e-6},
        {"activation": "identity", "tol": 1e-6},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_layer_takes_three_times_the_memory_of_inputs_and_responses(options):
    """At most, in double precision too, and where inputs are left out."""
    assert _share_of_memory(3000, 120, 120, **options) <= 3


@pytest.mark.parametrize(
    "options",
    [
        {"inactive": "strict"},
        {"inactive": "strict", "tol": 1e-6},
        {"inactive": "budget"},
        {"activation": "identity"},
    ],
    ids=str,
)
def test_so_does_a_layer_of_many_more_neurons_than_inputs(options):
    assert _share_of_memory(4000, 20, 300, **options) <= 3


@pytest.mark.parametrize("shape", [(1000, 1500, 100), (1000, 1000, 250)], ids=str)
@pytest.mark.parametrize("inactive", ["strict", "budget"])
def test_so_does_a_layer_of_as_many_inputs_as_rows_or_more(inactive, shape):
    inputs, responses = made_layer("gaussian", *shape)
    targets = np.maximum(responses, 0)
    peak = peak_memory(lambda: trim_layer(inputs, targets, epsilon=0.2, inactive=inactive))
    assert peak <= 3 * (inputs.nbytes + targets.nbytes)


@pytest.mark.parametrize(("inactive", "share"), [("strict", 3.8), ("budget", 3.1)])
def test_newtons_method_takes_a_little_more(inactive, share):
    """In double precision, for responses, the best dual point, and the multipliers of rows."""
    inputs, responses = made_layer("unscaled", 3000, 40, 40)
    targets = np.maximum(responses, 0)
    problem = LayerProblem(inputs, targets, 0.2 * np.linalg.norm(targets), inactive=inactive)
    peak = peak_memory(lambda: refine(problem, zero(problem), tol=1e-3, max_iter=10))
    assert peak <= share * (inputs.nbytes + targets.nbytes)


def _share_of_memory(n_rows, n_inputs, n_neurons, **options):
    """Peak memory of a solve relative to that of inputs, a quarter of them zero, and responses."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((n_rows, 10)) @ rng.standard_normal((10, n_inputs))
    inputs = np.maximum(factors + rng.standard_normal(factors.shape), 0)
    inputs = np.hstack([inputs, np.zeros((n_rows, n_inputs // 3))])
    targets = (inputs - inputs.mean(axis=0)) @ rng.standard_normal((inputs.shape[1], n_neurons))
    if "activation" not in options:
        np.maximum(targets, 0, out=targets)
    peak = peak_memory(lambda: trim_layer(inputs, targets, epsilon=0.2, **options))
    return peak / (inputs.nbytes + targets.nbytes)

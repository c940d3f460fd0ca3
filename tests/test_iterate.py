"""The parts of an ADMM iteration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import brentq

from benchmarks._data import made_layer
from sknettrim._problem import LayerProblem
from sknettrim.solvers._ball import shares_of_a_ball
from sknettrim.solvers._iterate import Iterate
from sknettrim.solvers._least_squares import least_squares


@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    epsilon=st.sampled_from([1e-3, 0.3, 1.0, 3.0, 1e4]),
)
@settings(max_examples=100)
def test_the_nearest_point_of_a_ball_by_neurons_that_weigh_more_or_less(seed, spread, epsilon):
    """As a root of the secular equation, which another method finds."""
    rng = np.random.default_rng(seed)
    squares = rng.standard_normal(20) ** 2 * 10.0 ** rng.uniform(-spread, spread, 20)
    squares[0] = 0.0
    rho = 10.0 ** rng.uniform(-spread, spread, 20)
    single = (np.float32(array) for array in (squares, rho, epsilon))
    shares = shares_of_a_ball(*single)
    if squares.sum() <= epsilon**2:
        np.testing.assert_array_equal(shares, 1.0)
        return

    def excess(log_multiplier):
        return np.log(np.sum((rho / (rho + np.exp(log_multiplier))) ** 2 * squares) / epsilon**2)

    multiplier = np.exp(brentq(excess, -40, 40, xtol=1e-12))
    np.testing.assert_allclose(shares, rho / (rho + multiplier), rtol=1e-4)
    if spread == 0.0:
        np.testing.assert_allclose(shares, epsilon / np.sqrt(squares.sum()), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_it_ends_where_numbers_run_out_of_range(bad):
    with np.errstate(all="ignore"):
        shares_of_a_ball(np.array([1.0, bad]), np.ones(2), 0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", [np.array, sparse.csr_array])
@pytest.mark.parametrize("shape", [(60, 20), (20, 60)], ids=["tall", "wide"])
def test_weights_are_least_squares(shape, storage, dtype):
    """The gradient is zero there; and A X is what it is said to be, both times."""
    A, Y = made_layer("correlated", *shape, 5)
    iterate = Iterate(LayerProblem(storage(A), Y, 0.1 * np.linalg.norm(Y)), None, dtype)
    iterate.advance(7)
    assert iterate.inverse.wide == (shape[0] < shape[1])
    everything = slice(None)
    if iterate.X is None:
        iterate.X = np.empty_like(iterate.Z)
    found = least_squares(iterate)
    found.weights(everything, out=iterate.X)
    first, again = found.responses(everything), found.responses_again(everything)
    np.testing.assert_array_equal(first, again)

    inputs = iterate.A.toarray() if sparse.issparse(iterate.A) else iterate.A
    accuracy = 100 * np.finfo(dtype).eps * np.abs(iterate.S).max() * np.linalg.norm(inputs) ** 2
    X = iterate.X.astype(np.float64)
    missing = inputs @ X - (iterate.S - iterate.a)
    slope = inputs.T @ missing + iterate.inverse.value * (X - (iterate.Z - iterate.b))
    np.testing.assert_allclose(slope, 0, atol=accuracy)
    np.testing.assert_allclose(first, inputs @ X, atol=accuracy)


@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("inactive", ["strict", "budget"])
def test_what_is_folded_is_parted_again(inactive, per_neuron):
    A, Z = made_layer("correlated", 300, 20, 15)
    Y = np.maximum(Z, 0)
    epsilon = 0.1 * np.linalg.norm(Y, axis=0 if per_neuron else None)
    iterate = Iterate(LayerProblem(A, Y, epsilon, inactive=inactive), None, np.float64)
    for _ in range(3):
        iterate.advance(5)
        iterate.balance()
    iterate.advance(5)
    S, a = iterate.S.copy(), iterate.a.copy()
    iterate.fold()
    assert iterate.a is None
    np.testing.assert_allclose(iterate.S, S + a)
    iterate.unfold()
    assert np.any(a)
    for before, after in ((S, iterate.S), (a, iterate.a)):
        np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-12)

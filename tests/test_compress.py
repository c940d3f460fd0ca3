"""Linear layers on fewer rows: the same program, and the way back."""

from dataclasses import replace

import numpy as np
import pytest
from _layers import random_layer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sknettrim import trim_layer
from sknettrim.solvers import Solution
from sknettrim.solvers import _admm as admm
from sknettrim.solvers._compress import compress

seeds = st.integers(0, 2**32 - 1)
options = {"seed": seeds, "weighted": st.booleans(), "per_neuron": st.booleans()}
DEGENERATE = {
    "well": lambda A: A,
    "collinear": lambda A: np.column_stack([A[:, :-1], A[:, 0] - 2 * A[:, 1]]),
    "constant": lambda A: np.column_stack([A[:, :-1], np.full(len(A), 1e6)]),
    "off centre": lambda A: A + 1e4,
    "six orders": lambda A: A * np.logspace(-3, 3, A.shape[1]),
}
degenerate = pytest.mark.parametrize("change", DEGENERATE.values(), ids=DEGENERATE)


def linear_layer(change, seed, **options):
    """With targets that the weights reach only up to a part of epsilon."""
    layer = random_layer(seed, n=60, matched=True, cascade=True, **options)
    return replace(layer, A=change(layer.A))


def reachable(layer, factor=1.5):
    """A radius that leaves room beside the least squares fit."""
    A = np.column_stack([layer.A, np.ones(len(layer.A))])
    fit = A @ np.linalg.lstsq(A, layer.Y)[0]
    squares = np.sum((fit - layer.Y) ** 2, axis=0)
    return factor * np.sqrt(squares if layer.per_neuron else squares.sum())


@degenerate
@given(**options)
@settings(max_examples=30)
def test_the_compressed_program_is_the_whole_one(change, seed, weighted, per_neuron):
    """Objectives, feasibility and bounds are the same, at points far from any optimum."""
    layer = linear_layer(change, seed, weighted=weighted, per_neuron=per_neuron)
    layer = replace(layer, radius=reachable(layer))
    problem = layer.problem()
    compression = compress(problem)
    small = compression.problem
    p, m = problem.shape
    assert len(small.Y) == p + 1

    rng = np.random.default_rng(seed)
    U = rng.standard_normal((p, m)) / np.linalg.norm(layer.A, axis=0)[:, None]
    # Dual feasible: in the range of the inputs, centred, and within the penalty.
    Xi = small.dual_point(small.A @ (U * rng.random((p, m)))).dense()
    point = Solution(U, np.zeros(m), Xi, 1)
    whole = compression.expand(point)
    there, here = layer.prove(U, whole.c, whole.Xi), small.certify(U, point.c, Xi)
    assert here.objective == pytest.approx(there.objective)
    assert here.dual_objective == pytest.approx(there.dual_objective, rel=1e-6)
    squares = compression.problem.epsilon**2 - layer.radius**2
    np.testing.assert_allclose(
        np.square(here.residual) - squares, layer.residual(layer.A @ U + whole.c) ** 2
    )
    back = compression.restrict(whole)
    scale = np.abs(Xi).max()
    np.testing.assert_allclose(back.Xi, Xi, atol=1e-6 * scale)


@degenerate
@pytest.mark.parametrize("per_neuron", [False, True], ids=["layer", "neuron"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_the_same_optimum_as_on_all_rows(change, per_neuron, tol, monkeypatch):
    layer = linear_layer(change, 0, per_neuron=per_neuron)
    layer = replace(layer, radius=reachable(layer))
    arguments = layer.trim_arguments(1.0) | {"tol": tol}
    epsilon = np.max(layer.radius / np.linalg.norm(layer.Y, axis=0 if per_neuron else None))
    arguments["epsilon"] = epsilon
    compressed = trim_layer(layer.A, layer.Y, **arguments)
    monkeypatch.setattr(admm, "compress", lambda problem: None)
    whole = trim_layer(layer.A, layer.Y, **arguments)
    assert compressed.converged and whole.converged
    assert compressed.objective == pytest.approx(whole.objective, rel=2 * tol)


def test_all_rows_where_digits_are_lost_on_fewer(monkeypatch):
    """A proof that does not hold on all rows is not the last word."""
    layer = random_layer(0, n=60, matched=True)
    expand = admm.compress(layer.problem()).expand

    class Forgetful:
        def __init__(self, problem):
            self.problem = compress(problem).problem

        def expand(self, solution):
            return replace(expand(solution), Xi=np.zeros((60, 3)))

    monkeypatch.setattr(admm, "compress", Forgetful)
    result = trim_layer(layer.A, layer.Y, **layer.trim_arguments(0.1))
    assert result.converged


@pytest.mark.parametrize(
    "change",
    [
        {"n": 15},
        {"matched": False},
        {"penalize_intercept": True},
        {"epsilon": 1e-6},
        {"cascade": True, "epsilon": 0.01},
    ],
    ids=str,
)
def test_what_is_not_compressed(change):
    layer = random_layer(0, **({"n": 60, "matched": True} | change))
    if layer.matched and "cascade" in change:
        # Nothing is left of epsilon.
        layer = replace(layer, radius=reachable(layer, 1.0))
    assert compress(layer.problem()) is None


def test_sparse_inputs_are_not_compressed():
    layer = random_layer(0, n=60, matched=True)
    assert compress(layer.problem()) is not None
    problem = layer.problem(storage="csr")
    assert sparse.issparse(problem.A) and compress(problem) is None

"""Both solvers against each other, the optimality conditions and a conic solver."""

import os
import tracemalloc
import warnings
import zlib
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from _layers import CONDITIONS, STORAGE, random_layer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks._data import made_layer
from sknettrim import NetTrim, trim_layer
from sknettrim._network import Network
from sknettrim._presolve import reduce
from sknettrim._problem import LayerProblem
from sknettrim._solve import solve_layer, warn_unless_converged
from sknettrim.solvers import SOLVERS, _progress, zero
from sknettrim.solvers import _admm as admm
from sknettrim.solvers import _newton as newton
from sknettrim.solvers._lasso import (
    GramLasso,
    OneSidedLasso,
    _line_search,
    solve_spd,
    subgradient_error,
)

PROGRAMS = {
    f"{kind}-{'neuron' if per_neuron else 'layer'}-{'penalised' if penalised else 'free'}": {
        "matched": kind == "identity",
        "strict": kind != "budget",
        "per_neuron": per_neuron,
        "penalize_intercept": penalised,
    }
    for kind, per_neuron, penalised in product(
        ["strict", "budget", "identity"], [False, True], [False, True]
    )
}
# What a conic solver knows of the optimum, relative to it.
CONIC = 1e-6


@pytest.fixture
def seed(request):
    """Drawn from the name of the test; another SKNETTRIM_SEED draws others."""
    drawn = zlib.crc32(f"{request.node.name} {os.environ.get('SKNETTRIM_SEED', 0)}".encode())
    print(f"seed={drawn}")  # shown where the test fails
    return drawn


@pytest.fixture(params=PROGRAMS.values(), ids=PROGRAMS)
def program(request):
    return request.param


@pytest.fixture(params=SOLVERS)
def solver(request):
    return request.param


def solve(layer, solver, tol):
    """(U, c, Xi), the dual point included, which results do not carry."""
    reduction = reduce(layer.problem())
    reduced = SOLVERS[solver](reduction.problem, tol=tol, max_iter=2000)
    solution = reduction.expand(reduced)
    return solution.U, solution.c, solution.Xi


def assert_feasible(layer, U, c, tol):
    """Inside the constraint set, and so within the guarantee, to a relative `tol`."""
    S = layer.A @ U.astype(float) + c.astype(float)
    assert layer.feasible(S, slack=tol * (1 + 1e-6))
    if not layer.matched and layer.V is None:
        norm = np.linalg.norm(layer.Y)
        allowed = np.linalg.norm(layer.radius) * (1 + tol) + tol * norm
        assert np.linalg.norm(np.maximum(S, 0) - layer.Y) <= allowed


def assert_optimal(layer, result, tol, optimum):
    """What a converged result claims, from its weights and the optimum of a conic solver."""
    U, c = result.coef.astype(float), result.intercept.astype(float)
    objective = layer.objective(U, c)
    assert result.objective == pytest.approx(objective, rel=1e-6)
    assert objective == pytest.approx(optimum, rel=tol + CONIC)
    assert result.dual_objective <= optimum * (1 + CONIC)
    assert abs(objective - result.dual_objective) <= tol * objective
    assert_feasible(layer, U, c, tol)
    np.testing.assert_allclose(result.residual, layer.residual(layer.A @ U + c), rtol=1e-6)


# Every program -------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_solvers_reach_the_optimum(program, dtype, storage, seed):
    layer = random_layer(seed, n=60, p=10, m=3, dtype=dtype, **program)
    optimum = layer.conic()[0]
    for solver in SOLVERS:
        result = trim_layer(
            STORAGE[storage](layer.A.astype(dtype)),
            layer.Y.astype(dtype),
            solver=solver,
            **layer.trim_arguments(0.1),
        )
        assert result.converged
        assert result.coef.dtype == result.intercept.dtype == dtype
        assert_optimal(layer, result, 1e-3, optimum)


@pytest.mark.parametrize("kind", ["plain", "weighted", "cascade"])
def test_solvers_return_their_own_proof(program, kind, solver, seed):
    """Primal and dual point, checked against the optimality conditions in plain numpy."""
    flags = {} if kind == "plain" else {kind: True}
    layer = random_layer(seed, n=60, p=10, m=3, **flags, **program)
    assert layer.prove(*solve(layer, solver, tol=1e-3)).error <= 1e-3


def test_high_accuracy(program, seed):
    layer = random_layer(seed, n=80, p=10, m=3, **program)
    proof = layer.prove(*solve(layer, "admm", tol=1e-6))
    assert proof.error <= 1e-6
    assert proof.objective == pytest.approx(layer.conic()[0], rel=1e-6 + CONIC)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("name", [name for name in PROGRAMS if "strict" not in name])
def test_balls_are_met(name, storage, seed):
    """The last iterate is scaled to them, but for rows that the ball charges only thereafter."""
    layer = random_layer(seed, n=80, p=12, m=3, **PROGRAMS[name])
    problem = reduce(layer.problem(storage)).problem
    solution = admm.solve(problem, tol=1e-3, max_iter=2000)
    deviation = problem.deviation(problem.responses(solution.U, solution.c))
    np.testing.assert_allclose(problem.residual(deviation), problem.epsilon, rtol=2.5e-4)


def test_zeros_are_exact(program, solver, seed):
    """A weight whose dual constraint is slack has to be zero, and is 0.0, not merely small."""
    layer = random_layer(seed, n=80, p=12, m=3, **program)
    U, _, Xi = solve(layer, solver, tol=1e-5)
    slack = 1 - abs(layer.A.T @ layer.make_dual_feasible(Xi))
    assert np.any(slack > 1e-2)
    assert np.all(U[slack > 1e-2] == 0)


# Bad conditioning ----------------------------------------------------------------------------

SHAPES = {"tall": (150, 20), "wide": (25, 40)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("condition", [name for name in CONDITIONS if name != "good"])
def test_badly_conditioned_layers_converge_or_say_that_they_did_not(
    program, condition, shape, seed
):
    n, p = SHAPES[shape]
    layer = random_layer(seed, n=n, p=p, m=3, epsilon=0.03, condition=condition, **program)
    with warnings.catch_warnings(record=True, action="always") as caught:
        result = solve_layer(layer.problem())
        warn_unless_converged(layer.problem(), result)
    assert [w.category for w in caught] == [ConvergenceWarning] * (not result.converged)
    U, c = result.coef, result.intercept
    assert result.objective == pytest.approx(layer.objective(U, c), rel=1e-9)
    if result.converged:
        assert_feasible(layer, U, c, 1e-3)
        # The claim holds for a bound that is one.
        assert result.dual_objective <= layer.conic()[0] * (1 + 1e-5)
        assert abs(result.objective - result.dual_objective) <= 1e-3 * result.objective


@pytest.mark.parametrize("condition", CONDITIONS)
def test_nearly_all_layers_converge(condition):
    """At least 99 % of random layers, of any shape, at the default tolerance."""
    rng, converged = np.random.default_rng(0), []
    for seed in range(100):
        flags = dict(zip(["matched", "strict", "per_neuron"], rng.random(3) < 0.5, strict=True))
        n, p, m = (int(10 ** rng.uniform(*r)) for r in [(1.7, 2.5), (0.3, 1.8), (0, 1)])
        layer = random_layer(
            seed, n=n, p=p, m=m, epsilon=rng.choice([0.02, 0.2]), condition=condition, **flags
        )
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            converged.append(solve_layer(layer.problem()).converged)
    assert np.mean(converged) >= 0.99


@pytest.mark.parametrize(
    ("seed", "shape", "options"),
    [
        (599, (187, 22, 7), {"epsilon": 0.05, "per_neuron": True, "penalize_intercept": True}),
        (625, (58, 44, 7), {"epsilon": 0.6, "strict": False}),
    ],
)
def test_a_residual_that_does_not_depend_on_alpha_does_not_overflow(seed, shape, options):
    """Newton's step for alpha, the multiplier of the ball, is then infinite: seen once each."""
    n, p, m = shape
    layer = random_layer(seed, n=n, p=p, m=m, condition="six orders", **options)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        solve_layer(layer.problem())


def test_one_iteration_is_not_enough_and_says_so(solver):
    layer = random_layer(0)
    with warnings.catch_warnings(record=True, action="always") as caught:
        result = solve_layer(layer.problem(), max_iter=1, solver=solver)
        warn_unless_converged(layer.problem(), result)
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert "8 x 3" in str(caught[0].message)
    assert "did not converge in 1 iterations: gap" in str(caught[0].message)
    assert result.converged is False
    assert result.n_iter == 1
    S = layer.A @ result.coef + result.intercept
    np.testing.assert_allclose(result.residual, layer.residual(S))


def two_spirals(n, rng):
    """Two interleaved spirals of one and a half turns, in the square of side 6."""
    arm, t = rng.integers(0, 2, n), 3 * np.pi * np.sqrt(rng.random(n))
    angle = t + np.pi * arm
    return t[:, None] / np.pi * np.column_stack([np.cos(angle), np.sin(angle)]), arm


def test_two_spirals_of_the_paper():
    """The supplement's network, 2-200-200-2, whose middle layer plain ADMM does not solve."""
    X, y = two_spirals(1000, np.random.default_rng(0))
    mlp = MLPClassifier((200, 200), learning_rate_init=3e-3, random_state=0).fit(X, y)
    assert mlp.score(X, y) > 0.95
    net = NetTrim(mlp, scheme="cascade", epsilon=0.01, gamma=1.1, kappa=0.5).fit(X)
    assert all(layer.converged for layer in net.layers_)
    assert np.count_nonzero(net.layers_[1].coef) <= 0.15 * 200 * 200
    before, after = (Network.of(m).outputs(X)[-1] for m in (mlp, net.estimator_))
    assert np.linalg.norm(after - before) < 0.1 * np.linalg.norm(before)


# CSR -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(400, 10_000), (40_000, 250)], ids=["wide", "tall"])
def test_csr_is_never_densified(shape, monkeypatch):
    """No conversion to a dense array of its size, under any name: it would not fit."""
    n, p = shape
    rng = np.random.default_rng(0)
    A = sparse.random(*shape, density=1e-3, format="csr", random_state=0)
    W = sparse.random(p, 2, density=20 / p, random_state=1).toarray() - 0.5 * (rng.random(2) < 0.5)
    Y = np.maximum(A @ W, 0)

    def refuse(self, *args, original, **kwargs):
        assert np.prod(self.shape) < n * p / 2, "densified"
        return original(self, *args, **kwargs)

    for cls in (sparse.csr_array, sparse.csc_array, sparse.coo_array):
        for name in ("toarray", "todense"):
            original = getattr(cls, name)
            monkeypatch.setattr(
                cls, name, lambda *a, _original=original, **k: refuse(*a, original=_original, **k)
            )
    tracemalloc.start()
    try:
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            trim_layer(A, Y, epsilon=0.2, max_iter=150)
        assert tracemalloc.get_traced_memory()[1] < 8 * n * p
    finally:
        tracemalloc.stop()


# Options -------------------------------------------------------------------------------------


def test_another_conic_solver_by_name():
    layer = random_layer(0)
    options = {"solver": "SCS", "eps": 1e-7, "max_iters": 100_000}
    result = solve_layer(layer.problem(), solver="cvxpy", solver_options=options)
    assert_optimal(layer, result, 1e-3, layer.conic()[0])


@pytest.mark.parametrize("name", ["MAGIC", "MOSEK"])
def test_a_conic_solver_that_is_not_there(name):
    with pytest.raises(ValueError, match=rf"(?s){name}.*Installed conic solvers: .*CLARABEL"):
        solve_layer(random_layer(0).problem(), solver="cvxpy", solver_options={"solver": name})


def test_options_that_a_solver_does_not_take():
    with pytest.raises(ValueError, match=r"solver_options has \['rho'\], but solver='admm'"):
        solve_layer(random_layer(0).problem(), solver_options={"rho": 1.0})


@pytest.mark.parametrize("name", ["problem", "tol", "max_iter", "start", "verbose"])
def test_options_that_are_parameters_of_their_own(name, solver):
    with pytest.raises(ValueError, match=rf"solver_options has \['{name}'\], which every solver"):
        trim_layer(np.eye(3), np.eye(3), epsilon=0.1, solver=solver, solver_options={name: 1})


def test_an_impossible_program_is_an_error_of_the_conic_solver():
    """Targets that no weights reach, of inputs that say nothing."""
    A, Y = np.ones((4, 1)), np.array([[1.0], [2.0], [3.0], [4.0]])
    with pytest.raises(ValueError, match=r"found no solution .*'infeasible'"):
        trim_layer(A, Y, epsilon=0, solver="cvxpy")


@pytest.mark.parametrize("seed", range(2))
def test_an_impossible_program_does_not_converge(program, seed):
    """Targets that have nothing to do with the inputs: said in one warning, and no other."""
    layer = random_layer(seed, n=60, p=10, m=4, **program)
    shuffled = np.random.default_rng(seed).permuted(layer.Y, axis=0)
    with warnings.catch_warnings(record=True, action="always") as caught:
        result = trim_layer(layer.A, shuffled, **layer.trim_arguments(0.1))
    assert [w.category for w in caught] == [ConvergenceWarning]
    assert not result.converged


@pytest.mark.parametrize("verbose", [0, 2])
@pytest.mark.parametrize("condition", ["good", "low rank"])
def test_progress_is_printed_on_demand(verbose, condition, capsys):
    layer = random_layer(0, n=100, p=20, m=5, epsilon=0.01, condition=condition)
    solve_layer(layer.problem(), verbose=verbose)
    assert ("admm" in capsys.readouterr().out) == (verbose > 1)


@pytest.mark.parametrize("scale", [1e-100, 1e-35, 1e35, 1e100])
@pytest.mark.parametrize("storage", STORAGE)
def test_numbers_out_of_range_are_an_error_of_their_own(scale, storage):
    layer = random_layer(0, n=60)
    for name, A, Y in (("inputs", scale, 1.0), ("outputs", 1.0, scale)):
        A, Y = STORAGE[storage](A * layer.A), Y * layer.Y
        with pytest.raises(ValueError, match=f"{name} has a magnitude .* scale the data"):
            trim_layer(A, Y, epsilon=0.1)


@pytest.mark.parametrize("scale", [1e-29, 1e25])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("options", [{"strict": True}, {"strict": False}, {"matched": True}])
def test_squares_may_be_out_of_the_range_of_single_precision(options, scale, dtype, storage):
    layer = random_layer(0, n=60, **options)
    for inputs, outputs in ((scale, 1.0), (1.0, scale)):
        A = STORAGE[storage]((inputs * layer.A).astype(dtype))
        Y = (outputs * layer.Y).astype(dtype)
        result = trim_layer(A, Y, refit=True, **layer.trim_arguments(0.1))
        assert result.converged
        assert result.violation <= 1e-3
        assert result.residual <= result.epsilon * (1 + 1e-3)


def test_a_neuron_that_fires_on_one_row():
    """Beside one with constant targets, nothing varies that could say how large weights are."""
    A, Y = np.zeros((30, 1)), np.full((30, 2), 2e-4)
    Y[:, 0] = 0.0
    A[[0, 17, 18, 19, 29], 0] = [0.19, 0.61, 0.13, 0.89, 1.5]
    Y[[0, 17, 18, 19, 29], 1] = 0.0
    Y[29, 0] = 0.23
    for inactive in ("strict", "budget"):
        assert trim_layer(A, Y, epsilon=0.5, inactive=inactive).converged


def test_inputs_that_are_zero_where_a_neuron_fires():
    """No product of inputs and targets says then how large multipliers are."""
    options = {"strict": False, "per_neuron": True, "penalize_intercept": True}
    layer = random_layer(2, n=2, p=1, m=3, epsilon=0.5, density=0.3, **options)
    assert np.any((layer.A.T @ layer.Y == 0) & np.any(layer.Y, axis=0))
    assert solve_layer(layer.problem()).converged


# A ball for each neuron ----------------------------------------------------------------------


def rarely_firing(n=1500, p=60, m=40):
    """A layer with neurons of all sizes and of all degrees of difficulty."""
    rng = np.random.default_rng(0)
    A = np.maximum(rng.standard_normal((n, 8)) @ rng.standard_normal((8, p)), 0)
    A += 0.3 * rng.random((n, p))
    S = (A - A.mean(axis=0)) @ rng.standard_normal((p, m)) / np.sqrt(p)
    return A, np.maximum(S - np.linspace(0, 2.5, m), 0)


@pytest.mark.parametrize(("inactive", "epsilon"), [("strict", 0.2), ("budget", 0.1)])
def test_neurons_that_are_proven_do_not_wait_for_the_others(inactive, epsilon, monkeypatch):
    A, Y = rarely_firing()
    options = {"epsilon": epsilon, "epsilon_per": "neuron", "inactive": inactive}
    rests, solve_rest = [], admm._solve_rest

    def note(problem, reached, rest, *arguments):
        rests.append(np.count_nonzero(rest))
        return solve_rest(problem, reached, rest, *arguments)

    monkeypatch.setattr(admm, "_solve_rest", note)
    result = trim_layer(A, Y, **options)
    assert result.converged
    assert 0 < rests[0] <= len(result.intercept) // 2
    alone = [trim_layer(A, y[:, None], **options) for y in Y.T]
    assert all(one.converged for one in alone)
    assert result.objective == pytest.approx(sum(one.objective for one in alone), rel=2e-3)
    assert np.all(result.residual <= 1.001 * result.epsilon)


@pytest.mark.parametrize("max_iter", [3, 2000])
def test_all_rounds_of_newtons_method_count(max_iter, monkeypatch):
    """Those after the best one, too: what is returned is not where it ended."""
    minimise, rounds = newton._State.minimise, []

    def note(state, tol):
        rounds.append(tol)
        return minimise(state, tol)

    monkeypatch.setattr(newton._State, "minimise", note)
    problem = random_layer(0, n=60, p=12, m=3, condition="low rank").problem()
    start = replace(zero(problem), n_iter=7)
    found = newton.refine(problem, start, tol=0.0, max_iter=max_iter)
    assert found.n_iter == 7 + len(rounds)
    assert len(rounds) <= max_iter


@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("per_neuron", [True, False])
def test_newtons_method_needs_no_good_multipliers_where_weights_are(per_neuron, strict, scale):
    """Those of a solution tell what its dual point does, be that lost or scaled."""
    layer = random_layer(3, n=120, p=15, m=6, strict=strict, per_neuron=per_neuron)
    problem = layer.problem()
    solution = admm.solve(problem, tol=1e-7, max_iter=2000)
    alpha = problem.epsilon / problem.norm(problem.charged(solution.Xi))
    start = replace(solution, Xi=scale * solution.Xi)
    np.testing.assert_allclose(newton._State(problem, start).alpha, alpha, rtol=1e-2)
    found = newton.refine(problem, replace(start, n_iter=0), tol=1e-3, max_iter=100)
    assert problem.certify(found.U, found.c, found.Xi).error() <= 1e-3
    assert found.n_iter <= 3 + 3 * (strict and scale == 0)


def test_newtons_method_forgets_a_dual_point_that_proves_nothing_where_a_ball_is_a_point():
    """What such a point has too much of no inputs see, and would stay for good."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 5))
    W = rng.standard_normal((5, 3))
    Y = A @ W + 20
    problem = LayerProblem(A, Y, 1e-8 * np.linalg.norm(Y, axis=0))
    seen = np.column_stack([A, np.ones(len(A))])
    Xi = rng.standard_normal(Y.shape)
    Xi -= seen @ np.linalg.lstsq(seen, Xi)[0]
    start = replace(zero(problem), U=W, c=np.full(3, 20.0), Xi=1e7 * Xi)
    found = newton.refine(problem, start, tol=1e-3, max_iter=60)
    assert problem.certify(found.U, found.c, found.Xi).error() <= 1e-3


@pytest.mark.parametrize("small", [0.0, np.inf])
def test_few_neurons_are_left_to_newtons_method_if_they_are_small(
    small, left_to_newton, monkeypatch
):
    A, Y = rarely_firing()
    monkeypatch.setattr(admm, "SMALL_HESSIAN", small)
    result = trim_layer(A, Y, epsilon=0.1, epsilon_per="neuron", inactive="budget")
    assert result.converged
    assert bool(left_to_newton) == (small > 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_newtons_method_does_not_wait_for_digits_that_are_used_up(monkeypatch):
    """Columns scaled over six orders of magnitude, whose responses are to stay as they are."""
    steps, visits = [], []

    def count(name, calls):
        method = getattr(OneSidedLasso, name)

        def counted(self, *arguments):
            calls.append(name)
            return method(self, *arguments)

        monkeypatch.setattr(OneSidedLasso, name, counted)

    count("minimise", visits)
    count("hessian", steps)
    A, Z = made_layer("unscaled", 100, 10, 4)
    trim_layer(A, np.maximum(Z, 0), epsilon=0.0)
    assert 0 < len(visits) <= len(steps) <= 10 * len(visits)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_slow_neurons_do_not_take_the_others_to_newton(left_to_newton, monkeypatch):
    """Some that hardly ever fire rule the residuals of all, and make the whole layer seem slow."""
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    mlp = MLPRegressor(random_state=0).fit(X, y)
    Y = np.maximum(X @ mlp.coefs_[0] + mlp.intercepts_[0], 0)
    monkeypatch.setattr(admm, "worthwhile", lambda *_: False)
    assert trim_layer(X, Y, epsilon=0.05, epsilon_per="neuron").converged
    assert max(left_to_newton) <= Y.shape[1] // 2


@pytest.mark.parametrize("inactive", ["strict", "budget"])
def test_the_size_of_neurons_does_not_matter_where_each_has_its_own_ball(inactive):
    A, Y = rarely_firing()
    options = {"epsilon": 0.1, "epsilon_per": "neuron", "inactive": inactive}
    scale = np.logspace(-2, 2, Y.shape[1])
    plain, scaled = (trim_layer(A, targets, **options) for targets in (Y, Y * scale))
    assert scaled.converged
    assert scaled.n_iter <= 1.5 * plain.n_iter
    sizes = [np.abs(one.coef).sum(axis=0) for one in (plain, scaled)]
    np.testing.assert_allclose(sizes[1] / scale, sizes[0], rtol=0.05)


@pytest.mark.parametrize("max_iter", [39, 40, 41, 45, 60])
def test_iterations_on_what_is_left_count_too(max_iter):
    A, Y = rarely_firing()
    options = {"epsilon": 0.05, "epsilon_per": "neuron", "inactive": "budget"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert trim_layer(A, Y, max_iter=max_iter, **options).n_iter <= max_iter


# Warm start ----------------------------------------------------------------------------------


def test_warm_start_reaches_the_same_objective_no_later(program, seed):
    layer = random_layer(seed, n=80, p=10, m=3, **program)
    arguments = layer.trim_arguments(0.1)
    cold = trim_layer(layer.A, layer.Y, **arguments)
    near = trim_layer(layer.A, layer.Y, **(arguments | {"epsilon": 0.11}))
    for start in (cold, near):
        warm = trim_layer(layer.A, layer.Y, warm_start=start, **arguments)
        assert warm.converged
        assert warm.objective == pytest.approx(cold.objective, rel=2e-3)
    again = trim_layer(layer.A, layer.Y, warm_start=cold, **arguments)
    assert again.n_iter <= cold.n_iter


@pytest.mark.parametrize("matched", [False, True])
def test_a_warm_start_stays_in_single_precision(matched, monkeypatch):
    """A dual point in double precision would say that single precision had not been enough."""
    layer, start, precisions = random_layer(0, n=200, p=20, m=5, matched=matched), None, []

    class Spied(admm.Iterate):
        def __init__(self, problem, start, dtype):
            precisions.append(dtype)
            super().__init__(problem, start, dtype)

    monkeypatch.setattr(admm, "Iterate", Spied)
    for epsilon in (0.3, 0.2, 0.1):
        problem = replace(layer, radius=epsilon * np.linalg.norm(layer.Y)).problem()
        result, start = solve_layer(problem, start=start, return_solution=True)
        assert result.converged
    assert set(precisions) == {np.float32}


def with_a_common_factor(strength):
    """Inputs that correlate, and linear responses to half of them."""
    rng = np.random.default_rng(1)
    A = strength * rng.standard_normal((2000, 1)) + rng.standard_normal((2000, 400))
    return A, A @ (rng.standard_normal((400, 60)) * (rng.random((400, 60)) < 0.5))


@pytest.fixture
def runs(monkeypatch):
    """Precision of each run of ADMM, and the iterations before it."""
    seen, advanced = [], []

    class Spied(admm.Iterate):
        def __init__(self, problem, start, dtype):
            seen.append((dtype, sum(advanced)))
            super().__init__(problem, start, dtype)

        def advance(self, n_iter):
            advanced.append(n_iter)
            return super().advance(n_iter)

    monkeypatch.setattr(admm, "Iterate", Spied)
    return seen


@pytest.mark.parametrize("strength", [10, 15, 30])
def test_single_precision_is_left_once_its_digits_are_spent(strength, runs, monkeypatch):
    """Before its residuals have been at rest for long."""
    A, S = with_a_common_factor(strength)
    left_after = []
    for digits_lost in (_progress.DIGITS_LOST, np.inf):
        monkeypatch.setattr(_progress, "DIGITS_LOST", digits_lost)
        assert trim_layer(A, S, epsilon=0.01, activation="identity").converged
        (first, before), (second, n_iter) = runs
        assert (first, second) == (np.float32, np.float64)
        left_after.append(n_iter - before)
        runs.clear()
    assert left_after[0] < 0.9 * left_after[1]


@pytest.mark.parametrize("epsilon", [0.01, 0.02, 0.05])
def test_what_has_changed_since_the_last_iteration_needs_fewer_digits(epsilon, runs):
    A, S = with_a_common_factor(3)
    assert trim_layer(A, S, epsilon=epsilon, activation="identity").converged
    assert runs == [(np.float32, 0)]


@pytest.mark.parametrize("kind", ["gaussian", "correlated", "relu features"])
def test_nor_do_more_inputs_than_rows_leave_single_precision_too_few(kind, runs):
    A, Z = made_layer(kind, 100, 300, 20)
    assert trim_layer(A, np.maximum(Z, 0), epsilon=0.1).converged
    assert runs == [(np.float32, 0)]


@pytest.mark.parametrize("strength", [1e2, 1e3, 1e4])
def test_a_gram_matrix_with_rounding_errors_larger_than_its_shift(strength):
    A, S = with_a_common_factor(strength)
    assert trim_layer(A, S, epsilon=0.05, activation="identity").converged
    assert trim_layer(A, np.maximum(S, 0), epsilon=0.05, inactive="budget").converged


# The small lasso problems --------------------------------------------------------------------

random_state = st.integers(0, 2**32 - 1)


def random_lasso(seed, n=30, p=6):
    rng = np.random.default_rng(seed)
    B, t = rng.standard_normal((n, p)), rng.standard_normal(n)
    limit = rng.uniform(0.1, 1.0, p) * np.max(abs(B.T @ t))
    return rng, B, t, limit


@given(seed=random_state)
@settings(max_examples=50)
def test_gram_lasso_is_the_lasso_of_scikit_learn(seed):
    rng, B, t, limit = random_lasso(seed)
    tol = np.full(len(limit), 1e-10)
    x = GramLasso(B.T @ B, -B.T @ t, limit).minimise(rng.integers(-1, 2, len(limit)) * 1.0, tol)
    # A weight on each coordinate is a scale of its column.
    scaled = Lasso(alpha=1 / len(t), fit_intercept=False, tol=1e-12, max_iter=100_000)
    expected = scaled.fit(B / limit, t).coef_ / limit
    np.testing.assert_allclose(x, expected, atol=1e-6)
    assert subgradient_error(x, B.T @ (B @ x - t), limit).max() <= 1e-9


@given(seed=random_state, free=st.booleans())
@settings(max_examples=50)
def test_gram_lasso_of_low_rank(seed, free):
    """From any start, with more coordinates than rows and some of them equal."""
    rng, B, t, limit = random_lasso(seed, 12, 20)
    B[:, -4:] = B[:, :4]
    limit[0] *= not free
    tol = np.full(len(limit), 1e-9)
    x = GramLasso(B.T @ B, -B.T @ t, limit).minimise(rng.standard_normal(len(limit)), tol)
    assert subgradient_error(x, B.T @ (B @ x - t), limit).max() <= 1e-7


@pytest.mark.parametrize("limit", [1e-3, 1e3])
@pytest.mark.parametrize("start", [1.0, 1e6])
def test_gram_lasso_without_curvature(limit, start):
    """Of a column that is zero on all rows that count, the step to zero is without end."""
    hessian, linear = np.diag([2.0, 0.0]), np.array([-4 * limit, 0.0])
    lasso, tol = GramLasso(hessian, linear, np.full(2, limit)), np.full(2, 1e-9)
    np.testing.assert_allclose(lasso.minimise(np.array([0.0, start]), tol), [1.5 * limit, 0])


@given(seed=random_state, free=st.booleans(), shape=st.sampled_from([(40, 6), (12, 20)]))
@settings(max_examples=40)
def test_one_sided_lasso_is_optimal(seed, free, shape):
    """Zero is a subgradient of the objective, which is written down again here."""
    rng, B, t, limit = random_lasso(seed, *shape)
    limit[-1] *= not free
    active, weight = rng.random(len(t)) < 0.5, rng.uniform(1, 10, len(t))
    active[: 2 * free] = True
    x = OneSidedLasso(B, t, weight, active, limit).minimise(np.zeros(len(limit)), 1e-9)
    r = B @ x - t
    r[~active] = np.maximum(r[~active], 0)
    gradient = B.T @ (weight * r)
    kept = x != 0
    np.testing.assert_allclose(gradient[kept], -limit[kept] * np.sign(x[kept]), atol=1e-7)
    assert np.all(abs(gradient[~kept]) <= limit[~kept] + 1e-7)


@given(seed=random_state)
@settings(max_examples=50)
def test_line_search_finds_the_best_of_all_multiples(seed):
    rng, B, t, limit = random_lasso(seed)
    x = rng.standard_normal(6) * (rng.random(6) < 0.7)
    step = rng.standard_normal(6)

    def value(x):
        return 0.5 * np.sum((B @ x - t) ** 2) + limit @ abs(x)

    slope, curvature = (B @ step) @ (B @ x - t), np.sum((B @ step) ** 2)
    best = _line_search(x, step, limit, slope, curvature, kinks=np.zeros((3, 0)))
    grid = min(value(x + share * step) for share in np.linspace(0, 3, 301))
    assert value(best) <= min(grid, value(x)) + 1e-9


@given(seed=random_state, p=st.integers(0, 8))
@settings(max_examples=50)
def test_solve_spd(seed, p):
    rng = np.random.default_rng(seed)
    B, x = rng.standard_normal((p + 10, p)), rng.standard_normal(p)
    matrix = B.T @ B
    np.testing.assert_allclose(solve_spd(matrix, matrix @ x), x, rtol=1e-6, atol=1e-8)
    twice = np.block([[matrix, matrix], [matrix, matrix]])
    solution = solve_spd(twice, np.tile(matrix @ x, 2))
    np.testing.assert_allclose(twice @ solution, np.tile(matrix @ x, 2), rtol=1e-5, atol=1e-5)


def test_solve_spd_of_nothing():
    np.testing.assert_allclose(solve_spd(np.zeros((2, 2)), np.zeros(2)), 0)


@pytest.mark.parametrize("kind", ["strict-layer-free", "budget-neuron-free", "identity-layer-free"])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_inputs_far_from_zero_are_those_near_it(kind, tol):
    """A free intercept makes up for any shift of the inputs, and no digits are lost to it."""
    layer = random_layer(0, n=60, **PROGRAMS[kind])
    arguments = layer.trim_arguments(0.1) | {"tol": tol}
    near = trim_layer(layer.A, layer.Y, **arguments)
    far = trim_layer(layer.A + 1e4, layer.Y, **arguments)
    assert near.converged and far.converged
    assert far.objective == pytest.approx(near.objective, rel=2 * tol)
    assert far.n_iter <= 1.2 * near.n_iter


def test_six_orders_of_column_scales_leave_no_rounding_errors_in_the_proof():
    """Differences of large responses make the dual point; its last digits are restored."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((150, 20)) * 10 ** rng.uniform(-3, 3, 20)
        W = rng.standard_normal((20, 3)) / np.abs(A).mean(axis=0)[:, None]
        Y = np.maximum(A @ W + 0.3 * rng.standard_normal(3), 0)
        result = trim_layer(A, Y, epsilon=0.02, inactive="budget", tol=1e-6)
        assert result.converged
        assert abs(result.gap) <= 1e-6

"""The layer program knows its own optimality: duality, feasibility and what it reports of them."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from _layers import layers, random_layer
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from sknettrim._columns import column_norms
from sknettrim._intercept import stack_intercept
from sknettrim._problem import LayerProblem
from sknettrim.solvers import SOLVERS

seeds = st.integers(0, 2**32 - 1)
many = settings(max_examples=100)


def random_point(layer, seed, noise=0.3):
    """Sparse weights near the original ones, intercepts, and any dual point at all."""
    rng = np.random.default_rng(seed)
    U = layer.W * (1 + noise * rng.standard_normal(layer.shape)) * (rng.random(layer.shape) < 0.8)
    Xi = rng.standard_normal(layer.Y.shape) * 10.0 ** rng.integers(-6, 3)
    return U, layer.b + noise * rng.standard_normal(len(layer.b)), Xi


def feasible_point(layer, seed):
    """As far from the original weights, in a random direction, as the constraints allow."""
    rng = np.random.default_rng(seed)
    dU, dc = -layer.W * rng.random(layer.shape), rng.standard_normal(len(layer.b))
    for share in [*0.5 ** np.arange(20), 0.0]:
        U, c = layer.W + share * dU, layer.b + share * dc
        if layer.feasible(layer.A @ U + c):
            break
    return U, c


# The certificate -----------------------------------------------------------------------------


@given(layer=layers(), seed=seeds)
@many
def test_the_certificate_is_the_definition(layer, seed):
    """Every number of the certificate, against sums over one neuron after the other."""
    point = random_point(layer, seed)
    problem, expected = layer.problem(), layer.prove(*point)
    certificate = problem.certify(*point)
    for name, value in asdict(expected).items():
        assert getattr(certificate, name) == pytest.approx(value, rel=1e-8, abs=1e-8), name
    S = layer.A @ point[0] + point[1]
    np.testing.assert_allclose(certificate.residual, layer.residual(S), rtol=1e-10)
    np.testing.assert_allclose(problem.responses(*point[:2]), S, rtol=1e-10, atol=1e-10)


@given(layer=layers(per_neuron=True), seed=seeds, noise=st.sampled_from([1e-4, 1e-2, 0.3]))
@many
def test_neurons_without_which_the_others_are_proven_are_the_fewest(layer, seed, noise):
    """Those of the largest errors, as the definition finds them one after the other."""
    problem, (U, c, Xi) = layer.problem(), random_point(layer, seed, noise)
    parts = [(problem.columns([j]), U[:, [j]], c[[j]], Xi[:, [j]]) for j in range(len(c))]
    alone = [part.certify(*point) for part, *point in parts]
    objectives = np.array([certificate.objective for certificate in alone])
    assume(np.all(objectives > 0))
    gaps = objectives - [part.dual_point(Xi).objective for part, _, _, Xi in parts]
    prices = objectives * [certificate.price for certificate in alone]
    missing = np.max([gaps, -2 * gaps, 4 * prices], axis=0)
    tol = 1.01 * float(np.median([one.error() for one in alone]))
    broken = [max(one.excess, one.violation) > tol for one in alone]
    expected = np.array(broken)
    while missing[~expected].sum() > tol * objectives[~expected].sum():
        expected[np.argmax(np.where(expected, -1.0, missing))] = True
    unproven = problem.dual_point(Xi).unproven(U, c, tol)
    np.testing.assert_array_equal(unproven, expected)
    kept = ~unproven
    if kept.any():
        proof = problem.columns(kept).certify(U[:, kept], c[kept], Xi[:, kept])
        assert proof.error() <= tol * (1 + 1e-9)


@given(layer=layers(), seed=seeds)
@many
def test_error_is_small_only_where_each_number_is(layer, seed):
    certificate = layer.problem().certify(*random_point(layer, seed, noise=0.01))
    parts = abs(certificate.gap), certificate.excess, certificate.violation, certificate.price
    assert certificate.error() >= max(parts)


@given(
    layer=layers(penalize_intercept=False),
    seed=seeds,
    scale=st.sampled_from([1e-8, 1e-3, 1e8]),
    zero=st.booleans(),
)
@many
def test_the_certificate_has_no_units(layer, seed, scale, zero):
    """Weights and targets in other units: the same relative numbers, for zero weights too."""
    assume(np.all(layer.radius > 0))
    U, c, Xi = random_point(layer, seed)
    U *= not zero
    scaled = replace(
        layer,
        Y=scale * layer.Y,
        V=None if layer.V is None else scale * layer.V,
        radius=scale * layer.radius,
    )
    expected = layer.problem().certify(U, c, Xi)
    # Relative to an objective and a bound of zero there is nothing to measure.
    assume(expected.objective > 0 or expected.dual_objective > 0)
    certificate = scaled.problem().certify(scale * U, scale * c, Xi)
    for name in ("gap", "excess", "violation", "price"):
        assert getattr(certificate, name) == pytest.approx(
            getattr(expected, name), rel=1e-7, abs=1e-7
        ), name


# Duality -------------------------------------------------------------------------------------


@given(layer=layers(), seed=seeds)
@many
def test_feasible_dual_satisfies_every_constraint(layer, seed):
    Xi = random_point(layer, seed)[2]
    feasible = layer.problem().dual_point(Xi).dense()
    assert layer.dual_infeasibility(feasible) <= 1e-12 * (1 + abs(feasible).sum())


@given(layer=layers(), seed=seeds)
@many
def test_feasible_dual_leaves_feasible_points_alone(layer, seed):
    problem = layer.problem()
    once = problem.dual_point(random_point(layer, seed)[2]).dense()
    np.testing.assert_allclose(
        problem.dual_point(once).dense(), once, atol=1e-12 * (1 + abs(once).max())
    )


@given(layer=layers(), seed=seeds)
@many
def test_weak_duality(layer, seed):
    """No feasible weights cost less than any dual point says."""
    problem = layer.problem()
    U, c = feasible_point(layer, seed)
    Xi = problem.dual_point(random_point(layer, seed)[2]).dense()
    objective = problem.objective(U, c)
    assert problem.dual_point(Xi).objective <= objective * (1 + 1e-10)
    # Towards smaller outputs is a good guess of the dual: not far below, and never above.
    Xi = problem.dual_point(-layer.Y).dense()
    assert problem.dual_point(Xi).objective <= objective * (1 + 1e-10)


@given(layer=layers(), seed=seeds, noise=st.sampled_from([0.01, 0.3, 3.0]))
@many
def test_no_point_is_below_the_bound_by_more_than_its_price(layer, seed, noise):
    """Weak duality of points outside the set: what they save, the price accounts for."""
    certificate = layer.problem().certify(*random_point(layer, seed, noise))
    assert certificate.gap >= -certificate.price - 1e-10


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "budget"])
@pytest.mark.parametrize("per_neuron", [True, False], ids=["neuron", "layer"])
@pytest.mark.parametrize("penalize_intercept", [True, False], ids=["penalised", "free"])
@pytest.mark.parametrize("kind", ["relu", "matched", "cascade", "weighted"])
def test_strong_duality_at_the_optimum_of_a_conic_solver(
    strict, per_neuron, penalize_intercept, kind
):
    """The bound is below the optimum for any dual point, and equal to it for the right one."""
    layer = random_layer(
        1,
        strict=strict,
        per_neuron=per_neuron,
        penalize_intercept=penalize_intercept,
        **({} if kind == "relu" else {kind: True}),
    )
    problem = layer.problem()
    optimum = layer.conic()[0]
    for seed in range(20):
        Xi = problem.dual_point(random_point(layer, seed)[2]).dense()
        assert problem.dual_point(Xi).objective <= optimum * (1 + 1e-7)
    solution = SOLVERS["cvxpy"](problem, tol=1e-8, max_iter=200)
    best = problem.dual_point(problem.dual_point(solution.Xi).dense()).objective
    assert best == pytest.approx(optimum, rel=1e-5)
    assert best <= optimum * (1 + 1e-7)


# Feasibility ---------------------------------------------------------------------------------


@given(layer=layers(), seed=seeds, share=st.floats(0, 1))
@many
def test_deviation_is_zero_exactly_where_nothing_is_wrong(layer, seed, share):
    rng = np.random.default_rng(seed)
    problem = layer.problem()
    on = np.column_stack([layer.on(j) for j in range(layer.shape[1])])
    V = np.zeros(on.shape) if layer.V is None else layer.V
    exact = np.where(on, layer.Y, V - rng.exponential(size=on.shape) * (rng.random(on.shape) < 0.5))
    assert not problem.deviation(exact).any()
    wrong = rng.random(on.shape) < share
    step = rng.exponential(size=on.shape) + 0.1
    moved = np.where(wrong, np.where(on, layer.Y, V) + step, exact)
    np.testing.assert_array_equal(problem.deviation(moved) != 0, wrong)


@given(layer=layers(), seed=seeds, noise=st.sampled_from([0.001, 0.03, 0.3]))
@many
def test_excess_and_violation_say_whether_a_point_is_feasible(layer, seed, noise):
    problem = layer.problem()
    U, c, _ = random_point(layer, seed, noise)
    D = problem.deviation(problem.responses(U, c))
    inside = problem.excess(problem.residual(D)) <= 0 and not problem.leaks(D).any()
    assert inside == layer.feasible(layer.A @ U + c)


@given(layer=layers(matched=False, cascade=False), seed=seeds)
@many
def test_the_outputs_are_no_further_off_than_the_deviation(layer, seed):
    """||relu(S) - Y|| <= ||deviation(S)||: what turns the constraint into a guarantee."""
    S = layer.problem().responses(*random_point(layer, seed)[:2])
    outputs = np.linalg.norm(np.maximum(S, 0) - layer.Y)
    assert outputs <= np.linalg.norm(layer.problem().deviation(S)) * (1 + 1e-12)


@given(layer=layers(strict=True, matched=False), seed=seeds)
@many
def test_budget_contains_strict(layer, seed):
    """Whatever satisfies the strict constraints satisfies those of the budget."""
    U, c = feasible_point(layer, seed)
    budget = replace(layer, strict=False).problem()
    certificate = budget.certify(U, c, np.zeros(layer.Y.shape))
    assert certificate.excess <= 1e-12
    assert certificate.violation == 0


@given(layer=layers(matched=True, cascade=False), seed=seeds)
@many
def test_strict_budget_and_matched_agree_where_every_neuron_fires(layer, seed):
    layer = replace(layer, Y=abs(layer.Y) + 0.1)
    point = random_point(layer, seed)
    matched, strict, budget = (
        replace(layer, matched=matched, strict=strict).problem().certify(*point)
        for matched, strict in [(True, True), (False, True), (False, False)]
    )
    np.testing.assert_equal(asdict(strict), asdict(matched))
    np.testing.assert_equal(asdict(budget), asdict(matched))


# Parts and storage ---------------------------------------------------------------------------


def test_a_program_on_some_inputs_shares_them():
    """Of rows, of a restriction of a restriction: nothing as large as the inputs is kept."""
    A = np.random.default_rng(0).standard_normal((50, 6))
    problem = LayerProblem(A, np.abs(A[:, :3]), 1.0)
    first, second = np.array([1, 0, 1, 1, 1, 0], dtype=bool), np.array([1, 1, 0, 1], dtype=bool)
    part = problem.restrict(first, slice(None)).restrict(second, slice(None)).rows(slice(10, 30))
    assert np.shares_memory(part._whole, A)
    np.testing.assert_array_equal(part.A, A[10:30][:, first][:, second])
    assert part.shape == (3, 3)


@pytest.mark.parametrize("storage", ["dense", "csr"])
@given(layer=layers(), seed=seeds)
@many
def test_restricted_to_what_is_used_nothing_changes(storage, layer, seed):
    """Inputs without weights and neurons of their own ball can be left out."""
    rng = np.random.default_rng(seed)
    U, c, _ = random_point(layer, seed)
    inputs, neurons = rng.random(len(U)) < 0.6, rng.random(len(c)) < 0.6
    inputs[0] = neurons[0] = True
    U[~inputs] = 0.0
    problem = layer.problem(storage)
    part = problem.restrict(inputs, neurons)
    assert part.shape == (inputs.sum(), neurons.sum())
    S = problem.responses(U, c)
    np.testing.assert_allclose(
        part.responses(U[inputs][:, neurons], c[neurons]), S[:, neurons], rtol=1e-10, atol=1e-10
    )
    D = problem.deviation(S)
    np.testing.assert_array_equal(part.deviation(S[:, neurons]), D[:, neurons])
    np.testing.assert_array_equal(part.Y, problem.Y[:, neurons])
    np.testing.assert_array_equal(part.columns(slice(1, None)).Y, part.Y[:, 1:])
    np.testing.assert_array_equal(part.rows(slice(2, 5)).Y, part.Y[2:5])
    # Gathered when asked for.
    assert np.shares_memory(part._targets, problem.Y)
    other = problem.columns(~neurons)
    assert part.objective(U[inputs][:, neurons], c[neurons]) + other.objective(
        U[:, ~neurons], c[~neurons]
    ) == pytest.approx(problem.objective(U, c))
    if problem.per_neuron:
        np.testing.assert_array_equal(part.epsilon, problem.epsilon[neurons])
        np.testing.assert_allclose(part.residual(D[:, neurons]), problem.residual(D)[neurons])
    else:
        assert part.epsilon == problem.epsilon


@given(layer=layers(per_neuron=True), seed=seeds)
@many
def test_neurons_with_their_own_balls_separate(layer, seed):
    """The proofs of the columns add up to the proof of the layer."""
    U, c, Xi = random_point(layer, seed)
    problem = layer.problem()
    whole = problem.certify(U, c, Xi)
    parts = [problem.columns([j]).certify(U[:, [j]], c[[j]], Xi[:, [j]]) for j in range(len(c))]
    assert sum(part.objective for part in parts) == pytest.approx(whole.objective)
    assert max(part.excess for part in parts) == pytest.approx(whole.excess)
    np.testing.assert_allclose(np.hstack([part.residual for part in parts]), whole.residual)
    # Each part may fall back on the bound of zero, the whole only once.
    assert sum(part.dual_objective for part in parts) >= whole.dual_objective - 1e-10


@given(layer=layers(), seed=seeds)
@many
def test_csr_equals_dense(layer, seed):
    point = random_point(layer, seed)
    dense, csr = (layer.problem(storage).certify(*point) for storage in ("dense", "csr"))
    for name, value in asdict(dense).items():
        np.testing.assert_allclose(getattr(csr, name), value, rtol=1e-9, atol=1e-9, err_msg=name)


@given(layer=layers(dtype=np.float32), seed=seeds)
@many
def test_float32_is_measured_in_float64(layer, seed):
    """Data and weights that float32 holds are certified as precisely as in float64."""
    U, c, Xi = random_point(layer, seed)
    U, c = U.astype(np.float32), c.astype(np.float32)
    single = layer.problem(dtype=np.float32).certify(U, c, Xi)
    double = layer.problem().certify(U.astype(float), c.astype(float), Xi)
    for name, value in asdict(double).items():
        np.testing.assert_allclose(getattr(single, name), value, 1e-10, 1e-10, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("per_neuron", [True, False], ids=["neuron", "layer"])
def test_no_radius_is_below_what_the_type_resolves(dtype, per_neuron):
    layer = random_layer(0, dtype=dtype, per_neuron=per_neuron)
    norm = np.linalg.norm(layer.Y, axis=0 if per_neuron else None)
    floor = np.sqrt(np.finfo(dtype).eps) * norm
    for share in (0.0, 0.5):
        problem = replace(layer, radius=share * floor).problem(dtype=dtype)
        np.testing.assert_allclose(problem.epsilon, floor)
    problem = replace(layer, radius=2 * floor).problem(dtype=dtype)
    np.testing.assert_allclose(problem.epsilon, 2 * floor)


def test_a_neuron_that_never_fires_has_a_ball_of_radius_zero_and_a_finite_excess():
    A, Y = np.ones((3, 1)), np.array([[1.0, 0.0]] * 3)
    problem = LayerProblem(A, Y, np.array([0.1, 0.0]), inactive="budget")
    assert problem.epsilon[1] == 0
    assert problem.excess(np.array([0.0, 0.0])) == 0.0
    assert problem.excess(np.array([0.0, 0.5])) == 0.5


@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix_helpers(storage, dtype):
    A = np.random.default_rng(0).standard_normal((5, 3)).astype(dtype)
    stacked = stack_intercept(storage(A), dtype)
    assert stacked.dtype == dtype
    assert sparse.issparse(stacked) == sparse.issparse(storage(A))
    dense = stacked.toarray() if sparse.issparse(stacked) else stacked
    np.testing.assert_array_equal(dense, np.column_stack([A, np.ones(5, dtype)]))
    np.testing.assert_allclose(
        column_norms(storage(A)), np.linalg.norm(A.astype(float), axis=0), rtol=1e-12
    )

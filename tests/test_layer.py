"""trim_layer: what it refuses, what needs no solver, and what the paper promises of it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from _layers import STORAGE, random_layer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning

from sknettrim import LayerResult, trim_layer
from sknettrim._presolve import reduce
from sknettrim._solve import merge_results, solve_layer
from sknettrim.solvers import Solution

INACTIVE = ["strict", "budget"]
ACTIVATIONS = ["relu", "identity", "tanh", "logistic"]
LAYER = random_layer(1, n=60, p=10, m=4)
A, Y = LAYER.A, LAYER.Y
RESULT = trim_layer(A, Y, epsilon=0.1)


def outputs(A, result, activation="relu"):
    S = A @ result.coef.astype(float) + result.intercept.astype(float)
    return np.maximum(S, 0) if activation == "relu" else S


def relative(difference, reference):
    return np.linalg.norm(difference) / np.linalg.norm(reference)


def with_entry(array, value):
    array = array.copy()
    array[0, 0] = value
    return array


# What is refused -----------------------------------------------------------------------------

BAD = {
    "A holds NaN": ({"A": with_entry(A, np.nan)}, "A contains NaN"),
    "A is infinite": ({"A": with_entry(A, np.inf)}, "A contains infinity"),
    "A is a vector": ({"A": A[:, 0]}, "Expected 2D array"),
    "A is a cube": ({"A": A[None]}, "dim 3"),
    "A is text": ({"A": np.full(A.shape, "a")}, "could not convert string to float"),
    "A has no rows": ({"A": A[:0], "Y": Y[:0]}, "0 sample"),
    "A has no columns": ({"A": A[:, :0]}, "0 feature"),
    "Y holds NaN": ({"Y": with_entry(Y, np.nan)}, "Y contains NaN"),
    "Y is a vector": ({"Y": Y[:, 0]}, "Expected 2D array"),
    "Y is sparse": (
        {"Y": sparse.csr_array(Y)},
        "'Y' parameter .* must be an array-like. Got <",
    ),
    "Y is not of a relu": ({"Y": with_entry(Y, -1)}, "no relu layer puts out"),
    "rows do not match": ({"Y": Y[1:]}, "inconsistent numbers of samples"),
    "epsilon < 0": ({"epsilon": -1}, "'epsilon' .* Got -1"),
    "epsilon is NaN": ({"epsilon": np.nan}, "'epsilon'"),
    "epsilon is text": ({"epsilon": "0.1"}, "'epsilon' .* Got '0.1'"),
    "epsilon is a list": ({"epsilon": [0.1]}, "'epsilon'"),
    "unknown activation": ({"activation": "selu"}, "'activation' .* Got 'selu'"),
    "unknown inactive": ({"inactive": "off"}, "'inactive' .* Got 'off'"),
    "unknown epsilon_per": ({"epsilon_per": "row"}, "'epsilon_per' .* Got 'row'"),
    "unknown solver": ({"solver": "magic"}, "'solver' .* Got 'magic'"),
    "upper of another shape": ({"upper": Y[1:]}, r"upper must have shape \(60, 4\), got \(59, 4\)"),
    "upper holds NaN": ({"upper": with_entry(Y, np.nan)}, "upper contains NaN"),
    "penalty_weights of another shape": (
        {"penalty_weights": Y},
        r"penalty_weights must have shape \(10, 4\), got \(60, 4\)",
    ),
    "penalty_weights of zero": ({"penalty_weights": np.zeros((10, 4))}, "must be positive, got"),
    "original_coef of another shape": (
        {"original_coef": Y},
        r"original_coef must have shape \(10, 4\), got \(60, 4\)",
    ),
    "n_reweights < 0": ({"n_reweights": -1}, "'n_reweights' .* Got -1"),
    "refit is text": ({"refit": "yes"}, "'refit' .* Got 'yes'"),
    "tol of zero": ({"tol": 0}, "'tol'"),
    "no iterations": ({"max_iter": 0}, "'max_iter'"),
    "max_iter is no integer": ({"max_iter": 2.5}, "'max_iter'"),
    "warm_start of another layer": (
        {"warm_start": RESULT, "Y": Y[:, :3]},
        r"warm_start is for a layer of shape \(10, 4\), this one has shape \(10, 3\)",
    ),
    "warm_start holds NaN": (
        {"warm_start": replace(RESULT, coef=with_entry(RESULT.coef, np.nan))},
        "warm_start has weights or intercepts that are not finite",
    ),
    "penalty_weights are tiny": (
        {"penalty_weights": np.full((10, 4), 1e-40)},
        "penalty weights has a magnitude of 1e-40, .*: give some nearer to 1",
    ),
    "warm_start is no result": ({"warm_start": Y}, "'warm_start'"),
    "solver_options is no dict": ({"solver_options": "fast"}, "'solver_options'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments(arguments, message):
    arguments = {"A": A, "Y": Y, "epsilon": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        trim_layer(**arguments)


@pytest.mark.parametrize("convert", [list, np.asfortranarray, lambda X: X[::1], sparse.csc_matrix])
def test_any_array_like_and_sparse_format_will_do(convert):
    result = trim_layer(convert(A), Y.tolist(), epsilon=0.1, tol=1e-5)
    expected = trim_layer(A, Y, epsilon=0.1, tol=1e-5)
    np.testing.assert_allclose(result.coef, expected.coef, atol=1e-3)


@pytest.mark.parametrize("A_type", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("Y_type", [np.float32, np.float64])
def test_float32_only_if_both_are(A_type, Y_type):
    inputs = np.round(10 * A).astype(A_type)
    result = trim_layer(inputs, (10 * Y).astype(Y_type), epsilon=0.3)
    both = A_type == Y_type == np.float32
    assert result.coef.dtype == result.intercept.dtype == (np.float32 if both else np.float64)


def test_arguments_are_not_written_to():
    copies = A.copy(), Y.copy(), Y.copy(), np.ones((10, 4))
    for array in copies:
        array.setflags(write=False)
    trim_layer(*copies[:2], epsilon=0.1, upper=copies[2], penalty_weights=copies[3])


# What needs no solver ------------------------------------------------------------------------

either = pytest.mark.parametrize("inactive", INACTIVE)
each = pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
stored = pytest.mark.parametrize("storage", STORAGE)


@either
@each
@stored
def test_dead_neurons_and_zero_inputs_cost_nothing(inactive, epsilon_per, storage):
    """They get zeros, and the others what they get without them."""
    wide = np.insert(A, [0, 5], 0.0, axis=1)
    more = np.insert(Y, [1, 4], 0.0, axis=1)
    arguments = {"epsilon": 0.1, "inactive": inactive, "epsilon_per": epsilon_per}
    result = trim_layer(STORAGE[storage](wide), more, **arguments)
    assert result.converged
    inputs, neurons = np.any(wide != 0, axis=0), np.any(more != 0, axis=0)
    assert not result.coef[~inputs].any()
    assert not result.coef[:, ~neurons].any()
    assert not result.intercept[~neurons].any()
    alone = trim_layer(STORAGE[storage](A), Y, **arguments)
    np.testing.assert_allclose(result.coef[np.ix_(inputs, neurons)], alone.coef, atol=1e-4)
    assert result.objective == pytest.approx(alone.objective, rel=1e-5)


@either
@each
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("epsilon", [0, 0.1])
def test_constant_targets_need_only_an_intercept(inactive, epsilon_per, activation, epsilon):
    constants = np.array([0.0, 1.0, 2.5])
    result = trim_layer(
        A,
        np.tile(constants, (60, 1)),
        epsilon=epsilon,
        inactive=inactive,
        epsilon_per=epsilon_per,
        activation=activation,
    )
    assert result.converged
    assert result.objective == result.gap == 0
    np.testing.assert_allclose(result.intercept, constants, rtol=1e-12)


@either
@each
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("epsilon", [0, 0.1])
def test_a_layer_of_zeros_is_pruned_to_nothing(
    inactive, epsilon_per, activation, penalize_intercept, epsilon
):
    result = trim_layer(
        A,
        np.zeros((60, 2)),
        epsilon=epsilon,
        inactive=inactive,
        epsilon_per=epsilon_per,
        activation=activation,
        penalize_intercept=penalize_intercept,
    )
    assert result.converged
    assert not result.coef.any() and not result.intercept.any()
    assert result.gap == result.violation == result.price == 0


@either
@each
@stored
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1)])
def test_the_smallest_layers(inactive, epsilon_per, storage, shape):
    per_neuron, strict = epsilon_per == "neuron", inactive == "strict"
    layer = random_layer(1, n=30, p=shape[0], m=shape[1], per_neuron=per_neuron, strict=strict)
    result = trim_layer(STORAGE[storage](layer.A), layer.Y, **layer.trim_arguments(0.1))
    assert result.converged and result.coef.shape == shape
    assert result.objective == pytest.approx(layer.conic()[0], rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_single_row_is_answered_by_the_intercept(activation):
    result = trim_layer(A[:1], Y[:1], epsilon=0, activation=activation)
    assert result.converged and not result.coef.any()
    np.testing.assert_allclose(result.intercept, Y[0])


def test_inputs_that_are_all_zero():
    result = trim_layer(np.zeros((60, 3)), Y, epsilon=1)
    assert result.converged and not result.coef.any()


def critical_radii(layer):
    """Per neuron, the smallest radius within which some constant is: a search along a line."""
    radii = []
    for j in range(layer.shape[1]):
        on, V = layer.on(j), layer.upper(j)
        low, high = layer.Y[:, j].min() - 1, layer.Y[:, j].max() + 1
        if layer.strict and not on.all():
            high = V[~on].min()

        def distance(c, j=j, on=on, V=V):
            rise = np.sum(np.clip(c - V[~on], 0, None) ** 2)
            return np.sum((c - layer.Y[on, j]) ** 2) + (0 if layer.strict else rise)

        best = minimize_scalar(distance, bounds=(low, high), options={"xatol": 1e-12}).x
        radii.append(np.sqrt(min(distance(best), distance(high))))
    return np.array(radii)


@either
@each
@pytest.mark.parametrize("matched", [True, False])
@pytest.mark.parametrize("cascade", [True, False])
def test_a_layer_is_empty_exactly_where_constants_suffice(inactive, epsilon_per, matched, cascade):
    per_neuron, strict = epsilon_per == "neuron", inactive == "strict"
    layer = random_layer(
        3, m=4, matched=matched, strict=strict, per_neuron=per_neuron, cascade=cascade
    )
    radii = critical_radii(layer)
    critical = radii if per_neuron else np.linalg.norm(radii)
    above = solve_layer(replace(layer, radius=critical * (1 + 1e-5)).problem())
    assert above.converged
    assert above.objective == above.gap == 0 and not above.coef.any()
    below = solve_layer(replace(layer, radius=critical * 0.99).problem())
    assert below.converged
    assert np.all(below.coef.any(axis=0)) if per_neuron else below.coef.any()


@given(
    seed=st.integers(0, 2**32 - 1),
    strict=st.booleans(),
    penalize_intercept=st.booleans(),
    per_neuron=st.booleans(),
)
@settings(max_examples=50)
def test_a_reduced_program_is_the_whole_one(seed, strict, penalize_intercept, per_neuron):
    """A point of the reduced program has the same objective and feasibility in the whole one."""
    layer = random_layer(
        seed,
        n=12,
        p=5,
        m=4,
        strict=strict,
        penalize_intercept=penalize_intercept,
        per_neuron=per_neuron,
        density=0.2,
    )
    problem = layer.problem()
    reduction = reduce(problem)
    rng = np.random.default_rng(seed)
    p, m = reduction.problem.shape
    Xi = rng.standard_normal((12, m))
    point = Solution(rng.standard_normal((p, m)), rng.standard_normal(m), Xi, 1)
    whole, back = reduction.expand(point), reduction.restrict(reduction.expand(point))
    np.testing.assert_array_equal(back.U, point.U)
    np.testing.assert_array_equal(back.c, point.c)
    np.testing.assert_array_equal(back.Xi, point.Xi)
    proof = layer.prove(whole.U, whole.c, whole.Xi)
    reduced = reduction.problem.certify(point.U, point.c, point.Xi)
    assert reduced.objective == pytest.approx(proof.objective)
    # What a neuron answered by a constant takes of a common ball is below rounding.
    assert max(reduced.excess, 0) == pytest.approx(max(proof.excess, 0), abs=1e-8)
    if reduction.neurons.all():
        assert reduced.dual_objective == pytest.approx(proof.dual_objective)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGE)
def test_of_equal_inputs_the_first_is_left_wherever_they_are(storage, dtype, order):
    rng = np.random.default_rng(0)
    for _ in range(30):
        n, p = rng.integers((5, 3), (300, 130))
        A = rng.standard_normal((n, p)).astype(dtype)
        first, second = np.sort(rng.choice(p, 2, replace=False))
        A[:, second] = A[:, first]
        layer = random_layer(0, n=n, p=p, m=1)
        problem = replace(layer, A=np.asarray(A, order=order)).problem(storage, dtype)
        left = reduce(problem).inputs
        np.testing.assert_array_equal(np.flatnonzero(~left), [second])


@pytest.mark.parametrize(("storage", "dtype"), [("dense", np.float32), ("csr", np.float64)])
@pytest.mark.parametrize("epsilon", [0.1, 0.5])
@pytest.mark.parametrize("inactive", INACTIVE)
def test_constant_inputs_are_left_to_the_intercept(inactive, epsilon, storage, dtype):
    """Such as those of neurons that the layer before has lost in a cascade."""
    for seed in (0, 2):
        rng = np.random.default_rng(seed)
        x = np.maximum(rng.standard_normal((500, 1)) + 1, 0)
        Z = x * rng.choice([-1, 1], 20)
        Y = np.maximum(Z - np.quantile(Z, 0.7, axis=0) + 1e-3, 0).astype(dtype)
        constant = np.tile(rng.uniform(0, 10, 20), (500, 1))
        plain = trim_layer(x.astype(dtype), Y, epsilon=epsilon, inactive=inactive)
        inputs = STORAGE[storage](np.hstack([x, constant]).astype(dtype))
        result = trim_layer(inputs, Y, epsilon=epsilon, inactive=inactive)
        assert result.converged
        assert not result.coef[1:].any()
        assert result.objective == pytest.approx(plain.objective, rel=1e-3)


def test_a_constant_input_is_the_cheaper_intercept_where_that_has_a_price():
    inputs = np.hstack([A, np.full((len(A), 1), 100.0)])
    result = trim_layer(inputs, Y, epsilon=0.1, penalize_intercept=True)
    assert result.converged
    assert result.coef[-1].any()
    assert not result.intercept.any()


# Epsilon -------------------------------------------------------------------------------------


@either
@each
@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("penalize_intercept", [True, False], ids=["penalised", "free"])
def test_epsilon_zero_keeps_the_responses(inactive, epsilon_per, activation, penalize_intercept):
    for seed in range(3):
        layer = random_layer(seed, n=60, p=12, m=4, matched=activation == "identity")
        result = trim_layer(
            layer.A,
            layer.Y,
            epsilon=0,
            activation=activation,
            inactive=inactive,
            epsilon_per=epsilon_per,
            penalize_intercept=penalize_intercept,
        )
        assert result.converged
        assert relative(outputs(layer.A, result, activation) - layer.Y, layer.Y) <= 1e-7
        # The original weights keep them, too.
        cost = abs(layer.W).sum() + penalize_intercept * abs(layer.b).sum()
        assert result.objective <= cost * (1 + 1e-3)


@pytest.mark.parametrize("shape", [(164, 28), (57, 13), (60, 38), (171, 34), (300, 60)])
@pytest.mark.parametrize("inactive", INACTIVE)
def test_epsilon_zero_on_layers_that_only_their_own_weights_reproduce(shape, inactive):
    """More active rows than inputs, so that there is one solution, the original weights."""
    n, p = shape
    layer = random_layer(5, n=n, p=p, m=5)
    result = trim_layer(layer.A, layer.Y, epsilon=0, inactive=inactive)
    assert result.converged
    assert relative(outputs(layer.A, result) - layer.Y, layer.Y) <= 1e-7


def test_epsilon_zero_in_single_precision_keeps_what_that_resolves():
    layer = random_layer(0, n=60, p=12, m=4, dtype=np.float32)
    A, Y = layer.A.astype(np.float32), layer.Y.astype(np.float32)
    result = trim_layer(A, Y, epsilon=0)
    assert result.converged
    assert relative(outputs(layer.A, result) - Y, Y) <= 2 * np.sqrt(np.finfo(np.float32).eps)


@either
@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("epsilon", [0, 0.05])
def test_what_is_redundant_is_dropped(inactive, activation, epsilon):
    """A constant-zero input, a constant one, and one of two that are the same."""
    layer = random_layer(4, n=60, p=6, m=5, matched=activation == "identity")
    redundant = np.column_stack([layer.A, layer.A[:, 2], np.zeros(60), np.ones(60)])
    arguments = {"epsilon": epsilon, "inactive": inactive, "activation": activation}
    result, alone = (trim_layer(inputs, layer.Y, **arguments) for inputs in (redundant, layer.A))
    assert result.converged
    assert result.objective == pytest.approx(alone.objective, rel=2e-3)
    first, twin, zero, constant = result.coef[[2, 6, 7, 8]]
    assert not zero.any()
    # The intercept, which is free, does what a constant input would.
    assert not constant.any()
    assert not np.any((first != 0) & (twin != 0))


@either
@each
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_a_larger_epsilon_never_costs_more(inactive, epsilon_per, activation):
    layer = random_layer(0, n=80, p=15, m=5, matched=activation == "identity")
    objectives = [
        trim_layer(
            layer.A,
            layer.Y,
            epsilon=epsilon,
            inactive=inactive,
            epsilon_per=epsilon_per,
            activation=activation,
        ).objective
        for epsilon in (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
    ]
    assert np.all(np.diff(objectives) <= 1e-3 * np.array(objectives[:-1]))
    assert objectives[0] > objectives[-1] == 0


@each
def test_budget_never_costs_more_than_strict(epsilon_per):
    for seed in range(5):
        layer = random_layer(seed)
        strict, budget = (
            trim_layer(
                layer.A, layer.Y, epsilon=0.1, inactive=inactive, epsilon_per=epsilon_per
            ).objective
            for inactive in INACTIVE
        )
        assert budget <= strict * (1 + 2e-3)


@pytest.mark.parametrize("activation", ["identity", "tanh", "logistic"])
def test_layers_that_are_matched_are_all_the_same_program(activation):
    Z = A @ LAYER.W + LAYER.b
    result = trim_layer(A, Z, epsilon=0.1, activation=activation)
    other = trim_layer(A, Z, epsilon=0.1, activation="identity", inactive="budget")
    np.testing.assert_array_equal(result.coef, other.coef)


# Scale ---------------------------------------------------------------------------------------


@either
@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inputs", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("weights", [1e-8, 1e8])
def test_any_scale_of_weights_and_inputs(inactive, epsilon_per, inputs, weights, dtype):
    """Free intercept: the solution takes the scale of the weights, whatever that of the inputs."""
    arguments = {"epsilon": 0.1, "inactive": inactive, "epsilon_per": epsilon_per}
    scaled = trim_layer(
        (inputs * A).astype(dtype), (inputs * weights * Y).astype(dtype), **arguments
    )
    plain = trim_layer(A, Y, **arguments)
    assert scaled.converged and scaled.coef.dtype == dtype
    assert scaled.objective == pytest.approx(weights * plain.objective, rel=2e-3)


@pytest.mark.parametrize("inputs", [1e-3, 1e3])
def test_a_penalised_intercept_far_from_the_scale_of_the_inputs(inputs):
    """Its price counts in units of the inputs: between that of a free one and of none at all."""
    result = trim_layer(inputs * A, inputs * Y, epsilon=0.2, penalize_intercept=True)
    assert result.converged
    free = trim_layer(A, Y, epsilon=0.2)
    price = inputs * abs(free.intercept).sum()
    assert free.objective * (1 - 2e-3) <= result.objective
    assert result.objective <= (free.objective + price) * (1 + 2e-3)


@pytest.mark.parametrize("inputs", [1e-8, 1e8])
def test_a_penalised_intercept_out_of_all_scale_is_not_passed_off_as_solved(inputs):
    """Known not to converge: then it says so, and never both or neither."""
    with warnings.catch_warnings(record=True, action="always") as caught:
        result = trim_layer(inputs * A, inputs * Y, epsilon=0.2, penalize_intercept=True)
    assert [w.category for w in caught] == [ConvergenceWarning] * (not result.converged)


# Recovery ------------------------------------------------------------------------------------


@either
@pytest.mark.parametrize("penalize_intercept", [True, False], ids=["penalised", "free"])
def test_planted_weights_are_recovered_from_gaussian_inputs(inactive, penalize_intercept):
    """The paper, Theorem 3: with a few times s log(N / s) rows, far fewer than inputs."""
    n_inputs, sparsity = 200, 4
    n_samples = int(8 * sparsity * np.log(n_inputs / sparsity))
    assert n_samples < 0.7 * n_inputs
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W = np.zeros((n_inputs, 5))
        for j in range(5):
            support = rng.choice(n_inputs, sparsity, replace=False)
            W[support, j] = rng.choice([-1, 1], sparsity) * rng.uniform(0.5, 2, sparsity)
        A = rng.standard_normal((n_samples, n_inputs))
        Y = np.maximum(A @ W, 0)
        result = trim_layer(
            A, Y, epsilon=0, inactive=inactive, penalize_intercept=penalize_intercept
        )
        assert result.converged
        np.testing.assert_allclose(result.coef, W, atol=1e-5)
        np.testing.assert_allclose(result.intercept, 0, atol=1e-5)
        # To the last zero: what is not planted is not there.
        np.testing.assert_array_equal(result.coef != 0, W != 0)


# Results -------------------------------------------------------------------------------------


@either
def test_merged_blocks_are_the_whole_layer(inactive):
    layer = random_layer(0, n=60, p=10, m=7, per_neuron=True, strict=inactive == "strict")
    problem = layer.problem()
    slices = [slice(0, 3), slice(3, 4), slice(4, 7)]
    parts = [solve_layer(problem.columns(part), tol=1e-6) for part in slices]
    merged = merge_results(problem, parts)
    whole = solve_layer(problem, tol=1e-6)
    assert merged.converged and whole.converged
    np.testing.assert_allclose(merged.coef, whole.coef, atol=1e-4)
    # All that it reports is what the layer says of the merged weights.
    proof = problem.certify(merged.coef, merged.intercept, np.zeros(layer.Y.shape))
    assert merged.objective == pytest.approx(proof.objective)
    assert merged.violation == pytest.approx(proof.violation)
    np.testing.assert_allclose(merged.residual, proof.residual)
    np.testing.assert_array_equal(merged.epsilon, problem.epsilon)
    assert merged.dual_objective <= layer.conic()[0] * (1 + 1e-6)
    assert merged.gap == pytest.approx(1 - merged.dual_objective / merged.objective)
    assert merged.n_iter == max(part.n_iter for part in parts)


def test_one_block_is_the_result_itself():
    assert merge_results(LAYER.problem(), [RESULT]) is RESULT


def test_a_result_is_plain_numbers_that_agree_with_each_other():
    assert isinstance(RESULT, LayerResult)
    assert RESULT.gap == pytest.approx(1 - RESULT.dual_objective / RESULT.objective)
    assert RESULT.objective == pytest.approx(abs(RESULT.coef).sum())
    assert RESULT.epsilon == pytest.approx(0.1 * np.linalg.norm(Y))
    assert all(type(getattr(RESULT, name)) is float for name in ("gap", "residual", "violation"))
    assert type(RESULT.converged) is bool
    assert RESULT.seconds > 0
    assert 0 < np.count_nonzero(RESULT.coef) < RESULT.coef.size


@pytest.mark.parametrize("tol", [5, 20])
def test_a_tolerance_that_leaves_nothing_to_do_is_none_too_large(tol):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 5))
    Y = np.maximum(A @ rng.standard_normal((5, 3)), 0)
    assert trim_layer(A, Y, epsilon=0.1, tol=tol).converged

"""Refit and elimination: the best weights on a support, fewer of them, never outside."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from sknettrim import NetTrim, net_trim_path, trim_layer
from sknettrim._elimination import PADDING, removals
from sknettrim._problem import LayerProblem
from sknettrim._refit import DAMPING, STRICT_WEIGHT, Limits, _Layer, refit
from sknettrim._solve import solve_layer
from sknettrim._trim import trim
from tests._layers import layers, random_layer

TOL = 1e-3


def with_original(layer, **options):
    """The program of a random layer that knows the weights the layer had."""
    problem = layer.problem(**options)
    problem.original = layer.W
    return problem


def refitter(problem, tol=TOL):
    result = solve_layer(problem, tol=tol)
    return _Layer(problem, result, Limits.of(problem, result, tol)), result


# Removals ------------------------------------------------------------------------------------


def least_loss(H, w, kept):
    """Of ``(v - w)' H (v - w)`` over v that is zero outside `kept`: Schur complement."""
    gone = np.setdiff1d(np.arange(len(w)), kept)
    inverse = np.linalg.inv(H)[np.ix_(gone, gone)]
    return w[gone] @ np.linalg.solve(inverse, w[gone]) if len(gone) else 0.0


def random_losses(rng, m, p):
    B = rng.standard_normal((m, 2 * p, p))
    return B.transpose(0, 2, 1) @ B, rng.standard_normal((m, p))


def test_each_removal_is_the_cheapest_and_costs_what_it_says():
    H, w = random_losses(np.random.default_rng(0), 3, 6)
    order, cost = removals(np.linalg.inv(H), w)
    for j in range(3):
        kept = list(range(6))
        for step in range(6):
            losses = {i: least_loss(H[j], w[j], [k for k in kept if k != i]) for i in kept}
            cheapest = min(losses, key=losses.get)
            assert order[step, j] == cheapest
            rise = losses[cheapest] - least_loss(H[j], w[j], kept)
            np.testing.assert_allclose(cost[step, j], rise)
            kept.remove(cheapest)


def test_removals_go_on_across_blocks_of_updates():
    H, w = random_losses(np.random.default_rng(1), 2, 70)
    order, cost = removals(np.linalg.inv(H), w)
    for j, left in itertools.product(range(2), (60, 30, 3, 0)):
        expected = least_loss(H[j], w[j], order[70 - left :, j])
        np.testing.assert_allclose(cost[: 70 - left, j].sum(), expected)


def test_neurons_of_several_sizes_side_by_side():
    H, w = random_losses(np.random.default_rng(2), 2, 40)
    inverses, padded = np.repeat(np.eye(40)[None], 2, axis=0), np.full((2, 40), PADDING)
    inverses[0], padded[0] = np.linalg.inv(H[0]), w[0]
    inverses[1, :5, :5], padded[1, :5] = np.linalg.inv(H[1][:5, :5]), w[1][:5]
    order, cost = removals(inverses, padded)
    for j, size in enumerate((40, 5)):
        alone = removals(np.linalg.inv(H[j][:size, :size])[None], w[j][None, :size])
        np.testing.assert_array_equal(order[:size, [j]], alone[0])
        np.testing.assert_allclose(cost[:size, [j]], alone[1])
    assert np.all(cost[5:, 1] > PADDING)


def test_removals_stop_where_nobody_can_afford_them():
    H, w = random_losses(np.random.default_rng(3), 2, 100)
    everything = removals(np.linalg.inv(H), w)
    order, cost = removals(np.linalg.inv(H), w, room=np.full(2, everything[1][:5].sum(0).max()))
    done = np.isfinite(cost).all(axis=1)
    assert 5 < done.sum() < 100
    np.testing.assert_array_equal(order[done], everything[0][done])
    np.testing.assert_allclose(cost[done], everything[1][done])


@given(layer=layers(matched=True, penalize_intercept=False, n=20, p=6))
@settings(max_examples=20)
def test_costs_are_what_the_loss_rises_by(layer):
    """With the intercept free to follow, on a layer whose loss is one quadratic."""
    problem = with_original(layer)
    refitted, _ = refitter(problem)
    neurons = refitted.refit()
    inputs, owners, _, _ = refitted._removals(neurons, np.full(len(refitted.radius), 1e9))
    j = 0
    mine = inputs[owners == j]
    assert sorted(mine) == sorted(neurons[j].support)

    def loss(neuron):
        x, columns = neuron.weights, np.append(neuron.support, problem.shape[0])
        pull = refitted.pull[columns] @ (x - refitted.pulled_to[columns, j]) ** 2
        # The pull of the weights that are gone does not depend on where the others are, but the
        # loss has it all the same.
        gone = np.delete(refitted.pulled_to[:-1, j], neuron.support)
        return neuron.charged + pull + refitted.pull[0] * gone @ gone

    inverse = np.linalg.inv(refitted._hessian(j, neurons[j]))[:-1, :-1]
    _, cost = removals(inverse[None], neurons[j].weights[None, :-1])
    before = loss(neurons[j])
    for count in range(1, len(mine) + 1):
        (fewer, *_) = refitted._without(neurons, mine[:count], np.full(count, j))
        np.testing.assert_allclose(
            loss(fewer) - before, cost[:count, 0].sum(), rtol=1e-4, atol=1e-6 * (1 + before)
        )


# Refit ---------------------------------------------------------------------------------------


# Once ended after part of a step, because the rows that count were the same before and after.
@example(
    layer=random_layer(
        seed=4,
        n=30,
        p=3,
        m=4,
        epsilon=0.8125,
        firing=(0, 1),
        density=0.3,
        matched=False,
        strict=True,
        per_neuron=True,
        weighted=False,
        cascade=False,
        penalize_intercept=False,
    )
)
@given(layer=layers(n=30))
@settings(max_examples=40)
def test_the_refit_is_stationary_on_its_support(layer):
    problem = with_original(layer)
    refitted, _ = refitter(problem)
    U, c = refitted.weights(refitted.refit())
    D = problem.deviation(layer.A @ U + c)
    force = D * np.where(problem.active | (D <= 0), 1.0, STRICT_WEIGHT if problem.strict else 1.0)
    damping = DAMPING * np.sum((layer.A - layer.A.mean(axis=0)) ** 2) / layer.A.shape[1]
    gradient = layer.A.T @ force + damping * (U - layer.W)
    scale = np.linalg.norm(layer.A) * np.linalg.norm(layer.Y) + 1e-3 + damping
    assert np.max(abs(gradient[U != 0]), initial=0.0) <= 1e-3 * scale
    assert np.max(abs(force.sum(axis=0))) <= 1e-3 * scale
    np.testing.assert_array_equal(U[refitted.start.coef == 0], 0)


@given(layer=layers(), known=st.booleans(), n_reweights=st.integers(0, 2))
@settings(max_examples=60)
def test_never_outside_the_constraints(layer, known, n_reweights):
    problem = with_original(layer) if known else layer.problem()
    plain = trim(problem, tol=TOL, n_reweights=n_reweights)
    result = trim(problem, tol=TOL, n_reweights=n_reweights, refit=True)
    S = layer.A @ result.coef + result.intercept
    residual, (_, rise) = layer.residual(S), layer.outside(S)
    np.testing.assert_allclose(result.residual, residual, rtol=1e-6, atol=1e-9)
    assert np.all(residual <= np.maximum(problem.epsilon, plain.residual) * (1 + 1e-9) + 1e-12)
    violation = np.sqrt(rise.sum()) / (np.linalg.norm(layer.Y) or 1.0)
    assert result.violation == pytest.approx(violation, rel=1e-6, abs=1e-12)
    assert violation <= max(TOL, plain.violation) * (1 + 1e-9)
    assert np.all(plain.coef[result.coef != 0] != 0)
    assert (result.gap, result.converged) == (plain.gap, plain.converged)


@pytest.mark.parametrize("per_neuron", [True, False])
def test_weights_outside_step_back_to_those_of_the_program(per_neuron):
    """Pulled towards weights that are far away, the refit leaves the ball."""
    layer = random_layer(0, strict=False, per_neuron=per_neuron)
    problem = with_original(layer)
    problem.original = layer.W + 30
    inside = solve_layer(replace(layer, radius=0.9 * layer.radius).problem())
    stepped = refit(problem, inside, tol=TOL)
    assert np.all(stepped.residual <= problem.epsilon)
    assert not np.array_equal(stepped.coef, inside.coef)
    problem.original = layer.W + 1e4
    at_the_edge = solve_layer(problem)
    stepped = refit(problem, at_the_edge, tol=TOL)
    np.testing.assert_array_equal(stepped.coef, at_the_edge.coef)


@pytest.mark.parametrize("strict", [True, False])
def test_without_removals_a_refit_is_closer_than_the_program(strict):
    problem = random_layer(0, n=80, p=12, strict=strict).problem()
    refitted, result = refitter(problem)
    U, c = refitted.weights(refitted.refit())
    D = problem.deviation(problem.responses(U, c))
    assert problem.residual(D) < 0.9 * result.residual
    # and with them it uses what it may
    fewer = refit(problem, result, tol=TOL)
    assert np.count_nonzero(fewer.coef) < np.count_nonzero(result.coef)


@pytest.mark.parametrize("strict", [True, False])
def test_neurons_with_their_own_ball_do_not_know_of_each_other(strict):
    problem = with_original(random_layer(1, n=60, p=12, m=5, per_neuron=True, strict=strict))
    result = solve_layer(problem)
    together = refit(problem, result, tol=TOL)
    for j in range(5):
        part = problem.columns(slice(j, j + 1))
        alone = refit(part, solve_layer(part), tol=TOL)
        np.testing.assert_array_equal(alone.coef[:, 0] != 0, together.coef[:, j] != 0)
        np.testing.assert_allclose(alone.coef[:, 0], together.coef[:, j], rtol=1e-6)
    assert np.count_nonzero(together.coef) < np.count_nonzero(result.coef)


@pytest.mark.parametrize("strict", [True, False])
def test_sparse_inputs_and_no_memory_for_gram_matrices_change_nothing(strict, monkeypatch):
    layer = random_layer(2, n=60, p=12, m=5, strict=strict, density=0.5)
    results = [trim(with_original(layer, storage=kind), refit=True) for kind in ("dense", "csr")]
    monkeypatch.setattr("sknettrim._refit.KEPT_GRAMS", 0)
    results.append(trim(with_original(layer), refit=True))
    for other in results[1:]:
        np.testing.assert_allclose(other.coef, results[0].coef, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(other.intercept, results[0].intercept, rtol=1e-4, atol=1e-6)


def test_single_precision_stays_within_the_ball():
    layer = random_layer(3, n=60, p=12, m=5, strict=False, dtype=np.float32)
    result = trim(with_original(layer, dtype=np.float32), refit=True)
    assert result.coef.dtype == result.intercept.dtype == np.float32
    assert layer.feasible(layer.A @ result.coef.astype(float) + result.intercept)


def test_constant_inputs_that_stand_in_for_a_penalised_intercept():
    Y = np.abs(np.random.default_rng(0).standard_normal((20, 2))) + 5
    for make in (np.asarray, sparse.csr_array):
        A = make(np.full((20, 3), 7.0))
        problem = LayerProblem(A, Y, 5.0, penalize_intercept=True)
        result = trim(problem, refit=True, n_reweights=1)
        assert result.residual <= result.epsilon * (1 + TOL)


# Reweighting ---------------------------------------------------------------------------------


def test_a_round_is_the_program_with_its_penalty_weights():
    layer = random_layer(4, n=80, p=12, m=5)
    options = layer.trim_arguments(0.1)
    first = trim_layer(layer.A, layer.Y, **options | {"n_reweights": 1, "original_coef": layer.W})
    weights = 1 / (abs(layer.W) + 0.1 * abs(layer.W).mean())
    options["penalty_weights"] = weights / np.median(weights)
    np.testing.assert_array_equal(first.coef, trim_layer(layer.A, layer.Y, **options).coef)


def test_prior_penalty_weights_stay():
    layer = random_layer(5, n=80, p=12, weighted=True)
    layer.R[0] = 1e6
    options = layer.trim_arguments(0.5) | {"n_reweights": 2}
    assert np.all(trim_layer(layer.A, layer.Y, **options).coef[0] == 0)


@pytest.mark.parametrize("per_neuron", [True, False])
def test_sparser_on_average_with_each_round(per_neuron):
    counts = np.zeros(3)
    for seed in range(8):
        problem = with_original(random_layer(seed, n=60, p=15, m=4, per_neuron=per_neuron))
        counts += [np.count_nonzero(trim(problem, n_reweights=k).coef) for k in range(3)]
    assert counts[0] > counts[1] > counts[2]


def test_nothing_left_to_reweight():
    layer = random_layer(6, strict=False)
    result = trim_layer(layer.A, layer.Y, epsilon=1, inactive="budget", n_reweights=3, refit=True)
    assert result.converged and not result.coef.any()


# Networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
def test_sparser_network(mlp, blobs, epsilon_per):
    """In parallel, where all see the same programs."""
    options = {"epsilon": 0.1, "inactive": "budget", "epsilon_per": epsilon_per}
    plain, *others = (
        NetTrim(mlp, **options, **extra).fit(blobs[0])
        for extra in ({}, {"refit": True}, {"refit": True, "n_reweights": 2})
    )
    assert all(other.density_ < plain.density_ for other in others)


def test_path_of_refitted_networks(mlp, blobs):
    options = {"scheme": "cascade", "inactive": "budget", "refit": True, "n_reweights": 1}
    path = net_trim_path(mlp, blobs[0], epsilons=[0.3, 0.1, 0.03], **options)
    assert np.all(path.discrepancies <= path.discrepancy_bounds)
    for epsilon, density in zip(path.epsilons, path.densities, strict=True):
        alone = NetTrim(mlp, epsilon=epsilon, **options).fit(blobs[0])
        assert density == pytest.approx(alone.density_, abs=0.1)

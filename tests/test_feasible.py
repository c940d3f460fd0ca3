"""What ADMM has reached, moved to where it is feasible: the proof it makes is a better one."""

from functools import cache

import numpy as np
import pytest
from _layers import STORAGE, random_layer

from sknettrim.solvers import _admm as admm
from sknettrim.solvers import _feasible as feasible

# With iterations that bring them near the optimum, but not there, and what is left of the loss.
SETTINGS = {"budget": ({"strict": False}, 30, 0.95), "matched": ({"matched": True}, 10, 0.7)}


@pytest.fixture(autouse=True)
def at_any_price(monkeypatch):
    """These layers are too small for it to be worth its price."""
    monkeypatch.setattr(feasible, "WORTH", np.inf)


def after(layer, storage="dense", dtype=np.float64, n_iter=10):
    """ADMM after a few iterations."""
    iterate = admm.Iterate(layer.problem(storage, dtype), None, dtype)
    for _ in range(n_iter // 10):
        iterate.advance(10)
        iterate.balance()
    return iterate


def dual_point(iterate):
    return iterate.solution(0).Xi


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_slopes_in_excess_are_moved_to_their_penalty(seed, per_neuron, penalised):
    """Exactly, where all rows count. The penalty of a free intercept is zero."""
    options = {"per_neuron": per_neuron, "penalize_intercept": penalised}
    iterate = after(random_layer(seed, n=80, p=12, m=4, matched=True, weighted=True, **options))
    before = iterate.A.T @ dual_point(iterate)
    penalty = np.broadcast_to(iterate.penalty, before.shape)
    exceeds = np.abs(before) > penalty
    assert exceeds[:-1].any()
    moved = feasible.within_penalties(iterate, dual_point(iterate))
    slopes = iterate.A.T @ moved
    np.testing.assert_allclose(np.abs(slopes[exceeds]), penalty[exceeds], rtol=1e-6, atol=1e-9)


@cache
def layer_and_optimum(setting, seed):
    options, *_ = SETTINGS[setting]
    layer = random_layer(seed, n=300, p=20, m=6, **options)
    optimum = admm.solve(layer.problem(), tol=1e-6, max_iter=2000)
    return layer, layer.problem().objective(optimum.U, optimum.c)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("setting", SETTINGS)
def test_bounds_are_mostly_better(setting, storage, dtype):
    missing, (_, n_iter, left) = [], SETTINGS[setting]
    for seed in range(20):
        layer, best = layer_and_optimum(setting, seed)
        iterate = after(layer, storage, dtype, n_iter)
        points = dual_point(iterate), feasible.within_penalties(iterate, dual_point(iterate))
        missing.append([1 - iterate.problem.dual_point(Xi).objective / best for Xi in points])
    before, then = np.transpose(missing)
    assert np.mean(then <= before) >= 0.75
    assert np.median(then / before) < left


def test_a_feasible_dual_point_stays_where_it_is():
    iterate = after(random_layer(0, n=80, p=12, m=4, matched=True))
    inside = iterate.problem.dual_point(dual_point(iterate)).dense() * 0.999
    moved = feasible.within_penalties(iterate, inside.copy())
    np.testing.assert_allclose(moved, inside, atol=1e-12)


def test_batches_change_nothing(monkeypatch):
    """Neurons of all sizes together, or one by one."""
    iterate = after(random_layer(1, n=200, p=30, m=9, matched=True))
    together = feasible.within_penalties(iterate, dual_point(iterate))
    monkeypatch.setattr(feasible, "BATCH", 1)
    alone = feasible.within_penalties(iterate, dual_point(iterate))
    assert np.any(together != dual_point(iterate))
    np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reason", ["price", "wide"])
def test_what_would_cost_too_much_is_left(reason, monkeypatch):
    iterate = after(random_layer(0, n=15 if reason == "wide" else 80, p=40, m=3, matched=True))
    if reason == "price":
        monkeypatch.setattr(feasible, "WORTH", 0.0)
    Xi = dual_point(iterate)
    np.testing.assert_array_equal(feasible.within_penalties(iterate, Xi.copy()), Xi)


def test_weights_far_from_the_ball_do_not_grow():
    iterate = after(random_layer(0, n=80, p=12, m=4, matched=True))
    iterate.Z *= 0.5
    assert feasible.growth_to_the_ball(iterate) == 0

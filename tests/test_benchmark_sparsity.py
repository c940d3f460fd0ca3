"""The baselines of the benchmark do what their papers say: each against a slower route."""

import itertools

import numpy as np
import pytest

from benchmarks.sparsity import ours, report
from benchmarks.sparsity.baselines import BASELINES, Layer, exact_obs, l0_admm
from benchmarks.sparsity.obs import mask_of_traces, order_of_removal


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 9)) @ rng.standard_normal((9, 9))
    return Layer(A, rng.standard_normal((9, 20)), rng.standard_normal(20))


def loss(layer, U):
    D = U - layer.best
    return np.sum(D * (layer.damped @ D), axis=0)


def best_losses(layer, mask):
    return loss(layer, layer.refit(mask)[0])


def test_each_removal_is_the_cheapest_and_costs_what_it_says(layer):
    order, cost = order_of_removal(layer.damped, layer.W)
    mask, before = np.ones(layer.W.shape, dtype=bool), np.zeros(20)
    for step in range(9):
        rises = np.full(mask.shape, np.inf)
        for i in range(9):
            trial = mask.copy()
            trial[i] = False
            rises[i] = np.where(mask[i], best_losses(layer, trial) - before, np.inf)
        np.testing.assert_array_equal(order[step], rises.argmin(axis=0))
        np.testing.assert_allclose(cost[step], rises.min(axis=0), rtol=1e-6)
        mask[order[step], np.arange(20)] = False
        before = best_losses(layer, mask)


def test_many_removals_as_one_product_change_nothing():
    """More inputs than are updated at a time, and more neurons."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((300, 80))
    layer = Layer(A, rng.standard_normal((80, 18)), np.zeros(18))
    order, cost = order_of_removal(layer.damped, layer.W)
    np.testing.assert_array_equal(np.sort(order, axis=0), np.tile(np.arange(80)[:, None], 18))
    for left in (70, 30, 5):
        mask = np.zeros(layer.W.shape, dtype=bool)
        np.put_along_axis(mask, order[80 - left :], True, axis=0)
        np.testing.assert_allclose(best_losses(layer, mask), cost[: 80 - left].sum(axis=0))


def test_traces_merge_cheapest_first():
    order = np.array([[0, 1], [1, 0]])
    cost = np.array([[5.0, 1.0], [2.0, 7.0]])
    # The first neuron's second removal costs 2, but waits for its first, which costs 5.
    kept = [mask_of_traces(order, cost, count).tolist() for count in (4, 3, 2, 1, 0)]
    assert kept == [
        [[True, True], [True, True]],
        [[True, True], [True, False]],
        [[False, True], [True, False]],
        [[False, True], [False, False]],
        [[False, False], [False, False]],
    ]


@pytest.mark.parametrize("method", BASELINES)
def test_as_many_weights_as_wanted(layer, method):
    prune, _ = BASELINES[method]
    for count, (U, _) in zip((100, 31, 1), prune(layer, (100, 31, 1)), strict=True):
        assert np.count_nonzero(U) == count


def test_admm_ends_at_the_best_weights_of_its_support(layer):
    ((U, c),) = l0_admm(layer, (60,))
    again, shift = layer.refit(U != 0)
    np.testing.assert_allclose(U, again, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(c, shift, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", [exact_obs, l0_admm])
def test_close_to_the_best_of_all_supports(method):
    rng = np.random.default_rng(2)
    layer = Layer(rng.standard_normal((50, 8)), rng.standard_normal((8, 1)), np.zeros(1))
    supports = itertools.combinations(range(8), 4)
    losses = [best_losses(layer, np.isin(np.arange(8), list(s))[:, None]).sum() for s in supports]
    ((U, _),) = method(layer, (4,))
    assert loss(layer, U).sum() <= 1.2 * min(losses)


def test_in_the_cascade_the_responses_are_those_of_the_original_inputs(layer):
    """With all weights kept and hardly any damping, what changed in the inputs is undone."""
    mixed = Layer(2 * layer.A + 1, layer.W, layer.b, layer.A @ layer.W + layer.b)
    ((U, c),) = exact_obs(mixed, (180,))
    expected = layer.A @ layer.W + layer.b
    moved = np.linalg.norm(mixed.A @ U + c - expected) / np.linalg.norm(expected)
    unchanged = np.linalg.norm(mixed.A @ layer.W + layer.b - expected) / np.linalg.norm(expected)
    assert moved < 0.1 * unchanged


@pytest.mark.parametrize("name", ours.SETTINGS)
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_ours_at_wanted_numbers(layer, name, activation):
    setting = {k: v for k, v in ours.SETTINGS[name].items() if k != "cascade"}
    Z = layer.A @ layer.W + layer.b
    target = np.maximum(Z, 0) if activation == "relu" else Z
    search = ours.Search(layer.A, target, activation=activation, original_coef=layer.W, **setting)
    for count, allowed in ((90, 0.7), (60, 0.9)):
        U, c, _ = search.at_most(count)
        assert 0.7 * count <= np.count_nonzero(U) <= count
        S = layer.A @ U + c
        found = np.linalg.norm((np.maximum(S, 0) if activation == "relu" else S) - target)
        assert found < allowed * np.linalg.norm(target)


def record(method, seed, discrepancy, score, density=0.1):
    return {
        "network": "net",
        "method": method,
        "seed": seed,
        "density": density,
        "discrepancy": discrepancy,
        "score": score,
        "seconds": 1.0,
    }


def test_one_method_beside_another():
    records = [record("a", 0, 0.1, 0.9), record("a", 1, 0.3, 0.7)]
    records += [record("b", 0, 0.2, 0.8), record("b", 1, 0.6, 0.4)]
    line = report.comparison(records, "a", "b").splitlines()[-1]
    assert line == "| net | 0.50, +0.200 ± 0.100 | 0.50 |"


def test_lines_go_from_the_densest_to_the_sparsest_whatever_was_run_last():
    records = [record("a", 0, 0.1, 0.9, density) for density in (0.2, 0.1, 0.5)]
    assert list(report._means(records)["net"]["a"]) == [0.5, 0.2, 0.1]

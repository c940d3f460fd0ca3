"""The bound of the discrepancy: a theorem, also for weights that no solver would return."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sknettrim import NetTrim
from sknettrim._guarantee import Summary, discrepancies, discrepancy_bounds, summarize
from sknettrim._network import Network
from sknettrim._schemes import cascade, parallel

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


def random_network(rng, activation, sizes, dtype):
    shapes = list(pairwise(sizes))
    return Network(
        [rng.standard_normal(shape).astype(dtype) for shape in shapes],
        [rng.standard_normal(n_neurons).astype(dtype) for _, n_neurons in shapes],
        activation,
    )


def disturb(network, noise, rng):
    """A stand-in for a solver: original weights with noise, and what the program says of them."""
    noises = np.broadcast_to(noise, network.n_layers)

    def solve(problems, first=0):
        results = []
        for layer, problem in enumerate(problems, start=first):
            noisy = 1 + noises[layer] * rng.standard_normal(problem.shape)
            coef = network.coefs[layer] * noisy
            coef, intercept = coef.astype(problem.Y.dtype), network.intercepts[layer]
            certificate = problem.certify(coef, intercept, np.zeros(problem.Y.shape))
            results.append(
                SimpleNamespace(
                    coef=coef,
                    intercept=intercept,
                    epsilon=problem.epsilon,
                    residual=certificate.residual,
                    violation=certificate.violation,
                    gap=0.5,
                    converged=layer > 0,
                    seconds=1.0,
                )
            )
        return results

    return solve


def run(network, X, scheme, noise, rng, *, epsilon=0.05, inactive="strict", per_neuron=False):
    """(problems, results, original outputs, pruned outputs) of a disturbed network."""
    outputs = network.outputs(X)
    options = {
        "solve": disturb(network, noise, rng),
        "inactive": inactive,
        "per_neuron": per_neuron,
    }
    if scheme == "parallel":
        options["epsilon"] = [epsilon] * network.n_layers
        problems, results = parallel(network, outputs, **options)
    else:
        gammas = [1.1] * network.n_layers
        problems, results = cascade(
            network, outputs, epsilon=epsilon, gamma=gammas, kappa=1.0, **options
        )
    coefs = [result.coef for result in results]
    pruned = Network(coefs, [result.intercept for result in results], network.activation)
    return problems, results, outputs, pruned.outputs(X)


@given(
    seed=st.integers(0, 2**32 - 1),
    activation=st.sampled_from(ACTIVATIONS),
    scheme=st.sampled_from(["parallel", "cascade"]),
    inactive=st.sampled_from(["strict", "budget"]),
    per_neuron=st.booleans(),
    hidden=st.lists(st.integers(1, 8), max_size=3),
    log_noise=st.floats(-17, 0.5),
    epsilon=st.sampled_from([0.0, 1e-6, 0.1]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=200)
def test_no_network_exceeds_its_bound(
    seed, activation, scheme, inactive, per_neuron, hidden, log_noise, epsilon, dtype
):
    rng = np.random.default_rng(seed)
    network = random_network(rng, activation, (4, *hidden, 2), dtype)
    X = rng.standard_normal((25, 4)).astype(dtype)
    problems, results, original, pruned = run(
        network,
        X,
        scheme,
        10**log_noise,
        rng,
        epsilon=epsilon,
        inactive=inactive,
        per_neuron=per_neuron,
    )
    bounds = discrepancy_bounds(
        network, problems, results, original, pruned, cascade=scheme == "cascade"
    )
    assert np.all(discrepancies(original, pruned) <= bounds)


def test_discrepancy_is_measured_after_each_hidden_activation():
    original = [None, np.zeros((2, 2)), np.zeros((2, 2))]
    pruned = [None, np.ones((2, 2)), np.full((2, 2), 3.0)]
    np.testing.assert_allclose(discrepancies(original, pruned), [2, 6])


def test_bound_of_a_satisfied_parallel_network_is_the_recursion_of_the_paper():
    rng = np.random.default_rng(0)
    network = random_network(rng, "relu", (4, 6, 5, 2), np.float64)
    X = rng.standard_normal((25, 4))
    problems, results, original, pruned = run(network, X, "parallel", 0.0, rng, epsilon=0.1)
    bounds = discrepancy_bounds(network, problems, results, original, pruned, cascade=False)
    expected = 0.0
    for bound, problem, result in zip(bounds, problems, results, strict=True):
        expected = np.linalg.norm(result.coef, 2) * expected + problem.epsilon
        assert bound == pytest.approx(expected, rel=1e-10)


def test_theorem_1_on_a_link_normalised_network():
    rng = np.random.default_rng(0)
    network = random_network(rng, "relu", (4, 6, 5, 2), np.float64)
    for coef in network.coefs:
        coef /= np.abs(coef).sum()
    X = rng.standard_normal((25, 4))
    problems, results, original, pruned = run(network, X, "parallel", 0.0, rng, epsilon=0.1)
    bounds = discrepancy_bounds(network, problems, results, original, pruned, cascade=False)
    assert bounds[-1] <= sum(problem.epsilon for problem in problems)


def test_cascade_budget_bound_is_the_radius_itself():
    rng = np.random.default_rng(0)
    network = random_network(rng, "relu", (4, 6, 5, 2), np.float64)
    X = rng.standard_normal((25, 4))
    problems, results, original, pruned = run(
        network, X, "cascade", [1e-3, 0, 0], rng, inactive="budget"
    )
    bounds = discrepancy_bounds(network, problems, results, original, pruned, cascade=True)
    np.testing.assert_allclose(bounds, [problem.epsilon for problem in problems], rtol=1e-9)


def test_sparse_inputs_change_nothing():
    network = random_network(np.random.default_rng(0), "relu", (4, 6, 2), np.float64)
    X = np.random.default_rng(1).standard_normal((25, 4))
    dense, csr = (
        discrepancy_bounds(
            network,
            *run(network, inputs, "parallel", 0.1, np.random.default_rng(2)),
            cascade=False,
        )
        for inputs in (X, sparse.csr_array(X))
    )
    np.testing.assert_allclose(dense, csr)


@pytest.mark.parametrize("task", ["multiclass", "many outputs"], indirect=True)
@pytest.mark.parametrize("scheme", ["parallel", "cascade"])
@pytest.mark.parametrize("inactive", ["strict", "budget"])
@pytest.mark.parametrize("epsilon_per", ["layer", "neuron"])
@pytest.mark.parametrize(("n_reweights", "refit"), [(0, False), (2, False), (0, True), (1, True)])
def test_pruned_networks_stay_within_their_bound(
    task, scheme, inactive, epsilon_per, n_reweights, refit
):
    mlp, X, _ = task
    trim = NetTrim(
        mlp,
        epsilon=0.1,
        scheme=scheme,
        inactive=inactive,
        epsilon_per=epsilon_per,
        n_reweights=n_reweights,
        refit=refit,
    ).fit(X)
    assert np.all(trim.discrepancy_ <= trim.discrepancy_bound_)
    assert trim.discrepancy_bound_[0] <= 0.1 * 1.01 * np.linalg.norm(
        np.maximum(X @ mlp.coefs_[0] + mlp.intercepts_[0], 0)
    )


# Report --------------------------------------------------------------------------------------


def test_summary_counts_and_says_what_did_not_converge():
    rng = np.random.default_rng(0)
    network = random_network(rng, "relu", (4, 6, 2), np.float64)
    X = rng.standard_normal((25, 4))
    problems, results, original, _ = run(network, X, "parallel", 0.0, rng)
    results[0].coef = results[0].coef.copy()
    results[0].coef[:2] = 0
    table = summarize(network, problems, results, original, [0.5, 0.25], [1.0, 2.0])
    head, _, first, second, _, total = table.splitlines()
    assert len({len(line) for line in table.splitlines()}) == 1
    assert head.split()[:2] == ["layer", "shape"]
    assert first.split()[:7] == ["1", "4", "x", "6", "24", "12", "50.0%"]
    assert "NO" in first and "yes" in second and "NO" in total
    assert total.split() == ["total", "36", "24", "66.7%", "NO", "2.00"]


def test_summary_shows_as_a_table_in_a_notebook():
    table = Summary("a\nb")
    assert repr(table) == str(table) == f"{table}" == "a\nb"


def test_a_layer_without_outputs_has_no_relative_values():
    rng = np.random.default_rng(0)
    network = random_network(rng, "relu", (4, 6, 2), np.float64)
    network.intercepts[0][:] = -1e6
    network.intercepts[1][:] = 0
    X = rng.standard_normal((25, 4))
    problems, results, original, pruned = run(network, X, "parallel", 0.0, rng)
    bounds = discrepancy_bounds(network, problems, results, original, pruned, cascade=False)
    measured = discrepancies(original, pruned)
    np.testing.assert_array_equal(measured, 0)
    assert "0 (0)" in summarize(network, problems, results, original, measured, bounds)

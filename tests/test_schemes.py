"""What each layer is asked for in both schemes."""

import re
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sknettrim._network import Network
from sknettrim._schemes import cascade, parallel
from sknettrim.exceptions import InfeasibleError

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
SIZES = (5, 7, 6, 3)
ACCURATE = 1e-12


def random_network(rng, activation="relu", sizes=SIZES):
    shapes = list(pairwise(sizes))
    return Network(
        [rng.standard_normal(shape) for shape in shapes],
        [rng.standard_normal(n_neurons) for _, n_neurons in shapes],
        activation,
    )


def keep_weights(network, noise=0.0, seed=0):
    """A stand-in for a solver: the original weights, with some noise."""
    rng = np.random.default_rng(seed)

    def solve(problems, first=0):
        return [
            SimpleNamespace(
                coef=network.coefs[layer] * (1 + noise * rng.standard_normal(problem.shape)),
                intercept=network.intercepts[layer],
            )
            for layer, problem in enumerate(problems, start=first)
        ]

    return solve


def original_weights_in(problem, network, layer):
    """What the original weights leave in a program: (residual, violation)."""
    responses = problem.responses(network.coefs[layer], network.intercepts[layer])
    deviation = problem.deviation(responses)
    return problem.residual(deviation), np.linalg.norm(problem.leaks(deviation))


setting = {
    "seed": st.integers(0, 2**32 - 1),
    "activation": st.sampled_from(ACTIVATIONS),
    "inactive": st.sampled_from(["strict", "budget"]),
    "per_neuron": st.booleans(),
}


# Parallel ------------------------------------------------------------------------------------


@given(**setting, epsilon=st.floats(1e-3, 1))
@settings(max_examples=20)
def test_parallel_problems(seed, activation, inactive, per_neuron, epsilon):
    rng = np.random.default_rng(seed)
    network = random_network(rng, activation)
    outputs = network.outputs(rng.standard_normal((20, SIZES[0])))
    problems, _ = parallel(
        network,
        outputs,
        epsilon=[epsilon, 2 * epsilon, 3 * epsilon],
        per_neuron=per_neuron,
        solve=keep_weights(network),
        inactive=inactive,
    )
    for layer, problem in enumerate(problems):
        hidden_relu = activation == "relu" and layer < 2
        assert problem.matched is not hidden_relu
        assert problem.A is outputs[layer]
        assert problem.inactive == inactive
        np.testing.assert_array_equal(network.activate(layer, problem.Y), outputs[layer + 1])
        norm = np.linalg.norm(problem.Y, axis=0 if per_neuron else None)
        np.testing.assert_allclose(problem.epsilon, (layer + 1) * epsilon * norm)
        residual, violation = original_weights_in(problem, network, layer)
        assert np.all(residual <= ACCURATE * norm.sum())
        assert violation <= ACCURATE


# Cascade -------------------------------------------------------------------------------------


@given(**setting, gamma=st.floats(1, 3))
@example(seed=47457, activation="relu", inactive="strict", per_neuron=True, gamma=1.0)
@settings(max_examples=40)
def test_original_weights_are_feasible_all_the_way_down_the_cascade(
    seed, activation, inactive, per_neuron, gamma
):
    rng = np.random.default_rng(seed)
    network = random_network(rng, activation)
    outputs = network.outputs(rng.standard_normal((20, SIZES[0])))
    problems, results = cascade(
        network,
        outputs,
        epsilon=0.1,
        gamma=[None, gamma, gamma],
        kappa=1.0,
        per_neuron=per_neuron,
        solve=keep_weights(network, noise=0.1, seed=seed),
        inactive=inactive,
    )
    inputs = outputs[0]
    for layer, (problem, result) in enumerate(zip(problems, results, strict=True)):
        np.testing.assert_allclose(problem.A, inputs)
        residual, violation = original_weights_in(problem, network, layer)
        assert violation <= ACCURATE
        if layer:
            # The radius is what the original weights leave, times sqrt(gamma), unless that is lost
            # in rounding: a neuron may fire on none of the rows where its inputs have changed.
            least = np.sqrt(np.finfo(np.float64).eps) * problem.norm(problem.Y)
            radius = np.maximum(np.sqrt(gamma) * residual, least)
            np.testing.assert_allclose(problem.epsilon, radius, rtol=1e-6)
        inputs = network.activate(layer, inputs @ result.coef + result.intercept)


def test_a_strict_cascade_lets_inactive_neurons_reach_what_they_would_reach_unpruned():
    rng = np.random.default_rng(0)
    network = random_network(rng)
    outputs = network.outputs(rng.standard_normal((20, SIZES[0])))
    options = {"epsilon": 0.1, "gamma": [1.0] * 3, "kappa": 1.0, "per_neuron": False}
    solve = keep_weights(network, noise=0.1)
    (first, strict, last), _ = cascade(network, outputs, solve=solve, inactive="strict", **options)
    unpruned = network.respond(1, strict.A)
    off = outputs[2] <= 0
    np.testing.assert_array_equal(strict.upper[off], np.maximum(unpruned, 0)[off])
    assert first.upper is None and last.upper is None
    (_, budget, _), _ = cascade(
        network, outputs, solve=keep_weights(network, noise=0.1), inactive="budget", **options
    )
    assert budget.upper is None
    assert budget.epsilon >= strict.epsilon


@pytest.mark.parametrize("kappa", [0.5, 0.9])
def test_kappa_scales_the_radius_of_the_output_layer_only(kappa):
    rng = np.random.default_rng(0)
    network = random_network(rng)
    outputs = network.outputs(
        rng.standard_normal((4, SIZES[0]))
    )  # so few rows that all is possible
    run = partial(
        cascade, network, outputs, epsilon=0.1, gamma=[1.1] * 3, per_neuron=False, inactive="strict"
    )
    plain, _ = run(kappa=1.0, solve=keep_weights(network, noise=0.1))
    small, _ = run(kappa=kappa, solve=keep_weights(network, noise=0.1))
    ratios = [new.epsilon / old.epsilon for new, old in zip(small, plain, strict=True)]
    np.testing.assert_allclose(ratios, [1, 1, kappa])


@given(seed=st.integers(0, 2**32 - 1), per_neuron=st.booleans())
@settings(max_examples=20)
def test_infeasible_kappa_names_the_layer_and_a_value_that_works(seed, per_neuron):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    outputs = network.outputs(rng.standard_normal((60, SIZES[0])))
    run = partial(
        cascade,
        network,
        outputs,
        epsilon=0.1,
        gamma=[1.0] * 3,
        per_neuron=per_neuron,
        inactive="strict",
    )
    solve = partial(keep_weights, network, noise=0.1, seed=seed)
    with pytest.raises(
        InfeasibleError, match=r"layer 3 of 3: no solution with kappa=1e-05"
    ) as info:
        run(kappa=1e-5, solve=solve())
    smallest = float(re.search(r"works here is ([\d.e-]+)$", str(info.value)).group(1))
    run(kappa=smallest, solve=solve())
    with pytest.raises(InfeasibleError):
        run(kappa=0.98 * smallest, solve=solve())

"""Parallel and cascade: the inputs, targets, radius and upper bound that each layer gets.

Both schemes start from the outputs of the original network, ``outputs[l]`` being the inputs of
layer ``l`` (numbered from 0) and ``outputs[l + 1]`` what it passes on.
"""

import math

import numpy as np
from scipy.linalg import lstsq

from ._columns import norm, or_one
from ._intercept import stack_intercept
from ._network import affine
from ._presolve import constant_radius
from ._problem import LayerProblem
from .exceptions import InfeasibleError


def parallel(network, outputs, *, epsilon, per_neuron, solve, **program):
    """Every layer with the inputs and targets of the original network.

    Parameters
    ----------
    network : Network
        The original network.
    outputs : list of n_layers + 1 arrays
        Its outputs on the calibration data, from the data itself to the output layer.
    epsilon : sequence of n_layers floats
        Relative to the norm of the targets of each layer.
    per_neuron : bool
        One radius for each neuron instead of one for the layer.
    solve : callable
        ``solve(problems) -> results``, see :func:`solve_problems`.
    **program : dict
        `inactive` and `penalize_intercept` of :class:`LayerProblem`.

    Returns
    -------
    problems : list of LayerProblem
    results : list of LayerResult
    """
    problems = [
        _original_problem(network, outputs, layer, epsilon[layer], per_neuron, program)
        for layer in range(network.n_layers)
    ]
    return problems, solve(problems)


def cascade(network, outputs, *, epsilon, gamma, kappa, per_neuron, solve, **program):
    """Every layer with the inputs that the pruned layers before it give it, and original targets.

    The first layer is as in :func:`parallel`, and `epsilon` a single float, for it. The radius of
    the others is what the original weights would leave, times the square root of
    ``gamma[layer]``, and times `kappa` at the output layer (Aghasi et al. 2017, section 3.2).
    Other parameters and returned values are those of :func:`parallel`.

    Raises
    ------
    InfeasibleError
        If no output layer reaches the radius that `kappa` asks for.
    """
    problems, results = [], []
    inputs = outputs[0]
    for layer in range(network.n_layers):
        if layer == 0:
            problem = _original_problem(network, outputs, 0, epsilon, per_neuron, program)
        else:
            slack = math.sqrt(gamma[layer]) * (kappa if network.is_output(layer) else 1.0)
            problem = _cascade_problem(network, outputs, layer, inputs, slack, per_neuron, program)
            if slack < 1.0:
                _check_feasible(problem, network.n_layers, kappa)
        (result,) = solve([problem], first=layer)
        problems.append(problem)
        results.append(result)
        inputs = network.activate(layer, affine(inputs, result.coef, result.intercept))
    return problems, results


def emptying_epsilon(network, outputs, layers, *, per_neuron, **program):
    """The smallest epsilon at which no layer of :func:`parallel` needs a weight.

    Parameters
    ----------
    layers : iterable of int
        The layers to look at. The first one is enough for :func:`cascade`: without its weights
        all later layers have constant inputs, and the intercept that the original weights make
        of these is in reach of each of them (for `kappa` = 1).
    network, outputs, per_neuron, **program
        As in :func:`parallel`.

    Returns
    -------
    epsilon : float
        Above the exact value by rounding only.
    """
    smallest = 0.0
    for layer in layers:
        problem = _original_problem(network, outputs, layer, 0.0, per_neuron, program)
        radius, size = constant_radius(problem), norm(problem.Y, per_neuron)
        share = np.max(radius / or_one(size))
        smallest = max(smallest, float(share) * (1 + 8 * np.finfo(problem.Y.dtype).eps))
    return smallest


def _original_problem(network, outputs, layer, epsilon, per_neuron, program):
    target = _target(network, outputs, layer)
    radius = epsilon * norm(target, per_neuron)
    matched = not network.is_relu(layer)
    program = {**program, "original": network.coefs[layer]}
    return LayerProblem(outputs[layer], target, radius, matched=matched, **program)


def _target(network, outputs, layer):
    """What to match: the outputs of a relu layer, else the responses before the activation."""
    if network.is_relu(layer) or network.is_output(layer):
        return outputs[layer + 1]
    return network.respond(layer, outputs[layer])


def _cascade_problem(network, outputs, layer, inputs, slack, per_neuron, program):
    """The program in which the original weights are feasible, by the slack to spare."""
    target = _target(network, outputs, layer)
    program = {**program, "original": network.coefs[layer]}
    unpruned = network.respond(layer, inputs)
    if not network.is_relu(layer):
        radius = slack * norm(unpruned - target, per_neuron)
        return LayerProblem(inputs, target, radius, matched=True, **program)
    active = target > 0
    leak = np.where(active, 0, np.maximum(unpruned, 0))
    error = np.where(active, unpruned - target, 0)
    if program["inactive"] == "strict":
        # The paper takes V = unpruned there; its positive part keeps the same bound on the
        # outputs and is never harder to satisfy.
        return LayerProblem(inputs, target, slack * norm(error, per_neuron), upper=leak, **program)
    return LayerProblem(inputs, target, slack * norm(error + leak, per_neuron), **program)


def _check_feasible(problem, n_layers, kappa):
    """Compare the radius with the least-squares error, the smallest that any weights reach."""
    inputs = stack_intercept(problem.A, np.float64)
    target = problem.Y.astype(np.float64)
    fitted = inputs @ lstsq(inputs, target, lapack_driver="gelsy")[0]
    smallest = norm(target - fitted, problem.per_neuron)
    if np.all(smallest <= problem.epsilon * (1 + 1e-6)):
        return
    # Where the radius is zero, so is the smallest error.
    works = kappa * float(np.max(smallest / or_one(problem.epsilon)))
    # Rounded up to three digits, so that the value in the message does work.
    unit = 10.0 ** (math.floor(math.log10(works)) - 2)
    works = min(math.ceil(works / unit) * unit, 1.0)
    raise InfeasibleError(
        f"layer {n_layers} of {n_layers}: no solution with kappa={kappa:g}; the smallest that "
        f"works here is {works:.3g}"
    )

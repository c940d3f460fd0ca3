"""Parallel and cascade: the inputs, targets, radius and upper bound that each layer gets.

Both schemes start from the outputs of the original network, ``outputs[l]`` being the inputs of
layer ``l`` (numbered from 0) and ``outputs[l + 1]`` what it passes on.
"""

import math
import warnings
from contextlib import nullcontext

import numpy as np
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from scipy.linalg import lstsq
from sklearn.utils import gen_even_slices
from sklearn.utils.parallel import Parallel, delayed

from ._network import affine
from ._presolve import constant_radius
from ._problem import LayerProblem, stack_intercept
from ._solve import merge_results
from ._threads import blas_threads
from ._trim import trim
from .exceptions import InfeasibleError

# Neurons that are solved together where each has its own epsilon. The number does not depend on
# n_jobs, so neither do the results.
_NEURONS_PER_TASK = 128


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
        radius, norm = constant_radius(problem), _norm(problem.Y, per_neuron)
        share = np.max(radius / np.where(norm > 0, norm, 1.0))
        smallest = max(smallest, float(share) * (1 + 8 * np.finfo(problem.Y.dtype).eps))
    return smallest


def _original_problem(network, outputs, layer, epsilon, per_neuron, program):
    target = _target(network, outputs, layer)
    radius = epsilon * _norm(target, per_neuron)
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
        radius = slack * _norm(unpruned - target, per_neuron)
        return LayerProblem(inputs, target, radius, matched=True, **program)
    active = target > 0
    leak = np.where(active, 0, np.maximum(unpruned, 0))
    error = np.where(active, unpruned - target, 0)
    if program["inactive"] == "strict":
        # The paper takes V = unpruned there; its positive part keeps the same bound on the
        # outputs and is never harder to satisfy.
        return LayerProblem(inputs, target, slack * _norm(error, per_neuron), upper=leak, **program)
    return LayerProblem(inputs, target, slack * _norm(error + leak, per_neuron), **program)


def _norm(Y, per_neuron):
    return np.linalg.norm(Y.astype(np.float64, copy=False), axis=0 if per_neuron else None)


def _check_feasible(problem, n_layers, kappa):
    """Compare the radius with the least-squares error, the smallest that any weights reach."""
    inputs = stack_intercept(problem.A, np.float64)
    target = problem.Y.astype(np.float64)
    fitted = inputs @ lstsq(inputs, target, lapack_driver="gelsy")[0]
    smallest = _norm(target - fitted, problem.per_neuron)
    if np.all(smallest <= problem.epsilon * (1 + 1e-6)):
        return
    # Where the radius is zero, so is the smallest error.
    works = kappa * float(np.max(smallest / np.where(problem.epsilon > 0, problem.epsilon, 1.0)))
    # Rounded up to three digits, so that the value in the message does work.
    unit = 10.0 ** (math.floor(math.log10(works)) - 2)
    works = min(math.ceil(works / unit) * unit, 1.0)
    raise InfeasibleError(
        f"layer {n_layers} of {n_layers}: no solution with kappa={kappa:g}; the smallest that "
        f"works here is {works:.3g}"
    )


def solve_problems(
    problems, *, first=0, n_layers, solutions=None, prefix="", n_jobs=None, verbose=0, **options
):
    """Solve the programs of some layers, through joblib.

    Parameters
    ----------
    problems : list of LayerProblem
        Layers that do not depend on each other.
    first : int, default=0
        Number of the first of them in the network, for the report.
    n_layers : int
        Number of layers of the network, for the report.
    solutions : dict, default=None
        Solutions of the same layers at another epsilon, by task, to start from; replaced by
        those found here. Empty to begin with, None if nothing follows.
    prefix : str, default=""
        What the report says before the number of a layer.
    n_jobs : int, default=None
        Tasks at a time: layers, or blocks of neurons where each has its own epsilon.
    verbose : int, default=0
        From 1 on, a line per layer; from 2 on, the progress of each solve.
    **options : dict
        Passed on to :func:`trim`.

    Returns
    -------
    results : list of LayerResult
    """
    backend, _ = get_active_backend()
    blocks = [_neuron_blocks(problem) for problem in problems]
    shared = [_shared(problem, backend) for problem in problems]
    starts = solutions or {}
    # A task is a whole problem and its share of the neurons: what tasks have in common is one
    # object then, which is mapped into the memory of each worker, or sent to it, only once.
    tasks = [
        delayed(_solve_task)(
            problem,
            block,
            start=_shared(starts.get((layer, block.start)), backend),
            return_solution=solutions is not None,
            verbose=verbose,
            **options,
        )
        for layer, (problem, slices) in enumerate(zip(shared, blocks, strict=True), start=first)
        for block in slices
    ]
    n_jobs = min(effective_n_jobs(n_jobs), len(tasks))
    return_as = "generator" if backend.supports_return_generator else "list"
    results = []
    # Cores go to one task, through its own threads, or to several. The processes of joblib and
    # dask get their share of threads there; in threads of this process, tasks would undo each
    # other's limits.
    with blas_threads(1) if n_jobs > 1 else nullcontext():
        answers = iter(Parallel(n_jobs=n_jobs, return_as=return_as)(tasks))
        for layer, (problem, slices) in enumerate(zip(problems, blocks, strict=True), start=first):
            parts = [next(answers) for _ in slices]
            if solutions is not None:
                parts, found = zip(*parts, strict=True)
                keys = ((layer, block.start) for block in slices)
                solutions.update(zip(keys, found, strict=True))
            name = f"{prefix}layer {layer + 1} of {n_layers}"
            result = merge_results(problem, parts, name)
            results.append(result)
            if verbose:
                print(_progress_line(name, problem, result), flush=True)
    return results


def _shared(value, backend):
    """What tasks are given for a value: itself, or on dask a future, the result of a task.

    By default the backend would place a large argument on one worker. Dask cannot restore what
    is lost with that worker, and joblib waits forever where placing fails (1.6). The result of
    a task is computed again, and workers fetch it from each other.
    """
    # Only the backend of dask has one.
    client = getattr(backend, "client", None)
    if client is None or value is None:
        return value
    with warnings.catch_warnings():
        # Advice to send large data once, which is what happens here.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        return client.submit(_itself, value, pure=False)


def _itself(value):
    return value


def _neuron_blocks(problem):
    n_neurons = problem.shape[1]
    n_blocks = math.ceil(n_neurons / _NEURONS_PER_TASK) if problem.per_neuron else 1
    return list(gen_even_slices(n_neurons, n_blocks))


def _solve_task(problem, block, **options):
    return trim(problem.columns(block), **options)


def _progress_line(name, problem, result):
    kept, size = np.count_nonzero(result.coef), result.coef.size
    return (
        f"[NetTrim] {name}: {problem.shape[0]} x {problem.shape[1]}, "
        f"kept {kept:,} of {size:,} ({kept / size:.1%}), "
        f"epsilon {np.linalg.norm(result.epsilon):.3g}, gap {result.gap:.1e}, "
        f"{result.seconds:.1f} s"
    )

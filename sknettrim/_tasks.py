"""Layers, or blocks of neurons, as tasks of joblib: here, in processes or threads, on a cluster."""

import math
import warnings
from contextlib import nullcontext

import numpy as np
from joblib import effective_n_jobs
from joblib.parallel import (
    LokyBackend,
    MultiprocessingBackend,
    ThreadingBackend,
    get_active_backend,
)
from sklearn.utils import gen_even_slices
from sklearn.utils.parallel import Parallel, delayed

from ._solve import merge_results, warn_unless_converged
from ._threads import Workers, blas_threads, most_threads
from ._trim import trim

# Neurons that are solved together where each has its own epsilon. The number does not depend on
# n_jobs, so neither do the results.
_NEURONS_PER_TASK = 128
# Where tasks have the cores that this process would have.
_LOCAL = LokyBackend, MultiprocessingBackend, ThreadingBackend


def solve_problems(
    problems,
    *,
    first=0,
    n_layers,
    solutions=None,
    prefix="",
    n_jobs=None,
    verbose=0,
    warn=True,
    **options,
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
        Tasks at a time: layers, or blocks of neurons where each has its own epsilon. On this
        machine, one at a time if that is faster.
    verbose : int, default=0
        From 1 on, a line per layer; from 2 on, the progress of each solve.
    warn : bool, default=True
        Whether to warn of layers that did not converge.
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
    sizes = [
        problem.n_multiplications / len(slices)
        for problem, slices in zip(problems, blocks, strict=True)
        for _ in slices
    ]
    n_jobs = _tasks_at_a_time(sizes, n_jobs, backend)
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
            result = merge_results(problem, parts)
            results.append(result)
            if warn:
                warn_unless_converged(problem, result, name)
            if verbose:
                print(_progress_line(name, problem, result), flush=True)
    return results


def _tasks_at_a_time(sizes, n_jobs, backend):
    """As many as asked for, or one if so they are done earlier, with all cores for each.

    Speed is taken to grow with the root of the threads that a task has, up to what it is worth.
    """
    n_jobs = min(effective_n_jobs(n_jobs), len(sizes))
    if n_jobs == 1 or not isinstance(backend, _LOCAL):
        return n_jobs
    available = Workers().n_threads

    def times(n_threads):
        return sizes / np.sqrt([min(most_threads(size), n_threads) for size in sizes])

    spread = times(max(available // n_jobs, 1))
    earliest = max(spread.max(), spread.sum() / n_jobs)
    return n_jobs if earliest < times(available).sum() else 1


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

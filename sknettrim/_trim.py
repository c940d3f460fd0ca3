"""One layer: the program, its reweighted rounds and the refit, all within the same constraints."""

from dataclasses import replace

import numpy as np

from ._refit import refit as refit_layer
from ._reweight import reweighted
from ._solve import solve_layer
from ._threads import most_threads, own_threads


def trim(
    problem,
    *,
    n_reweights=0,
    refit=False,
    tol=1e-3,
    start=None,
    return_solution=False,
    **options,
):
    """Prune the layer of a problem.

    Parameters
    ----------
    problem : LayerProblem
    n_reweights : int, default=0
        Rounds of the weighted program, the first with weights from the `original` of the problem,
        or where that is not known from the program itself, which is then solved before.
    refit : bool, default=False
        Whether to refit on the support that was found and spend the slack on fewer weights.
    tol, start, return_solution, **options
        As in :func:`solve_layer`.

    Returns
    -------
    result : LayerResult
        Objective, gap, price and `converged` are those of the last program solved; what is
        measured of the weights is measured after the refit.
    solution : Solution
        Of the first program that was solved, the one to start from at another epsilon. Only if
        `return_solution` is True.
    """
    with own_threads(most_threads(problem.n_multiplications)):
        result, solution = _solve_in_rounds(problem, n_reweights, tol=tol, start=start, **options)
        if refit:
            result = refit_layer(problem, result, tol=tol)
    if problem.strict and not problem.per_neuron:
        # The penalties of ADMM are there partly of each neuron and partly of all. From one epsilon
        # to the next they stray, and cost more iterations than the start saves.
        solution = replace(solution, penalties=None)
    return (result, solution) if return_solution else result


def _solve_in_rounds(problem, n_reweights, *, start, **options):
    """The result of the last program, and the solution of the first."""
    program, rounds = problem, n_reweights
    if n_reweights > 0 and problem.original is not None and np.any(problem.original):
        program, rounds = reweighted(problem, problem.original), n_reweights - 1
    options.update(return_solution=True)
    result, first = solve_layer(program, start=start, **options)
    solution = first
    for _ in range(rounds):
        if not np.any(result.coef):
            break
        before = result
        result, solution = solve_layer(
            reweighted(problem, before.coef), start=replace(solution, n_iter=0), **options
        )
        result = replace(
            result, n_iter=before.n_iter + result.n_iter, seconds=before.seconds + result.seconds
        )
    return result, first

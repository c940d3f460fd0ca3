"""Solve the program of a layer, and certify what comes out of the solver."""

import inspect
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._columns import column_norms, norm, or_one
from ._presolve import reduce
from ._proof import OUT_OF_REACH
from ._threads import Workers
from .solvers import SOLVERS, Solution, zero

# Responses of a weight this small, relative to epsilon, are lost in the tolerance ...
NEGLIGIBLE = 1e-3
# ... and so are weights that make up such shares of the objective together, relative to tol: the
# larger one if the proof bears it, else the smaller one.
NEGLIGIBLE_SHARES = 0.1, 0.02
# Numbers beyond this, or the inverse, leave too little of the range of single precision.
LARGEST = 1e30
# What every solver takes; anything else it takes is an option of its own.
COMMON_ARGUMENTS = {"problem", "tol", "max_iter", "start", "verbose"}


@dataclass(frozen=True)
class LayerResult:
    """A pruned layer and the proof that comes with it, see :func:`trim_layer`.

    Gap, residual, violation and price are measured on the weights as returned, in float64. After
    a refit, residual and violation still are, but objective, bound, gap, price and `converged`
    belong to the solution of the convex program on whose support the weights were refitted; with
    reweighting, of its last round.

    Attributes
    ----------
    coef : ndarray of shape (n_inputs, n_neurons)
        The weights; most are exactly 0.0.
    intercept : ndarray of shape (n_neurons,)
        The intercepts.
    objective : float
        Weighted l1 norm of the weights.
    dual_objective : float
        A lower bound on the objective of any weights that satisfy the constraints.
    gap : float
        ``(objective - dual_objective) / objective``. Negative, if at all, by what the weights
        exceed the constraints.
    epsilon : float or ndarray of shape (n_neurons,)
        Radius of the ball around the original responses, absolute: one, or one per neuron.
    residual : float or ndarray of shape (n_neurons,)
        Distance from them that counts against `epsilon`: where the neuron was active, and with
        ``inactive="budget"`` also what leaks where it was not.
    violation : float
        Norm of what inactive neurons exceed their upper bound by, relative to that of the
        targets; 0 unless ``inactive="strict"``.
    price : float
        What residual and violation outside their bounds are worth in the objective, relative
        to it, at the prices of the dual solution: net of the room that a neuron leaves elsewhere.
    n_iter : int
        Iterations of the solver, in all rounds.
    converged : bool
        Whether gap, excess of the residual and violation are all within the tolerance, and the
        price and a negative gap, which are less certain, within a quarter and a half of it.
    seconds : float
        Time the solve and the refit took.
    """

    coef: np.ndarray
    intercept: np.ndarray
    objective: float
    dual_objective: float
    gap: float
    epsilon: float | np.ndarray
    residual: float | np.ndarray
    violation: float
    price: float
    n_iter: int
    converged: bool
    seconds: float


def solve_layer(
    problem,
    *,
    solver="admm",
    solver_options=None,
    tol=1e-3,
    max_iter=2000,
    start=None,
    verbose=0,
    return_solution=False,
):
    """Solve the program of a layer and certify the result.

    Parameters
    ----------
    problem : LayerProblem
        What to solve.
    solver, solver_options, tol, max_iter, verbose
        As in :func:`trim_layer`.
    start : Solution, default=None
        Where to begin: the solution of the layer at another epsilon, or :func:`as_start`.
    return_solution : bool, default=False
        Whether to return the solution as well.

    Returns
    -------
    result : LayerResult
        Without a warning if not converged: that is left to :func:`warn_unless_converged`.
    solution : Solution
        What the solver found, with the dual point, which is as large as the targets: the start
        for another epsilon. Only if `return_solution` is True.
    """
    begin = time.perf_counter()
    solve, options = SOLVERS[solver], solver_options or {}
    _check_options(solver, solve, options)
    _check_magnitude("inputs", problem.A)
    _check_magnitude("outputs", problem.Y)
    _check_magnitude("penalty weights", np.asarray(problem.penalty), "give some nearer to 1")
    options = {"tol": tol, "max_iter": max_iter, "verbose": verbose, **options}
    solution = _solve_reduced(solve, problem, start, options)
    coef, intercept, proof = _without_negligible(problem, solution, tol)
    result = LayerResult(
        coef=coef,
        intercept=intercept,
        objective=proof.objective,
        dual_objective=proof.dual_objective,
        gap=proof.gap,
        epsilon=problem.epsilon if problem.per_neuron else float(problem.epsilon),
        residual=proof.residual,
        violation=proof.violation,
        price=proof.price,
        n_iter=solution.n_iter,
        converged=proof.error() <= tol,
        seconds=time.perf_counter() - begin,
    )
    return (result, solution) if return_solution else result


def _solve_reduced(solve, problem, start, options):
    """Solve what is left of the program where no solver is needed for the rest."""
    reduction = reduce(problem)
    if not reduction.neurons.any():
        return reduction.expand(reduction.restrict(zero(problem)))
    start = None if start is None else reduction.restrict(replace(start, n_iter=0))
    return reduction.expand(solve(reduction.problem, start=start, **options))


def merge_results(problem, results):
    """The results of consecutive blocks of neurons as one result for the whole layer.

    Blocks are independent, as they are when each neuron has its own ball: objectives add up.

    Parameters
    ----------
    problem : LayerProblem
        The whole layer.
    results : list of LayerResult
        Of its blocks, in order.

    Returns
    -------
    result : LayerResult
    """
    if len(results) == 1:
        return results[0]

    def total(name):
        return sum(getattr(result, name) for result in results)

    objective, bound = total("objective"), total("dual_objective")
    scale = objective or bound or 1.0
    widths = np.cumsum([result.coef.shape[1] for result in results])[:-1]
    norms = [norm(part) for part in np.split(problem.Y, widths, axis=1)]
    leaks = [r.violation * (size or 1.0) for r, size in zip(results, norms, strict=True)]
    price = sum(r.price * (r.objective or r.dual_objective) for r in results)
    return LayerResult(
        coef=np.hstack([result.coef for result in results]),
        intercept=np.hstack([result.intercept for result in results]),
        objective=objective,
        dual_objective=bound,
        gap=(objective - bound) / scale,
        epsilon=np.hstack([result.epsilon for result in results]),
        residual=np.hstack([result.residual for result in results]),
        violation=float(np.linalg.norm(leaks) / (np.linalg.norm(norms) or 1.0)),
        price=price / scale,
        n_iter=max(result.n_iter for result in results),
        converged=all(result.converged for result in results),
        seconds=total("seconds"),
    )


def _without_negligible(problem, solution, tol):
    """Drop the smallest weights, and certify what is left; only as far as the proof bears it.

    Returns
    -------
    coef, intercept : ndarray
        In the precision of the layer.
    proof : Certificate
    """
    dtype = problem.Y.dtype
    coef, intercept = (part.astype(dtype, copy=False) for part in (solution.U, solution.c))
    dual = problem.dual_point(solution.Xi)
    size = np.abs(coef) * problem.penalty
    unnoticed = np.abs(coef) * column_norms(problem.A)[:, None] < NEGLIGIBLE * problem.epsilon
    for share in NEGLIGIBLE_SHARES:
        negligible = unnoticed & (size < _largest_of_share(size, share * tol))
        sparser = coef.copy()
        sparser[negligible] = 0
        proof = dual.certify(sparser, intercept)
        if proof.error() <= tol:
            return sparser, intercept, proof
    return coef, intercept, dual.certify(coef, intercept)


def _largest_of_share(size, share):
    """The size below which sizes add up to no more than this share of all."""
    size = np.sort(size[size > 0])
    total = np.cumsum(size)
    return size[np.searchsorted(total, min(share, 1) * total[-1])] if len(size) else 0.0


def _check_options(name, solve, options):
    common = sorted(set(options) & COMMON_ARGUMENTS)
    if common:
        raise ValueError(
            f"solver_options has {common}, which every solver is given: set tol, max_iter and "
            "verbose beside solver_options"
        )
    parameters = inspect.signature(solve).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    own = set(parameters) - COMMON_ARGUMENTS
    unknown = sorted(set(options) - own)
    if unknown:
        takes = f"takes {', '.join(sorted(own))}" if own else "takes none"
        raise ValueError(f"solver_options has {unknown}, but solver={name!r} {takes}")


def _check_magnitude(name, array, advice="scale the data before training"):
    largest = max(array.max(), -array.min())
    if largest > LARGEST or 0 < largest < 1 / LARGEST:
        raise ValueError(
            f"the largest of the layer's {name} has a magnitude of {largest:.0e}, beyond what "
            f"single precision can compute with: {advice}"
        )


def as_start(problem, result):
    """A result as a starting point, its dual guessed: at an optimum it is along the deviation."""
    D = problem.deviation(problem.responses(result.coef, result.intercept))
    slopes = np.max(np.abs(Workers().sums(problem.A, D)), axis=0)
    if not problem.per_neuron:
        slopes = np.max(slopes)
    return Solution(result.coef, result.intercept, D / or_one(slopes), 0)


def warn_unless_converged(problem, result, name="the layer"):
    """Where the result is used, not where it is solved: a worker's warnings stay with it."""
    if result.converged:
        return
    p, m = problem.shape
    # With a bound far above the objective, what is missing is not a matter of accuracy.
    advice = (
        "Raise tol; or max_iter, if that many iterations were used; or try solver='cvxpy'."
        if result.gap > -OUT_OF_REACH
        else f"Weights that satisfy them, if there are any, are {-result.gap:.0e} times as large: "
        "a larger epsilon is needed, or targets that are closer to what weights give."
    )
    warnings.warn(
        f"{name} ({p} x {m}) did not converge in {result.n_iter} iterations: "
        f"gap {result.gap:.1e}, residual {problem.excess(np.asarray(result.residual)):+.1e} "
        f"relative to epsilon, violation {result.violation:.1e}, price {result.price:.1e}. "
        f"Its constraints hold to that accuracy only. {advice}",
        ConvergenceWarning,
        stacklevel=3,
    )

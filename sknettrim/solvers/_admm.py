"""The default solver: ADMM in matrix products over all neurons at once, finished by Newton steps.

ADMM identifies the support of well conditioned layers in a few dozen iterations, in single
precision as long as its digits last, then in double. Layers are finished by
an interior-point method on what matters of them, where that is cheaper. Where convergence is too
slow to arrive, a Newton method takes over from the point reached. Neurons that have a ball each
do not wait for each other: those that are proven are left alone.
"""

from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

import numpy as np

from ._base import Solution, zero
from ._compress import compress
from ._finish import MOST, finish
from ._iterate import Iterate
from ._newton import refine
from ._price import worthwhile
from ._progress import Progress

CHECK_EVERY = 5
BALANCE_EVERY = 10
# Balanced ever more rarely, as iterations grow by this factor.
BALANCE_GROWTH = 1.3
# Iterations after which what matters of a layer is known well enough: from nothing, or from
# weights alone, and from the solution at another epsilon.
FINISH_AFTER = 40, 20
# Iterations after which neurons that are proven are left alone, and growth until the next time.
APART_AFTER = 40
APART_GROWTH = 1.5
# So few neurons are left to Newton's method.
FEW_NEURONS = 16
# Single precision is asked for no more than this.
SINGLE_PRECISION_TOL = 1e-4


def solve(problem, *, tol, max_iter, start=None, verbose=0):
    """Solve a :class:`~sknettrim._problem.LayerProblem`.

    Parameters
    ----------
    problem : LayerProblem
        What to solve.
    tol : float
        Relative gap, excess and violation to reach.
    max_iter : int
        Most iterations of ADMM and of the Newton method together.
    start : Solution, default=None
        Where to begin.
    verbose : int, default=0
        Progress is printed above 1.

    Returns
    -------
    Solution
        The first point that the problem certifies to `tol`, or the last one reached.
    """
    if start is not None and problem.certify(start.U, start.c, start.Xi).error() <= tol:
        return replace(start, n_iter=0)
    compression = compress(problem)
    if compression is None:
        return _solve(problem, tol, max_iter, start, verbose)
    start = None if start is None else compression.restrict(start)
    compressed = _solve(compression.problem, tol, max_iter, start, verbose)
    reached, left = compression.expand(compressed), max_iter - compressed.n_iter
    if left == 0 or problem.certify(reached.U, reached.c, reached.Xi).error() <= tol:
        return reached
    # Digits were lost on the way. Penalties depend on the scale of the rows.
    rest = _solve(problem, tol, left, replace(reached, penalties=None, warm=False), verbose)
    return replace(rest, n_iter=compressed.n_iter + rest.n_iter, penalties=None, warm=False)


def _solve(problem, tol, max_iter, start, verbose):
    reached = start
    for dtype in _precisions(start):
        aim = max(tol, SINGLE_PRECISION_TOL) if dtype == np.float32 else tol
        done = 0 if reached is start else reached.n_iter
        # Neither is kept: the next iterate takes twice the memory.
        iterate, reached = Iterate(problem, reached, dtype), None
        outcome, reached, rest = _run(iterate, aim, done, max_iter, verbose, apart=aim == tol)
        del iterate
        if outcome is Outcome.MOSTLY_PROVEN:
            return _solve_rest(problem, reached, rest, tol, max_iter, verbose)
        if outcome is Outcome.DIVERGED:
            # Or scales are too far apart for this precision; the Newton method has no such limit.
            reached = replace(start or zero(problem), n_iter=reached.n_iter)
            break
        if (outcome is Outcome.PROVEN and aim == tol) or reached.n_iter == max_iter:
            return reached
        if outcome is Outcome.SLOW:
            break
    return _refine(problem, tol, max_iter, reached, verbose)


def _refine(problem, tol, max_iter, start, verbose):
    return refine(problem, start, tol=tol, max_iter=max_iter - start.n_iter, verbose=verbose)


def _solve_rest(problem, reached, rest, tol, max_iter, verbose):
    """Solve for some neurons that have a ball each, on their own, from the point reached."""
    part = problem.columns(rest)
    start = replace(reached.columns(rest), n_iter=0)
    solve = _solve if np.count_nonzero(rest) > FEW_NEURONS else _refine
    found = solve(part, tol, max_iter - reached.n_iter, start, verbose)
    reached.U[:, rest], reached.c[rest], reached.Xi[:, rest] = found.U, found.c, found.Xi
    return replace(reached, n_iter=reached.n_iter + found.n_iter)


def _precisions(start):
    """Single precision first, unless the start, near a solution, was finished in double."""
    finished_double = start is not None and start.warm and start.Xi.dtype == np.float64
    return (np.float64,) if finished_double else (np.float32, np.float64)


class Outcome(Enum):
    """Why ADMM ended."""

    PROVEN = auto()
    MOSTLY_PROVEN = auto()
    SLOW = auto()
    DIVERGED = auto()
    OUT_OF_DIGITS = auto()
    OUT_OF_ITERATIONS = auto()


class End(NamedTuple):
    """Of a run of ADMM: why and where, and for which neurons nothing is proven, if for most."""

    outcome: Outcome
    reached: Solution
    rest: np.ndarray | None = None


def _run(iterate, tol, n_iter, max_iter, verbose, apart):
    """Iterate until there is a reason not to.

    With `apart`, also until most neurons are proven, if each has its own ball.
    """
    progress = Progress(tol, iterate.problem.strict, iterate.S.dtype)
    apart = apart and iterate.problem.per_neuron
    balance_at, finish_at = n_iter + BALANCE_EVERY, n_iter + FINISH_AFTER[iterate.warm]
    apart_at = n_iter + APART_AFTER if apart else np.inf
    while n_iter < max_iter:
        steps = min(CHECK_EVERY, max_iter - n_iter)
        progress.add(steps, iterate.advance(steps))
        n_iter += steps
        if progress.diverged:
            return End(Outcome.DIVERGED, iterate.solution(n_iter))
        if progress.promising:
            solution, proven = iterate.proven(n_iter)
            if proven <= tol:
                return End(Outcome.PROVEN, solution)
            # As large as the responses.
            del solution
            if progress.note_failure(proven):
                return End(Outcome.OUT_OF_DIGITS, iterate.solution(n_iter))
        if n_iter >= apart_at:
            apart_at = APART_GROWTH * n_iter
            end = _mostly_proven(iterate.problem, iterate.mended(n_iter), tol)
            if end is not None:
                return end
        if finish_at <= n_iter < max_iter:
            finish_at += BALANCE_EVERY
            if worthwhile(iterate, progress.left(iterate.A.shape, iterate.warm)):
                iterate.make_room()
                finished, lacks_digits = finish(iterate, tol, n_iter, max_iter, verbose)
                if finished is not None:
                    end = _mostly_proven(iterate.problem, finished, tol) if apart else None
                    return end or End(Outcome.PROVEN, finished)
                if lacks_digits and iterate.S.dtype == np.float32:
                    return End(Outcome.OUT_OF_DIGITS, iterate.solution(n_iter))
                # It fails where too little is known of the layer.
                finish_at = 2 * n_iter
        if progress.hopeless(n_iter):
            # Near the goal it is the last digits that are slow.
            outcome = Outcome.OUT_OF_DIGITS if progress.best <= tol else Outcome.SLOW
            # Slow may be some neurons only.
            end = _mostly_proven(iterate.problem, iterate.mended(n_iter), tol) if apart else None
            return end or End(outcome, iterate.solution(n_iter))
        if n_iter >= balance_at:
            if verbose > 1:
                print(f"  admm {n_iter:4d}: largest relative residual {progress.error:8.2e}")
            iterate.balance()
            balance_at = max(n_iter + BALANCE_EVERY, int(BALANCE_GROWTH * n_iter))
    return End(Outcome.OUT_OF_ITERATIONS, iterate.solution(n_iter))


def _mostly_proven(problem, solution, tol):
    """The end of a run, if few enough neurons are left over."""
    dual = problem.dual_point(solution.Xi)
    rest = dual.unproven(solution.U, solution.c, tol)
    if not rest.any():
        return End(Outcome.PROVEN, solution)
    return End(Outcome.MOSTLY_PROVEN, solution, rest) if rest.mean() <= MOST else None

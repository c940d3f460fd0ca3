"""The default solver: ADMM in matrix products over all neurons at once, finished by Newton steps.

ADMM identifies the support of well conditioned layers in a few dozen iterations, in single
precision as long as its digits last, then in double. Layers are finished by
an interior-point method on what matters of them, where that is cheaper. Where convergence is too
slow to arrive, a Newton method takes over from the point reached. Neurons that have a ball each
do not wait for each other: those that are proven are left alone.
"""

from dataclasses import dataclass, replace
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
# So few neurons are left to Newton's method, if a Hessian takes no more multiplications than this.
FEW_NEURONS, SMALL_HESSIAN = 16, 3e8
# Single precision is asked for no more than this.
SINGLE_PRECISION_TOL = 1e-4


def solve(problem, *, tol, max_iter, start=None, verbose=0):
    """Solve a :class:`~sknettrim._problem.LayerProblem`.

    Parameters
    ----------
    problem : LayerProblem
        What to solve.
    tol : float
        Relative gap, excess, violation and price to reach.
    max_iter : int
        Most iterations of ADMM and steps of the interior-point and the Newton method together.
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
    reached, spent = start, Spent()
    for dtype in _precisions(start):
        aim = max(tol, SINGLE_PRECISION_TOL) if dtype == np.float32 else tol
        # Not kept beside it: the next iterate takes twice the memory.
        iterate, reached = Iterate(problem, reached, dtype), None
        run = _Run(iterate, aim, spent, max_iter, verbose, apart=aim == tol)
        outcome, reached, rest = run.go()
        del iterate, run
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
    n_rows, n_inputs = part.A.shape
    small = np.count_nonzero(rest) <= FEW_NEURONS and n_rows * n_inputs**2 <= SMALL_HESSIAN
    solve = _refine if small else _solve
    found = solve(part, tol, max_iter - reached.n_iter, start, verbose)
    reached.U[:, rest], reached.c[rest], reached.Xi[:, rest] = found.U, found.c, found.Xi
    return replace(reached, n_iter=reached.n_iter + found.n_iter)


def _precisions(start):
    """Single precision first, unless the start, near a solution, was finished in double."""
    finished_double = start is not None and start.warm and start.Xi.dtype == np.float64
    return (np.float64,) if finished_double else (np.float32, np.float64)


@dataclass
class Spent:
    """Iterations of ADMM in all precisions, and steps of the ends that failed."""

    iterations: int = 0
    steps: int = 0

    @property
    def total(self):
        """What counts as iterations of the solver."""
        return self.iterations + self.steps


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


class _Run:
    """ADMM until there is a reason to end.

    With `apart`, also until most neurons are proven, if each has its own ball.
    """

    def __init__(self, iterate, tol, spent, max_iter, verbose, apart):
        self.iterate, self.tol, self.spent = iterate, tol, spent
        self.max_iter, self.verbose = max_iter, verbose
        self.progress = Progress(tol, iterate.problem.strict, iterate.S.dtype)
        self.apart = apart and iterate.problem.per_neuron
        n_iter = spent.iterations
        self.balance_at = n_iter + BALANCE_EVERY
        self.finish_at = n_iter + FINISH_AFTER[iterate.warm]
        self.apart_at = n_iter + APART_AFTER

    def go(self):
        """Iterate until there is; returns the End."""
        checks = self._diverge, self._prove, self._set_apart, self._finish, self._give_up
        while self.spent.total < self.max_iter:
            self._advance()
            for check in checks:
                end = check()
                if end is not None:
                    return end
            self._balance()
        return self._end_here(Outcome.OUT_OF_ITERATIONS)

    def _end_here(self, outcome):
        return End(outcome, self.iterate.solution(self.spent.total))

    def _advance(self):
        n_iter = min(CHECK_EVERY, self.max_iter - self.spent.total)
        self.progress.add(n_iter, self.iterate.advance(n_iter))
        self.spent.iterations += n_iter

    def _diverge(self):
        return self._end_here(Outcome.DIVERGED) if self.progress.diverged else None

    def _prove(self):
        """Try a proof, where residuals promise one."""
        if not self.progress.promising:
            return None
        solution, proven = self.iterate.proven(self.spent.total)
        if proven <= self.tol:
            return End(Outcome.PROVEN, solution)
        # As large as the responses.
        del solution
        return self._end_here(Outcome.OUT_OF_DIGITS) if self.progress.note_failure(proven) else None

    def _set_apart(self):
        """Leave neurons that are proven alone, now and then."""
        if not self.apart or self.spent.iterations < self.apart_at:
            return None
        self.apart_at = APART_GROWTH * self.spent.iterations
        return self._mostly_proven(self.iterate.mended(self.spent.total))

    def _finish(self):
        """End by the interior-point method, where that is cheaper."""
        iterate, spent = self.iterate, self.spent
        if spent.iterations < self.finish_at or spent.total >= self.max_iter:
            return None
        self.finish_at += BALANCE_EVERY
        if not worthwhile(iterate, self.progress.left(iterate.A.shape, iterate.warm)):
            return None
        iterate.make_room()
        found = finish(iterate, self.tol, spent.total, self.max_iter, self.verbose)
        if found.solution is not None:
            end = self._mostly_proven(found.solution) if self.apart else None
            return end or End(Outcome.PROVEN, found.solution)
        spent.steps += found.n_iter - spent.total
        # It fails where too little is known of the layer.
        self.finish_at = 2 * spent.iterations
        lacks_digits = found.lacks_digits and iterate.S.dtype == np.float32
        return self._end_here(Outcome.OUT_OF_DIGITS) if lacks_digits else None

    def _give_up(self):
        if not self.progress.hopeless(self.spent.iterations):
            return None
        # Slow may be some neurons only.
        end = self._mostly_proven(self.iterate.mended(self.spent.total)) if self.apart else None
        # Near the goal it is the last digits that are slow.
        digits = self.progress.best <= self.tol
        return end or self._end_here(Outcome.OUT_OF_DIGITS if digits else Outcome.SLOW)

    def _mostly_proven(self, solution):
        """The end, if few enough neurons are left over."""
        dual = self.iterate.problem.dual_point(solution.Xi)
        rest = dual.unproven(solution.U, solution.c, self.tol)
        if not rest.any():
            return End(Outcome.PROVEN, solution)
        return End(Outcome.MOSTLY_PROVEN, solution, rest) if rest.mean() <= MOST else None

    def _balance(self):
        n_iter = self.spent.iterations
        if n_iter < self.balance_at:
            return
        if self.verbose > 1:
            print(f"  admm {n_iter:4d}: largest relative residual {self.progress.error:8.2e}")
        self.iterate.balance()
        self.balance_at = max(n_iter + BALANCE_EVERY, int(BALANCE_GROWTH * n_iter))

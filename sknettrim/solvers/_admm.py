"""The default solver: ADMM in matrix products over all neurons at once, finished by Newton steps.

Two splittings, ``S = A U + 1 c'`` and ``Z = U``, with one penalty each, rho_S and rho_Z. The
matrix to invert depends on their ratio alone, and on neither targets nor neurons: one inverse
serves the whole layer, and an iteration is little more than the products A U and A' Xi: what is
elementwise is done in blocks of rows that stay in a core's cache.

ADMM identifies the support of well conditioned layers in a few dozen iterations, in single
precision as long as its digits last, then in double. Strict layers with many rows are finished by
an interior-point method on what matters of them, where that is cheaper. Where convergence is too
slow to arrive, a Newton method takes over from the point reached.
"""

from dataclasses import replace
from enum import Enum, auto
from functools import partial

import numpy as np
from scipy import sparse

from .._problem import centred, column_norms
from .._threads import Workers
from ._base import Solution, spread, zero
from ._compress import compress
from ._feasible import mended
from ._finish import finish
from ._newton import refine
from ._price import worthwhile
from ._progress import Progress, usual_iterations
from ._shifted_inverse import ShiftedInverse

RELAXATION = 1.8
CHECK_EVERY = 5
BALANCE_EVERY = 10
# Balanced ever more rarely, as iterations grow by this factor.
BALANCE_GROWTH = 1.3
# Of rho_S, times the share of the multiplier that a deviation of norm epsilon would have.
FIRST_PENALTY = 3.0
# Of epsilon relative to the targets, for that guess: below, deviations are more like noise.
LEAST_RADIUS = 0.01
# Of rho_Z to rho_S, with columns scaled to a norm of about 1.
FIRST_RATIO = 0.5
# The proof forgives what is missing of dual feasibility more than what is missing of the
# constraints on the responses, and less than what is missing of Z = U.
RESPONSE_BIAS = 6.0
WEIGHT_BIAS = 0.5
# Iterations after which what matters of a strict layer is known well enough: from nothing, and
# from a start, such as the solution at another epsilon; and relative to all that it usually takes.
FINISH_AFTER = 40, 20
FINISH_SHARE = 0.25
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
    rest = _solve(problem, tol, left, replace(reached, penalties=None), verbose)
    return replace(rest, n_iter=compressed.n_iter + rest.n_iter, penalties=None)


def _solve(problem, tol, max_iter, start, verbose):
    reached = start
    for dtype in _precisions(problem, start):
        aim = max(tol, SINGLE_PRECISION_TOL) if dtype == np.float32 else tol
        done = 0 if reached is start else reached.n_iter
        # The iterate is not kept: the next one takes twice the memory.
        outcome, reached = _run(_Iterate(problem, reached, dtype), aim, done, max_iter, verbose)
        if outcome is Outcome.DIVERGED:
            # Or scales are too far apart for this precision; the Newton method has no such limit.
            reached = replace(start or zero(problem), n_iter=reached.n_iter)
            break
        if (outcome is Outcome.PROVEN and aim == tol) or reached.n_iter == max_iter:
            return reached
        if outcome is Outcome.SLOW:
            break
    return refine(problem, reached, tol=tol, max_iter=max_iter - reached.n_iter, verbose=verbose)


def _precisions(problem, start):
    """Single precision first, unless it will not do.

    More inputs than rows cancel too many digits for it; and a start that this solver had to
    finish in double precision is near a solution that wants it as well.
    """
    n_inputs, _ = problem.shape
    finished_double = start is not None and start.penalties and start.Xi.dtype == np.float64
    if len(problem.active) <= n_inputs or finished_double:
        return (np.float64,)
    return (np.float32, np.float64)


class Outcome(Enum):
    """Why ADMM ended."""

    PROVEN = auto()
    SLOW = auto()
    DIVERGED = auto()
    OUT_OF_DIGITS = auto()
    OUT_OF_ITERATIONS = auto()


def _run(iterate, tol, n_iter, max_iter, verbose):
    """Iterate until there is a reason not to; returns it, and the point reached."""
    progress = Progress(tol, iterate.problem.strict)
    balance_at, finish_at = n_iter + BALANCE_EVERY, n_iter + _finish_after(iterate)
    while n_iter < max_iter:
        steps = min(CHECK_EVERY, max_iter - n_iter)
        progress.add(steps, iterate.advance(steps))
        n_iter += steps
        if progress.diverged:
            return Outcome.DIVERGED, iterate.solution(n_iter)
        if progress.promising:
            solution, proven = iterate.proven(n_iter)
            if proven <= tol:
                return Outcome.PROVEN, solution
            if progress.note_failure(proven):
                return Outcome.OUT_OF_DIGITS, iterate.solution(n_iter)
        if finish_at <= n_iter < max_iter:
            finish_at += BALANCE_EVERY
            if worthwhile(iterate, progress.left(iterate.A.shape)):
                finished = finish(iterate, tol, n_iter, max_iter, verbose)
                if finished is not None:
                    return Outcome.PROVEN, finished
                finish_at = np.inf
        if progress.hopeless(n_iter):
            # Near the goal it is the last digits that are slow.
            outcome = Outcome.OUT_OF_DIGITS if progress.best <= tol else Outcome.SLOW
            return outcome, iterate.solution(n_iter)
        if n_iter >= balance_at:
            if verbose > 1:
                print(f"  admm {n_iter:4d}: largest relative residual {progress.error:8.2e}")
            iterate.balance()
            balance_at = max(n_iter + BALANCE_EVERY, int(BALANCE_GROWTH * n_iter))
    return Outcome.OUT_OF_ITERATIONS, iterate.solution(n_iter)


def _finish_after(iterate):
    first, warm = FINISH_AFTER
    return warm if iterate.warm else max(first, FINISH_SHARE * usual_iterations(iterate.A.shape))


class _Iterate:
    """State of ADMM in scaled units: (A - mean) / column_scale, Y / target_scale.

    Centred inputs also let the intercept move on its own.
    """

    def __init__(self, problem, start, dtype):
        self.problem = problem
        p, _ = problem.shape
        A, self.mean = centred(problem.A, dtype, not problem.penalize_intercept)
        self.column_scale = _column_scale(A)
        self.A = _scale_columns(A, 1 / self.column_scale)
        target = problem.target
        self.target_scale = max(_root_mean_square(target), np.finfo(np.float64).tiny)
        self.target = np.divide(target, self.target_scale, dtype=dtype, casting="same_kind")
        self.epsilon = (problem.epsilon / self.target_scale).astype(dtype)
        penalty = np.ones((p, 1)) if problem.penalty_weights is None else problem.penalty_weights
        intercept = np.full((1, penalty.shape[1]), float(problem.penalize_intercept))
        penalty = np.vstack([penalty, intercept])
        self.penalty = (penalty / self.column_scale[:, None]).astype(dtype)
        self.workers = Workers()
        self.inverse = ShiftedInverse(self.A, self.workers)
        self._start(start)
        self.rows = self.workers.shares(*self.S.shape)
        self.inputs = self.workers.shares(*self.Z.shape)
        self.X = np.empty_like(self.Z)

    def _start(self, start):
        dtype, self.warm = self.target.dtype, start is not None
        if start is None or start.penalties is None:
            self.rho_S = self._typical_penalty()
            self.rho_Z = FIRST_RATIO * self.rho_S
        else:
            self.rho_S, self.rho_Z = start.penalties
        self.rho_Z = self.inverse.shift(self.rho_Z / self.rho_S) * self.rho_S
        if start is None:
            self.S = self.target.copy()
            self.Z = np.zeros((self.A.shape[1], self.S.shape[1]), dtype=dtype)
            self.a, self.b = np.zeros_like(self.S), np.zeros_like(self.Z)
            return
        weights = np.vstack([start.U, start.c + self.mean @ start.U])
        weights *= self.column_scale[:, None] / self.target_scale
        self.Z = weights.astype(dtype)
        self.a = (start.Xi / self.rho_S).astype(dtype)
        self.b = -self.workers.sums(self.A, self.a) * dtype.type(self.rho_S / self.rho_Z)
        self.S = self.workers.products(self.A, self.Z)
        outside = self.S - self.target
        outside *= self.problem.active | (outside > 0)
        charged = self.problem.charged(outside)
        self.S -= outside - self._inside(self.problem.norm(charged)) * charged

    def _typical_penalty(self):
        """A guess of rho_S: the multiplier of a deviation of norm epsilon, were it all alike."""
        deviation = spread(self.target, self.problem.active)
        correlation = np.abs(self.workers.sums(self.A, deviation))[:-1]
        first = (correlation / self.penalty[:-1]).max(axis=0)
        radius = np.maximum(self.epsilon / self.problem.norm(self.target), LEAST_RADIUS)
        typical = np.median((first * radius)[first > 0]) if np.any(first > 0) else 0
        return FIRST_PENALTY / float(typical) if typical > 0 else 1.0

    def advance(self, n_iter):
        """Do so many iterations; returns the largest relative residual of the last."""
        with self.workers.at_work():
            for _ in range(n_iter - 1):
                self._step()
            return self._step(measure=True)

    def _step(self, measure=False):
        right = sum(self.workers.map(self._gradient, self.rows))
        right += self.inverse.value * (self.Z - self.b)
        old_Z = self.Z.copy() if measure else None
        if self.inverse.wide:
            self.inverse.multiply(right, self.X)
        self.workers.map(partial(self._update_weights, right), self.inputs)

        self.before = (self.S.copy(), np.empty_like(self.S)) if measure else None
        squares = sum(self.workers.map(self._respond, self.rows))
        inside = self._inside(np.sqrt(squares))
        squares = sum(self.workers.map(partial(self._project, inside), self.rows))
        self.before = None
        if not measure:
            return None
        self.residuals_S = _ratios(*np.sqrt(squares))
        X = self.X / RELAXATION
        pairs = (X - self.Z, self.Z, self.Z - old_Z, self.b)
        self.residuals_Z = _ratios(*(np.linalg.norm(array) for array in pairs))
        return max(*self.residuals_S, *self.residuals_Z)

    def _gradient(self, blocks):
        """A'(S - a) over some rows."""
        total = 0
        for rows in blocks:
            total = total + self.A[rows].T @ (self.S[rows] - self.a[rows])
        return total

    def _update_weights(self, right, blocks):
        """X from the right hand side, and Z, b by soft thresholding. Leaves X over-relaxed."""
        for inputs in blocks:
            X, Z, b = self.X[inputs], self.Z[inputs], self.b[inputs]
            if not self.inverse.wide:
                np.matmul(self.inverse.matrix[inputs], right, out=X)
            X *= RELAXATION
            Z *= 1 - RELAXATION
            Z += X
            Z += b
            limit = self.penalty[inputs] / self.rho_Z
            np.clip(Z, -limit, limit, out=b)
            Z -= b

    def _respond(self, blocks):
        """S as it comes from A X, and a, its distance from the target; what the ball measures."""
        squares = 0.0
        for rows in blocks:
            S, a = self.S[rows], self.a[rows]
            S *= 1 - RELAXATION
            S += a
            AX = self.A[rows] @ self.X
            S += AX
            if self.before is not None:
                self.before[1][rows] = AX
            np.subtract(S, self.target[rows], out=a)
            active = self.problem.active[rows]
            # Products with masks are fast, and a mask takes a quarter of the memory of bounds.
            a *= active | (a > 0)
            charged = a * active if self.problem.strict else a
            squares = squares + _square(charged, self.problem.per_neuron)
        return squares

    def _inside(self, radius):
        """Share of a deviation of norm `radius` that is within the ball."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(radius > self.epsilon, self.epsilon / radius, 1.0)
        return share.astype(self.S.dtype)

    def _project(self, inside, blocks):
        """S onto the constraint set, and a to what was taken off.

        Returns the squares of what :meth:`_step` measures, if it does.
        """
        squares = np.zeros(4)
        for rows in blocks:
            S, a = self.S[rows], self.a[rows]
            if self.problem.strict:
                a *= 1 - inside * self.problem.active[rows]
            else:
                a *= 1 - inside
            S -= a
            if self.before is not None:
                old_S, AX = self.before[0][rows], self.before[1][rows]
                # A X came multiplied by the relaxation, like X.
                pairs = (AX / RELAXATION - S, S, S - old_S, a)
                squares += [_square(array, per_column=False) for array in pairs]
        return squares

    def balance(self):
        """Move each rho towards equal primal and dual residuals of its splitting.

        The inverse has to follow only where the ratio of the two changes.
        """
        factor_S, factor_Z = (
            np.clip(np.sqrt(bias * primal / dual), 0.2, 5.0) if primal > 0 and dual > 0 else 1.0
            for bias, (primal, dual) in (
                (RESPONSE_BIAS, self.residuals_S),
                (WEIGHT_BIAS, self.residuals_Z),
            )
        )
        if abs(np.log(factor_Z / factor_S)) < 0.3:
            factor_S = factor_Z = np.sqrt(factor_S * factor_Z)
        else:
            ratio = self.inverse.shift(self.rho_Z * factor_Z / (self.rho_S * factor_S))
            factor_Z = ratio * self.rho_S * factor_S / self.rho_Z
        self.rho_S *= factor_S
        self.rho_Z *= factor_Z
        self.a /= self.a.dtype.type(factor_S)
        self.b /= self.b.dtype.type(factor_Z)

    def proven(self, n_iter):
        """The point reached, as feasible as it can be made, and the error that is certified."""
        solution = self.solution(n_iter)
        if not self.problem.strict:
            solution = mended(self, solution)
        error = self.problem.certify(solution.U, solution.c, solution.Xi).error()
        return solution, error

    def solution(self, n_iter):
        """The sparse copy of the weights, and the dual point, in the units of the problem."""
        return self.in_units(self.Z, self.a * self.a.dtype.type(self.rho_S), n_iter)

    def in_units(self, weights, Xi, n_iter):
        """Scaled weights and a dual point as a solution in the units of the problem."""
        weights = weights * (self.target_scale / self.column_scale[:, None])
        U, c = weights[:-1], weights[-1]
        return Solution(U, c - self.mean @ U, Xi, n_iter, (self.rho_S, self.rho_Z))


def _square(array, per_column):
    if per_column:
        return np.einsum("ij,ij->j", array, array)
    return np.dot(array.ravel(), array.ravel())


def _root_mean_square(array):
    return np.linalg.norm(array) / np.sqrt(array.size)


def _ratios(primal, primal_scale, dual, dual_scale):
    """Relative primal and dual residuals."""
    return (
        primal / primal_scale if primal_scale > 0 else 0.0,
        dual / dual_scale if dual_scale > 0 else 0.0,
    )


def _column_scale(A):
    """Halfway, in the geometric mean, between the columns' norms and one scale for all.

    The intercept, last, counts for a third, so that it moves freely.
    """
    norms = column_norms(A)
    norms[norms == 0] = 1.0
    scale = np.sqrt(norms * np.median(norms))
    scale[-1] = norms[-1] / 3.0
    return scale


def _scale_columns(A, scale):
    if sparse.issparse(A):
        return A.multiply(scale).astype(A.dtype).tocsr()
    A *= scale.astype(A.dtype)
    return A

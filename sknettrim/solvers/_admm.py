"""The default solver: ADMM in matrix products over all neurons at once, finished by Newton steps.

Two splittings, ``S = A U + 1 c'`` and ``Z = U``, with one penalty each, rho_S and rho_Z. The
matrix to invert depends on their ratio alone, and on neither targets nor neurons: one inverse
serves the whole layer, and an iteration is little more than the products A U and A' Xi.

ADMM identifies the support of well conditioned layers in a few dozen iterations. Where its
convergence is too slow to arrive, a Newton method takes over from the point reached.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from sklearn.utils.extmath import safe_sparse_dot

from .._problem import column_norms, stack_intercept
from ._base import Solution, zero
from ._newton import refine

RELAXATION = 1.7
CHECK_EVERY = 10
BALANCE_EVERY = 20
# The first iterations find the scale of rho; their rate says nothing.
WARM_UP = 100
# ADMM is left when its rate of convergence promises more iterations than this.
PATIENCE = 500
# Below this tolerance single precision does not pay.
SINGLE_PRECISION_TOL = 1e-5


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
        return start
    iterate = _Iterate(problem, start, _working_type(problem, tol))
    history = []
    goal = tol
    for iteration in range(1, max_iter + 1):
        last = iteration == max_iter
        checking = iteration % CHECK_EVERY == 0 or last
        error = iterate.step(measure=checking)
        if not checking:
            continue
        if not np.isfinite(error):
            # Scales too far apart for this precision; the Newton method has no such limit.
            break
        if error <= 2 * goal or last:
            solution = iterate.solution(iteration)
            proven = problem.certify(solution.U, solution.c, solution.Xi).error()
            if last or proven <= tol:
                return solution
            goal = min(tol, error * tol / proven)
        if iteration % BALANCE_EVERY == 0:
            history.append(error)
            if verbose > 1:
                print(f"  admm {iteration:4d}: largest relative residual {error:8.2e}")
            if iteration >= WARM_UP and _iterations_to_go(history, goal) > PATIENCE:
                break
            iterate.balance()
    reached = iterate.solution(iteration)
    if not np.all(np.isfinite(reached.U)):
        reached = start or zero(problem)
    return refine(problem, reached, tol=tol, max_iter=max_iter - reached.n_iter, verbose=verbose)


def _working_type(problem, tol):
    """Single precision where it suffices; more inputs than rows cancel too many digits."""
    n_samples, n_inputs = problem.A.shape
    return np.float32 if tol >= SINGLE_PRECISION_TOL and n_samples > n_inputs else np.float64


def _iterations_to_go(history, goal):
    """Extrapolation of the residuals to `goal`, at the rate of the last few checks."""
    if history[-1] == 0:
        # A fixed point in this precision, that is not good enough.
        return np.inf
    window = min(4, len(history) - 1)
    rate = np.log(history[-1 - window] / history[-1]) / (window * BALANCE_EVERY)
    missing = np.log(history[-1] / goal)
    return 0.0 if missing <= 0 else missing / rate if rate > 0 else np.inf


class _Iterate:
    """State of ADMM in scaled units: A / column_scale, Y / target_scale."""

    def __init__(self, problem, start, dtype):
        self.problem = problem
        p, _ = problem.shape
        A = stack_intercept(problem.A, dtype)
        self.column_scale = _column_scale(A)
        self.A = _scale_columns(A, 1 / self.column_scale)
        target = problem.target.astype(np.float64)
        self.target_scale = max(np.sqrt(np.mean(target**2)), np.finfo(np.float64).tiny)
        self.target = (target / self.target_scale).astype(dtype)
        self.epsilon = (problem.epsilon / self.target_scale).astype(dtype)
        # Masks as numbers, for arithmetic without branches.
        self.on = problem.active.astype(dtype)
        self.lowest = np.where(problem.active, -np.inf, 0).astype(dtype)
        penalty = np.ones((p, 1)) if problem.penalty_weights is None else problem.penalty_weights
        intercept = np.full((1, penalty.shape[1]), float(problem.penalize_intercept))
        penalty = np.vstack([penalty, intercept])
        self.penalty = (penalty / self.column_scale[:, None]).astype(dtype)
        self.inverse = _ShiftedInverse(self.A)
        self._start(start)

    def _start(self, start):
        correlation = np.abs(safe_sparse_dot(self.A.T, self._centred_target()))[:-1]
        first = (correlation / self.penalty[:-1]).max(axis=0)
        # lambda at the solution is some multiple of the one at which a first weight appears.
        self.rho_S = 50 / float(np.median(first[first > 0])) if np.any(first > 0) else 1.0
        self.rho_Z = self.inverse.shift(0.1) * self.rho_S
        if start is None:
            self.S = self.target.copy()
            self.Z = np.zeros((self.A.shape[1], self.S.shape[1]), dtype=self.S.dtype)
            self.a, self.b = np.zeros_like(self.S), np.zeros_like(self.Z)
            return
        weights = np.vstack([start.U, start.c]) * self.column_scale[:, None] / self.target_scale
        self.Z = weights.astype(self.target.dtype)
        self.a = (start.Xi / self.rho_S).astype(self.target.dtype)
        self.b = -safe_sparse_dot(self.A.T, self.a) * (self.rho_S / self.rho_Z)
        S = safe_sparse_dot(self.A, self.Z)
        self.S = S - self._outside(S - self.target)

    def _centred_target(self):
        active = self.problem.active
        mean = self.target.sum(axis=0, where=active) / np.maximum(active.sum(axis=0), 1)
        return np.where(active, self.target - mean.astype(self.target.dtype), 0)

    def step(self, measure):
        """One iteration; returns the largest of four relative residuals if asked to measure."""
        right = safe_sparse_dot(self.A.T, self.S - self.a)
        right += self.inverse.value * (self.Z - self.b)
        X = self.inverse(right)
        AX = safe_sparse_dot(self.A, X)

        old_S, old_Z = self.S, self.Z
        T = _relaxed(AX, old_S, self.a)
        self.a = self._outside(T - self.target)
        self.S = T - self.a

        T = _relaxed(X, old_Z, self.b)
        limit = self.penalty / self.rho_Z
        self.b = np.clip(T, -limit, limit)
        self.Z = T - self.b
        if not measure:
            return None
        self.residuals_S = _relative(AX - self.S, self.S), _relative(self.S - old_S, self.a)
        self.residuals_Z = _relative(X - self.Z, self.Z), _relative(self.Z - old_Z, self.b)
        return max(*self.residuals_S, *self.residuals_Z)

    def _outside(self, D):
        """D minus its projection on the constraint set, where D is a response less its target."""
        np.maximum(D, self.lowest, out=D)
        charged = D * self.on if self.problem.strict else D
        radius = self.problem.norm(charged)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(radius > self.epsilon, self.epsilon / radius, 1.0)
        D -= share.astype(D.dtype) * charged
        return D

    def balance(self):
        """Move each rho towards equal primal and dual residuals of its splitting.

        The inverse has to follow only where the ratio of the two changes.
        """
        factor_S, factor_Z = (
            np.clip(np.sqrt(primal / dual), 0.2, 5.0) if primal > 0 and dual > 0 else 1.0
            for primal, dual in (self.residuals_S, self.residuals_Z)
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

    def solution(self, n_iter):
        """The sparse copy of the weights, and the dual point, in the units of the problem."""
        weights = self.Z.astype(np.float64) * self.target_scale / self.column_scale[:, None]
        return Solution(weights[:-1], weights[-1], self.rho_S * self.a.astype(np.float64), n_iter)


class _ShiftedInverse:
    """Multiplication by (A'A + shift I)^-1, through the smaller of the two Gram matrices."""

    def __init__(self, A):
        self.A = A
        self.wide = A.shape[0] < A.shape[1]
        gram = A @ A.T if self.wide else A.T @ A
        gram = gram.toarray() if sparse.issparse(gram) else gram
        self.gram = gram.astype(np.float64)
        self.smallest = 10 * np.finfo(A.dtype).eps * np.linalg.norm(self.gram)

    def shift(self, shift):
        """Set the shift, no smaller than the precision bears; returns what was set."""
        self.value = shift = max(shift, self.smallest)
        factor = cho_factor(self.gram + shift * np.eye(len(self.gram)))
        self.inverse = cho_solve(factor, np.eye(len(self.gram))).astype(self.A.dtype)
        return shift

    def __call__(self, right):
        if not self.wide:
            return self.inverse @ right
        # (A'A + k I)^-1 = (I - A'(A A' + k I)^-1 A) / k
        inner = self.inverse @ safe_sparse_dot(self.A, right)
        return (right - safe_sparse_dot(self.A.T, inner)) / self.A.dtype.type(self.value)


def _relaxed(new, old, multiplier):
    """Over-relaxation: beyond `new`, away from `old`; plus the scaled multiplier."""
    new = RELAXATION * new
    new += (1 - RELAXATION) * old
    new += multiplier
    return new


def _relative(difference, reference):
    scale = np.linalg.norm(reference)
    return np.linalg.norm(difference) / scale if scale != 0 else 0.0


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
        return (A @ sparse.diags_array(scale)).astype(A.dtype).tocsr()
    A *= scale.astype(A.dtype)
    return A

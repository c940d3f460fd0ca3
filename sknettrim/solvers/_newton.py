"""Working-set Newton method: slower per step than ADMM, indifferent to bad conditioning.

With ``alpha = 1 / lambda``, lambda the multiplier of the ball, the neurons separate into

    minimise over x = (u_j, c_j)   alpha * sum R |x| + 1/2 sum_i w_i h_i(a_i x - t_i)^2

where h_i is the identity on Omega and max(., 0) off it: least squares, one-sided where the
neuron was off, plus an l1 norm. Around it, two multipliers are adjusted until the layer program
holds: alpha, so that the ball is met, and (strict) those of ``S <= V``, by the method of
multipliers.
"""

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot

from .._problem import column_norms, stack_intercept
from ._base import Solution
from ._lasso import ROUNDING, OneSidedLasso, solve_spd, subgradient_error

# Weight of the inactive rows in the augmented Lagrangian, relative to the active ones.
STRICT_WEIGHT = 10.0
MAX_STRICT_WEIGHT = 1e6
# Subproblems are solved this much more accurately than the layer.
INNER_TOL = 0.1
MAX_PRICINGS = 30
# Rounds without a better solution after which none is expected.
STALLED = 15


def refine(problem, start, *, tol, max_iter=50, verbose=0):
    """Solve `problem` to `tol`, from a rough solution `start`; returns the best found."""
    state = _State(problem, start)
    best, best_error, best_at = start, np.inf, 0
    for iteration in range(1, max_iter + 1):
        slope = state.minimise(INNER_TOL * tol)
        solution = state.solution(start.n_iter + iteration)
        certificate = problem.certify(solution.U, solution.c, solution.Xi)
        if verbose:
            print(
                f"  newton {iteration:3d}: gap {certificate.gap:9.2e}  "
                f"excess {certificate.excess:9.2e}  violation {certificate.violation:8.2e}"
            )
        if certificate.error() < best_error:
            best, best_error, best_at = solution, certificate.error(), iteration
        if best_error <= tol or iteration - best_at >= STALLED:
            break
        state.update_multipliers(slope, tol)
    return best


class _State:
    """Weights of all neurons, with alpha and the multipliers that the layer program adjusts."""

    def __init__(self, problem, start):
        self.problem = problem
        A = stack_intercept(problem.A, np.float64)
        # Columns are gathered one working set after the other.
        self.A = A.tocsc() if sparse.issparse(A) else np.asfortranarray(A)
        p, m = problem.shape
        self.penalty = np.ones((p + 1, m))
        if problem.penalty_weights is not None:
            self.penalty[:p] = problem.penalty_weights
        self.penalty[p] = problem.penalize_intercept
        self.x = np.vstack([start.U, start.c]).astype(np.float64)
        self.target = problem.target.astype(np.float64)
        self.weight = np.where(problem.active, 1.0, STRICT_WEIGHT if problem.strict else 1.0)
        self.last_violation = np.inf
        self.alpha_bounds = 0.0, np.inf
        self._start_multipliers(start.Xi)

    def _start_multipliers(self, Xi):
        problem = self.problem
        scale = problem.norm(problem.charged(Xi))
        # Without a dual point: half of the alpha at which a neuron's first weight appears.
        centred = np.where(problem.active, self.target - _active_mean(problem), 0.0)
        first = np.abs(safe_sparse_dot(self.A.T, centred)[:-1]) / self.penalty[:-1]
        first = first.max(axis=0) if problem.per_neuron else first.max()
        with np.errstate(divide="ignore", invalid="ignore"):
            self.alpha = np.where(scale > 0, problem.epsilon / scale, first / 2)
        self.multiplier = np.where(problem.active, 0.0, np.maximum(Xi, 0.0) * self.alpha)
        if not problem.strict:
            self.multiplier[:] = 0.0

    # One subproblem per neuron ------------------------------------------------------------

    def minimise(self, tol):
        """Minimise over the weights at fixed multipliers; returns d(residual^2 / 2)/d(log alpha)."""
        problem = self.problem
        m = problem.shape[1]
        alpha = np.broadcast_to(self.alpha, m)
        limit = self.penalty * alpha
        tolerance = tol * alpha * self.penalty[:-1].max(axis=0)
        target = self.target - self.multiplier / self.weight
        rounding = ROUNDING * column_norms(self.A)[:, None]
        slope = np.zeros(m)
        for pricing in range(MAX_PRICINGS):
            self.S = safe_sparse_dot(self.A, self.x)
            force = self._force()
            gradient = safe_sparse_dot(self.A.T, force)
            error = subgradient_error(self.x, gradient, limit)
            reachable = np.maximum(tolerance, rounding * np.linalg.norm(force, axis=0))
            # The first round visits every neuron, for its slope.
            todo = np.flatnonzero((error > reachable).any(axis=0) | (pricing == 0))
            if len(todo) == 0:
                break
            for j in todo:
                J = _working_set(self.x[:, j], error[:, j], tolerance[j])
                columns = _gather(self.A, J)
                lasso = OneSidedLasso(
                    columns, target[:, j], self.weight[:, j], problem.active[:, j], limit[J, j]
                )
                x = lasso.minimise(self.x[J, j], 0.3 * tolerance[j])
                slope[j] = _slope(lasso, x, problem.strict)
                self.x[:, j] = 0.0
                self.x[J, j] = x
        return slope

    def _force(self):
        """w h(S - t) of every row and neuron: lambda^-1 times the dual point."""
        force = self.weight * (self.S - self.target) + self.multiplier
        np.maximum(force, 0.0, out=force, where=~self.problem.active)
        return force

    # The multipliers ----------------------------------------------------------------------

    def update_multipliers(self, slope, tol):
        """One step of the method of multipliers (strict), and of Newton's for alpha."""
        problem = self.problem
        deviation = problem.deviation(self.S)
        residual = problem.residual(deviation)
        if problem.strict:
            self.multiplier = np.where(problem.active, 0.0, self._force())
            self._adapt_weight(problem.violation(deviation), tol)
        new = self._next_alpha(residual, slope if problem.per_neuron else slope.sum())
        # The force, not the multiplier, is what changes with alpha: Xi = force / alpha.
        self.multiplier *= np.broadcast_to(new / self.alpha, problem.shape[1])
        self.alpha = new

    def _next_alpha(self, residual, slope):
        """Newton's step towards ``residual(alpha) = epsilon``, kept between the bounds found.

        The residual grows with alpha; while the support stays the same, its square is linear in
        alpha^2. The bounds widen a little each time, as the other multipliers move.
        """
        alpha, epsilon = self.alpha, self.problem.epsilon
        inside = residual <= epsilon
        lower = np.where(inside, alpha, 0.98 * self.alpha_bounds[0])
        upper = np.where(inside, 1.02 * self.alpha_bounds[1], alpha)
        self.alpha_bounds = lower, upper
        square = 1 + (epsilon**2 - residual**2) / np.maximum(slope, np.finfo(float).tiny)
        far = np.clip(square, 0.01, 100.0) != square
        new = alpha * np.sqrt(np.clip(square, 0.01, 100.0))
        bounded = (lower > 0) & np.isfinite(upper)
        bad = (new <= lower) | (new >= upper) | far
        with np.errstate(invalid="ignore"):
            return np.where(bounded & bad, np.sqrt(lower * upper), new)

    def _adapt_weight(self, violation, tol):
        """Heavier inactive rows converge in fewer rounds, until they cost digits."""
        if violation > max(0.1 * self.last_violation, 0.1 * tol):
            heavier = np.minimum(10 * self.weight, MAX_STRICT_WEIGHT)
            self.weight = np.where(self.problem.active, 1.0, heavier)
        self.last_violation = violation

    def solution(self, n_iter):
        return Solution(self.x[:-1].copy(), self.x[-1].copy(), self._force() / self.alpha, n_iter)


def _active_mean(problem):
    count = np.maximum(problem.active.sum(axis=0), 1)
    return np.where(problem.active, problem.Y, 0.0).sum(axis=0) / count


def _gather(A, J):
    return np.asfortranarray(A[:, J].toarray()) if sparse.issparse(A) else A[:, J]


def _working_set(x, error, tolerance):
    """The support, the intercept, and the worst of the other inputs, as many as the support."""
    support = x != 0
    support[-1] = True
    entering = np.flatnonzero(~support & (error > tolerance))
    room = max(20, support.sum())
    if len(entering) > room:
        entering = entering[np.argpartition(-error[entering], room)[:room]]
    support[entering] = True
    return np.flatnonzero(support)


def _slope(lasso, x, strict):
    """d(charged residual^2 / 2)/d(log alpha) on the present support."""
    P = np.flatnonzero((x != 0) | (lasso.limit == 0))
    s = lasso.B @ x
    change = solve_spd(lasso.hessian(s, P), -lasso.limit[P] * np.sign(x[P]))
    h = s - lasso.target
    charged = lasso.active if strict else lasso.active | (h > 0)
    return np.dot(h[charged], lasso.B[np.ix_(charged, P)] @ change)

"""Working-set Newton method: slower per step than ADMM, indifferent to bad conditioning.

With ``alpha = 1 / lambda``, lambda the multiplier of the ball, the neurons separate into

    minimise over x = (u_j, c_j)   alpha * sum R |x| + 1/2 sum_i w_i h_i(a_i x - t_i)^2

where h_i is the identity on Omega and max(., 0) off it: least squares, one-sided where the
neuron was off, plus an l1 norm. Around it, two multipliers are adjusted until the layer program
holds: alpha, so that the ball is met, and (strict) those of ``S <= V``, by the method of
multipliers.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import sparse
from scipy.linalg import lstsq
from sklearn.utils import gen_batches
from sklearn.utils.extmath import safe_sparse_dot

from .._columns import column_norms, gather
from .._intercept import centred, stacked, unstacked
from .._proof import OUT_OF_REACH
from .._threads import Workers
from ._base import Solution
from ._first_alpha import first_alpha
from ._lasso import OneSidedLasso, rounding, solve_spd, subgradient_error

# Weight of the inactive rows in the augmented Lagrangian, relative to the active ones.
STRICT_WEIGHT = 10.0
MAX_STRICT_WEIGHT = 1e4
# Subproblems are solved this much more accurately than the layer.
INNER_TOL = 0.1
# A ball this small, relative to the targets, is a point, and its alpha too small to compute with:
# then there is a multiplier for every response, and alpha is only a penalty.
EXACT = 1e-7
MAX_ROUNDS = 60
MAX_PRICINGS = 30
# Visits that do not halve the error of a neuron, after which it is at the limit of precision.
MAX_STALLS = 3
# Rounds without a better solution after which the dual point may be what is wrong.
POLISH_AFTER = 2
# Rounds without a better solution after which none is expected.
STALLED = 15
# Neurons at a time, for what takes several arrays of their responses.
BATCH = 8
# Multiplications in the Hessian of a neuron from which neurons are minimised by threads.
LARGE_NEURON = 2e7


def refine(problem, start, *, tol, max_iter, verbose=0):
    """Solve `problem` to `tol`, from a rough solution `start`; returns the best found."""
    state = _State(problem, start)
    best, best_error, best_at, iteration = start, np.inf, 0, 0
    for iteration in range(1, min(max_iter, MAX_ROUNDS) + 1):
        try:
            solution, slope = state.minimise(INNER_TOL * tol)
        except np.linalg.LinAlgError:
            # Multipliers beyond all bounds: what was found before is as good as it gets.
            break
        certificate = problem.certify(solution.U, solution.c, solution.Xi)
        if verbose > 1:
            print(
                f"  newton {iteration:3d}: gap {certificate.gap:9.2e}  "
                f"excess {certificate.excess:9.2e}  violation {certificate.violation:8.2e}  "
                f"price {certificate.price:8.2e}"
            )
        if _out_of_reach(problem, certificate, state.last_residual, tol):
            # As near as weights come, with the dual point that says so.
            best = solution
            break
        if certificate.error() < best_error:
            best, best_error, best_at = solution, certificate.error(), iteration
        if iteration - best_at == POLISH_AFTER:
            best, best_error = state.polished(best, best_error)
        if best_error <= tol or iteration - best_at >= STALLED:
            break
        state.update_multipliers(solution.Xi, slope, certificate, tol)
        # As large as the responses.
        del solution
    return replace(best, n_iter=start.n_iter + iteration)


def _out_of_reach(problem, certificate, last_residual, tol):
    """Whether the residual has settled, and what is missing would take enormous weights."""
    settled = np.all(certificate.residual >= 0.9 * last_residual)
    missed = max(certificate.excess, certificate.violation)
    # Intercepts have units of their own, those of the targets.
    largest = np.maximum(problem.Y.max(axis=0), -problem.Y.min(axis=0))
    intercepts = problem.penalize_intercept * largest.sum()
    reachable = OUT_OF_REACH * (certificate.objective + intercepts)
    return settled and missed > tol and certificate.dual_objective > reachable > 0


class _State:
    """Weights of all neurons, with alpha and the multipliers that the layer program adjusts."""

    def __init__(self, problem, start):
        self.problem, self.workers = problem, Workers()
        # Columns are gathered one working set after the other.
        A, self.mean = centred(problem.A, np.float64, not problem.penalize_intercept, order="F")
        self.A = A.tocsc() if sparse.issparse(A) else np.asfortranarray(A)
        self.norms = column_norms(self.A)
        self.norms[self.norms == 0] = 1.0
        p, m = problem.shape
        self.penalty = np.broadcast_to(problem.stacked_penalty(), (p + 1, m))
        self.x = stacked(start.U, start.c, self.mean).astype(np.float64)
        self.target = problem.target.astype(np.float64, copy=False)
        self.inactive_weight = STRICT_WEIGHT if problem.strict else 1.0
        self.last_violation = self.last_residual = np.inf
        self.alpha_bounds = 0.0, np.inf
        self.exact = np.broadcast_to(
            problem.epsilon <= EXACT * problem.norm(problem.Y), start.c.shape
        )
        # Linear layers and those with a budget have no bounds on single responses.
        self.bounded = problem.strict or np.any(self.exact)
        alpha, self.Xi_scale = first_alpha(self, start)
        self.Xi = start.Xi
        self.alpha = np.where(self.exact, alpha / (EXACT * 100), alpha)

    def in_batches(self, function):
        """The arrays that a function of some neurons returns, of all neurons side by side."""
        batches = list(gen_batches(len(self.exact), BATCH))
        with self.workers.at_work():
            parts = self.workers.map(function, batches)
        return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]

    # One subproblem per neuron ------------------------------------------------------------

    def minimise(self, tol):
        """Minimise over the weights at fixed multipliers.

        Returns
        -------
        solution : Solution
            With the dual point that goes with the multipliers.
        slope : ndarray of shape (n_neurons,)
            d(residual^2 / 2)/d(log alpha).
        """
        limit = self.penalty * self.alpha
        # A free intercept is missed by what that means for the inputs, in units of theirs.
        free = np.min(limit[:-1] * (self.norms[-1] / self.norms[:-1, None]), axis=0)
        tolerance = tol * np.where(limit > 0, limit, free)
        # Multipliers of single responses converge only as far as the responses are exact.
        tolerance = np.where(self.exact, 1e-3 * tolerance, tolerance)
        slope, stalls = np.zeros(limit.shape[1]), np.zeros(limit.shape[1])
        last = np.inf
        for pricing in range(MAX_PRICINGS):
            # Not beside those of the last round.
            S = None
            S = self.workers.products(self.A, self.x)
            worst, excess = self._subgradient_errors(S, limit, tolerance)
            stalls, last = np.where(worst > 0.5 * last, stalls + 1, 0), worst
            # The first round visits every neuron, for its slope.
            todo = np.flatnonzero((worst > 1) & (stalls < MAX_STALLS) | (pricing == 0))
            if len(todo) == 0:
                break
            visit = partial(self._minimise_neuron, limit, 0.3 * tolerance, excess)
            with self._threads_for_neurons():
                slope[todo] = self.workers.map(visit, todo)
            # As large as the weights.
            del excess, visit
        return self._solution(S), slope

    def _threads_for_neurons(self):
        """Threads, where a neuron keeps them busy: else they wait for their turn in Python."""
        n_rows, n_inputs = self.A.shape
        return self.workers.at_work() if n_rows * n_inputs**2 > LARGE_NEURON else nullcontext()

    def _subgradient_errors(self, S, limit, tolerance):
        """The worst error of each neuron, relative to what can be reached, and all beyond that."""
        gradient, lost = self._gradient(S)
        error = subgradient_error(self.x, gradient, limit)
        del gradient
        reachable = np.maximum(tolerance, self.norms[:, None] * lost)
        with np.errstate(over="ignore"):
            worst = np.max(error / np.maximum(reachable, np.finfo(float).tiny), axis=0)
        error -= reachable
        return worst, np.maximum(error, 0.0, out=error)

    def _minimise_neuron(self, limit, tol, excess, j):
        J = _working_set(self.x[:, j], excess[:, j])
        weight = self._weight(j)
        target = self.target[:, j] - self._multiplier([j])[:, 0] / weight
        active = self.problem.active[:, j]
        lasso = OneSidedLasso(gather(self.A, J), target, weight, active, limit[J, j])
        x = lasso.minimise(self.x[J, j], tol[J, j])
        self.x[:, j] = 0.0
        self.x[J, j] = x
        return _slope(lasso, x, self.problem.strict)

    def _gradient(self, S):
        """Of the loss, where the responses are S, and the rounding errors in it."""

        def over(some):
            force = self._force(S[:, some].copy(), some)
            lost = rounding(S[:, some], force, self._weight(some))
            return safe_sparse_dot(self.A.T, force), lost

        return self.in_batches(over)

    def _force(self, S, some):
        """w h(S - t) of some neurons, in place of S: lambda^-1 times the dual point."""
        active = self.problem.active[:, some]
        S -= self.target[:, some]
        np.multiply(S, self.inactive_weight, out=S, where=~active)
        S += self._multiplier(some)
        S *= active | (S > 0)
        return S

    def _weight(self, neurons):
        return np.where(self.problem.active[:, neurons], 1.0, self.inactive_weight)

    def _multiplier(self, some):
        """Of single responses, where these are bounded one by one: the force of the dual point."""
        if not self.bounded:
            return np.zeros((1, 1))
        active, Xi = self.problem.active[:, some], self.Xi[:, some]
        alone = ~active | self.exact[some] if self.problem.strict else self.exact[some]
        return np.where(alone & (active | (Xi > 0)), Xi * (self.alpha * self.Xi_scale)[some], 0.0)

    # The multipliers ----------------------------------------------------------------------

    def update_multipliers(self, Xi, slope, certificate, tol):
        """One step of the method of multipliers (strict), and of Newton's for alpha."""
        problem, residual = self.problem, certificate.residual
        if problem.strict and max(certificate.violation, certificate.price) > 0.1 * tol:
            self._adapt_weight(certificate.violation)
        new = self._next_alpha(residual, slope if problem.per_neuron else slope.sum())
        # As a penalty, alpha shrinks until each round leaves a tenth of the residual, and then
        # grows for the sake of the dual point, which it divides.
        slow = residual > 0.1 * self.last_residual
        penalty = self.alpha * np.where(residual <= problem.epsilon, 10.0, np.where(slow, 0.1, 1))
        self.alpha, self.last_residual = np.where(self.exact, penalty, new), residual
        self.Xi, self.Xi_scale = Xi, np.ones_like(self.Xi_scale)

    def _next_alpha(self, residual, slope):
        """Newton's step towards ``residual(alpha) = epsilon``, kept between the bounds found.

        The residual grows with alpha; while the support stays the same, its square is linear in
        alpha^2. As the other multipliers move, so may the solution: bounds that leave it no room
        are forgotten.
        """
        alpha, epsilon = self.alpha, self.problem.epsilon
        inside = residual <= epsilon
        lower = np.where(inside, alpha, self.alpha_bounds[0])
        upper = np.where(inside, self.alpha_bounds[1], alpha)
        tight = upper < 1.1 * lower
        lower = np.where(tight & ~inside, 0.0, lower)
        upper = np.where(tight & inside, np.inf, upper)
        self.alpha_bounds = lower, upper
        with np.errstate(over="ignore"):
            square = 1 + (epsilon**2 - residual**2) / np.maximum(slope, np.finfo(float).tiny)
        far = np.clip(square, 0.01, 100.0) != square
        new = alpha * np.sqrt(np.clip(square, 0.01, 100.0))
        bounded = (lower > 0) & np.isfinite(upper)
        bad = (new <= lower) | (new >= upper) | far
        with np.errstate(invalid="ignore"):
            return np.where(bounded & bad, np.sqrt(lower * upper), new)

    def _adapt_weight(self, violation):
        """Heavier inactive rows converge in fewer rounds, until they cost digits."""
        if violation > 0.1 * self.last_violation:
            self.inactive_weight = min(10 * self.inactive_weight, MAX_STRICT_WEIGHT)
        self.last_violation = violation

    def polished(self, solution, error):
        """The solution with a dual point that is stationary to the last digit, if that is better.

        Small differences between large responses leave rounding errors in it, which count where
        columns are scaled far apart. Taken is the nearest point, on the rows that carry it,
        with ``A' Xi = -R sign(U)`` on the support.
        """
        Xi = solution.Xi.copy()
        x = stacked(solution.U, solution.c, self.mean)
        for j in range(Xi.shape[1]):
            rows = np.flatnonzero(self.problem.active[:, j] | (Xi[:, j] > 0))
            support = np.flatnonzero((x[:, j] != 0) | (self.penalty[:, j] == 0))
            norms = self.norms[support]
            B = gather(self.A, support)[rows] / norms
            wanted = -self.penalty[support, j] * np.sign(x[support, j]) / norms
            # Twice: once to get there, once more for the digits.
            for _ in range(2):
                missing = wanted - B.T @ Xi[rows, j]
                Xi[rows, j] += lstsq(B.T, missing, lapack_driver="gelsy")[0]
        polished = replace(solution, Xi=Xi)
        its_error = self.problem.certify(polished.U, polished.c, Xi).error()
        return (polished, its_error) if its_error < error else (solution, error)

    def _solution(self, S):
        """The point reached, with the dual point in place of its responses."""
        U, c = unstacked(self.x.copy(), self.mean)
        for some in gen_batches(S.shape[1], BATCH):
            self._force(S[:, some], some)
        S /= self.alpha
        return Solution(U, c, S, 0)


def _working_set(x, excess):
    """The support, the intercept, and the worst of the other inputs, as many as the support."""
    members = x != 0
    members[-1] = True
    entering = np.flatnonzero(~members & (excess > 0))
    room = max(20, members.sum())
    if len(entering) > room:
        entering = entering[np.argpartition(-excess[entering], room)[:room]]
    members[entering] = True
    return np.flatnonzero(members)


def _slope(lasso, x, strict):
    """d(charged residual^2 / 2)/d(log alpha) on the present support."""
    P = np.flatnonzero((x != 0) | (lasso.limit == 0))
    s = lasso.B @ x
    change = solve_spd(lasso.hessian(s, P), -lasso.limit[P] * np.sign(x[P]))
    h = s - lasso.target
    charged = lasso.active if strict else lasso.active | (h > 0)
    return np.dot(h[charged], lasso.B[np.ix_(charged, P)] @ change)

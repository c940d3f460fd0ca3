"""Small lasso problems, solved exactly: by least squares in Gram form, and one-sided.

Both are convex and piecewise quadratic. Each step goes towards the minimum of a quadratic piece
that is found exactly, and the objective never rises, so bad conditioning costs nothing but digits.
"""

import numpy as np

from .._columns import column_norms
from ._lapack import solve_positive

MAX_STEPS = 60
# Steps that neither the objective nor the error of the gradient falls in, after which digits are
# used up.
MAX_STALLS = 5
# Of the signs within a step, which is good for something wherever it ends.
MAX_CHANGES = 1000
# Rounding errors are taken to be this large, relative to the norms of what is multiplied.
ROUNDING = 1e-15
# A full step is taken if it achieves this share of the decrease it promises.
SUFFICIENT = 1e-3
# Rows of a Hessian gathered at a time, so that they take little memory.
GATHERED = 512


class OneSidedLasso:
    """min_x  sum limit |x| + 1/2 sum_i w_i h_i(b_i x - t_i)^2  over a few dense columns B.

    h_i is the identity on active rows and max(., 0) on the others. Coordinates with a limit of
    zero (a free intercept) are not penalised.
    """

    def __init__(self, B, target, weight, active, limit):
        self.B, self.target, self.weight = B, target, weight
        self.active, self.limit = active, limit
        self.norms = column_norms(B)

    def minimise(self, x, tol):
        """Minimise from `x`, until the subgradient is within `tol` of zero, or all digits used."""
        s, least, stalls = self.B @ x, np.inf, 0
        for _ in range(MAX_STEPS):
            force, loss = self._loss(s)
            gradient = self.B.T @ force
            reachable = np.maximum(tol, self.norms * rounding(s, force, self.weight))
            error = np.max(subgradient_error(x, gradient, self.limit) - reachable)
            if error <= 0 or stalls == MAX_STALLS:
                break
            step = self._proximal_newton_step(x, s, gradient, 0.1 * reachable)
            new, s, fell = self._go(x, s, loss, gradient, step)
            if np.array_equal(new, x):
                break
            stalls = 0 if fell or error < least else stalls + 1
            x, least = new, min(error, least)
        return x

    def _go(self, x, s, loss, gradient, step):
        """A full step, or the best part of it; its responses; and whether the objective fell."""
        value = loss + np.dot(self.limit, np.abs(x))
        promised = np.dot(gradient, step) + np.dot(self.limit, np.abs(x + step) - np.abs(x))
        rate = self.B @ step
        new, s_new = x + step, s + rate
        new_value = self._loss(s_new)[1] + np.dot(self.limit, np.abs(new))
        if new_value > value + SUFFICIENT * promised:
            new = self._search(x, s, step, rate)
            return new, self.B @ new, True
        return new, s_new, new_value < value

    def _proximal_newton_step(self, x, s, gradient, tol):
        """The step to the minimum of the quadratic model plus the l1 norm."""
        P = np.flatnonzero((x != 0) | (np.abs(gradient) >= self.limit))
        hessian = self.hessian(s, P)
        model = GramLasso(hessian, gradient[P] - hessian @ x[P], self.limit[P])
        step = np.zeros_like(x)
        step[P] = model.minimise(x[P], tol[P]) - x[P]
        return step

    def hessian(self, s, P):
        """Hessian of the loss where the responses are `s`, on the coordinates P."""
        rows = np.flatnonzero(self.active | (s > self.target))
        hessian = np.zeros((len(P), len(P)))
        for i in range(0, len(rows), GATHERED):
            some = rows[i : i + GATHERED]
            # Indexing both ways at once takes several times as long, and stops other threads.
            block = self.B.T.take(some, axis=1).take(P, axis=0)
            block *= np.sqrt(self.weight[some])
            hessian += block @ block.T
        return hessian

    def _loss(self, s):
        h = s - self.target
        h *= self.active | (h > 0)
        force = self.weight * h
        return force, 0.5 * np.dot(force, h)

    def _search(self, x, s, step, rate):
        """Exact line search, across the rows that switch on or off and the zeros of x."""
        r = s - self.target
        on = self.active | (r > 0) | ((r == 0) & (rate > 0))
        force = self.weight * rate
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            at = np.where(self.active, -1.0, -r / rate)
        rows = np.flatnonzero((at > 0) & np.isfinite(at))
        switched = np.sign(rate[rows]) * force[rows]
        return _line_search(
            x,
            step,
            self.limit,
            np.dot(force[on], r[on]),
            np.dot(force[on], rate[on]),
            (at[rows], switched * r[rows], switched * rate[rows]),
        )


class GramLasso:
    """min_x  x' H x / 2 + linear' x + sum limit |x|.

    Feature-sign search (Lee, Battle, Raina, Ng 2006): where signs are given, the minimum is that
    of a linear system. Coordinates that would change their sign on the way there become zero;
    others leave zero at a minimum, together where that agrees with their signs. The objective
    falls with every step, so that it does no harm if H has a low rank.
    """

    def __init__(self, hessian, linear, limit):
        self.hessian, self.linear, self.limit = hessian, linear, limit

    def minimise(self, x, tol):
        """Minimise from `x`, until the subgradient is within `tol` of zero, or all digits used."""
        minimal = False
        for n_changes in range(MAX_CHANGES):
            gradient = self.hessian @ x + self.linear
            support = (x != 0) | (self.limit == 0)
            slope = gradient + self.limit * np.sign(np.where(support, x, -gradient))
            minimal = minimal or np.all(np.abs(slope[support]) <= tol[support])
            entering = ~support & (np.abs(gradient) > self.limit + tol)
            if minimal and not entering.any():
                break
            # Signs of a start are worth a try together with those that it lacks.
            entering &= minimal or n_changes == 0
            step = self._step(slope, support, entering, minimal)
            new, minimal = self._go(x, gradient, step)
            if new is x:
                break
            x = new
        return x

    def _step(self, slope, support, entering, minimal):
        """To the minimum for given signs, with those entering that keep theirs."""
        steepest = np.zeros_like(entering)
        # At a minimum, one alone does so.
        steepest[np.argmax(np.abs(slope) * entering)] = minimal
        while True:
            P = np.flatnonzero(support | entering)
            step = np.zeros_like(slope)
            step[P] = solve_spd(self.hessian[np.ix_(P, P)], -slope[P])
            # Steps without curvature are out of the range of products.
            keeping = entering & (np.sign(step) * slope < 0)
            if np.array_equal(keeping, entering) or np.array_equal(entering, steepest):
                return step
            entering = keeping if keeping.any() else steepest

    def _go(self, x, gradient, step):
        """The best point on the way, and whether it is the end; `x` itself if none is better."""
        crossing = (np.sign(x) * (x + step) < 0) & (self.limit > 0)
        ends = [np.where(crossing, 0.0, x + step)]
        # The first zero on the way is certainly better, that of half of them often, too.
        at = np.where(crossing, np.abs(x), np.inf) / np.where(crossing, np.abs(step), 1.0)
        zeros, n_zeros = np.sort(at[crossing]), np.count_nonzero(crossing)
        while n_zeros > 0:
            length = zeros[n_zeros - 1]
            ends.append(np.where(at <= length, 0.0, x + length * step))
            n_zeros //= 2
        rises = [self._rise(x, gradient, end) for end in ends]
        best = np.argmin(rises)
        return (ends[best], not crossing.any()) if rises[best] < 0 else (x, False)

    def _rise(self, x, gradient, end):
        """By how much the objective rises from `x`: the difference of two would cost digits."""
        step = end - x
        smooth = np.dot(step, gradient + 0.5 * (self.hessian @ step))
        return smooth + np.dot(self.limit, np.abs(end) - np.abs(x))


def rounding(s, force, weight):
    """What rounding leaves of an exact residual, per column: the least error of a gradient."""
    size = np.where(force != 0, weight * np.abs(s), 0.0) + np.abs(force)
    return ROUNDING * np.linalg.norm(size, axis=0)


def subgradient_error(x, gradient, limit):
    """Distance of each coordinate from ``-gradient in limit * d|x|``."""
    return np.where(
        (x != 0) | (limit == 0),
        np.abs(gradient + limit * np.sign(x)),
        np.maximum(np.abs(gradient) - limit, 0.0),
    )


def solve_spd(matrix, right):
    """Solve with a symmetric positive semi-definite matrix, regularised as far as needed."""
    if len(right) == 0:
        return right
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(right))):
        # No regularisation would ever be enough.
        raise np.linalg.LinAlgError(
            "numbers out of range: the inputs of the layer are too large, or too far apart in "
            "scale; scale them before training"
        )
    scale = np.maximum(matrix.diagonal(), np.finfo(float).tiny)
    ridge = 1e-12
    while True:
        factor, solution = matrix[None].copy(), right[None, None].copy()
        np.einsum("kii->ki", factor)[...] += ridge * scale
        if solve_positive(factor, solution).all() and np.all(np.isfinite(solution)):
            return solution[0, 0]
        ridge *= 100


def _line_search(x, step, limit, slope, curvature, kinks):
    """x plus the best multiple of `step`, for a convex piecewise quadratic function.

    `slope` and `curvature` are those of the smooth part at x; `kinks` says where along the step
    they change: places, changes of the slope (at zero length), changes of the curvature. The
    l1 norm adds its own, where coordinates cross zero; one that is met exactly becomes zero.
    """
    slope += np.dot(limit, np.where(x != 0, np.sign(x) * step, np.abs(step)))
    if slope >= 0:
        return x
    crossing = np.flatnonzero((np.sign(x) * step < 0) & (limit > 0))
    at = -x[crossing] / step[crossing]
    jump = 2 * limit[crossing] * np.abs(step[crossing])
    own = at, jump, np.zeros(len(crossing))
    at, jump, bend = (np.concatenate(pair) for pair in zip(own, kinks, strict=True))
    order = np.argsort(at)
    at = at[order]
    slopes = slope + np.concatenate([[0.0], np.cumsum(jump[order])])
    curvatures = curvature + np.concatenate([[0.0], np.cumsum(bend[order])])
    turned = np.flatnonzero(slopes[1:] + curvatures[1:] * at >= 0)
    i = turned[0] if len(turned) else len(at)
    if i < len(at) and slopes[i] + curvatures[i] * at[i] < 0:
        new = x + at[i] * step
        if order[i] < len(crossing):
            new[crossing[order[i]]] = 0.0
        return new
    return x + (-slopes[i] / curvatures[i] if curvatures[i] > 0 else 0.0) * step

"""The state of ADMM, and its iterations in matrix products over all neurons at once.

Two splittings, ``S = A U + 1 c'`` and ``Z = U``, with one penalty each, rho_S and rho_Z. The
matrix to invert depends on their ratio alone, and on neither targets nor neurons: one inverse
serves the whole layer, and an iteration is little more than the products A U and A' Xi: what is
elementwise is done in blocks of rows that stay in a core's cache.
"""

from functools import partial
from itertools import chain

import numpy as np

from .._columns import column_squares
from .._intercept import centred, stacked, unstacked
from .._threads import Workers
from ._ball import shares_of_a_ball
from ._base import Solution, spread
from ._feasible import mended
from ._least_squares import least_squares
from ._scaling import scale_of_columns, scaled, with_scaled_columns
from ._shifted_inverse import ShiftedInverse

RELAXATION = 1.8
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


class Iterate:
    """State of ADMM in scaled units: (A - mean) / column_scale, Y / target_scale.

    Centred inputs also let the intercept move on its own.
    """

    def __init__(self, problem, start, dtype):
        self.problem = problem
        A, self.mean = centred(problem.A, dtype, not problem.penalize_intercept)
        self.column_scale = scale_of_columns(A)
        self.A = with_scaled_columns(A, 1 / self.column_scale)
        self.target, self.target_scale = scaled(problem.target, dtype)
        self.epsilon = (problem.epsilon / self.target_scale).astype(dtype)
        self.penalty = (problem.stacked_penalty() / self.column_scale[:, None]).astype(dtype)
        self.workers = Workers()
        self.inverse = ShiftedInverse(self.A, self.workers)
        self.rows = self.workers.shares(*self.target.shape)
        self.blocks = list(chain.from_iterable(self.rows))
        self.inputs = self.workers.shares(self.A.shape[1], self.target.shape[1])
        self._start(start)

    def _start(self, start):
        dtype = self.target.dtype
        self.warm = start is not None and start.warm
        if start is None or start.penalties is None:
            rho_S, ratio = self._typical_penalties(), FIRST_RATIO
        else:
            rho_S, ratio = start.penalties
            rho_S = rho_S * self.target_scale
        self.rho_S = rho_S.astype(dtype)
        self.inverse.shift(ratio)
        # The last weights; they and their responses stay only where they save digits.
        self.X = self.AX = None
        if start is None:
            self.S = self.target.copy()
            self.Z = np.zeros((self.A.shape[1], self.S.shape[1]), dtype=dtype)
            self.a, self.b = np.zeros_like(self.S), np.zeros_like(self.Z)
            return
        weights = stacked(start.U, start.c, self.mean)
        weights *= self.column_scale[:, None] / self.target_scale
        self.Z = weights.astype(dtype)
        self.S = self.workers.products(self.A, self.Z)
        self.unfold()
        np.divide(start.Xi, self.rho_S, out=self.a, casting="same_kind")
        self.b = -self.workers.sums(self.A, self.a) / dtype.type(self.inverse.value)

    def _typical_penalties(self):
        """A guess of rho_S: the multiplier of a deviation of norm epsilon, were it all alike."""
        deviation = spread(self.target, self.problem.active)
        correlation = np.abs(self.workers.sums(self.A, deviation))[:-1]
        first = (correlation / self.penalty[:-1]).max(axis=0)
        radius = np.maximum(self.epsilon / self.problem.norm(self.target), LEAST_RADIUS)
        typical = first * radius
        usual = np.median(typical[typical > 0]) if np.any(typical > 0) else FIRST_PENALTY
        own = self.problem.per_neuron & (typical > 0)
        return FIRST_PENALTY / np.where(own, typical, usual)

    @property
    def rho_Z(self):  # noqa: N802
        """In a fixed ratio to rho_S, as only that is in the inverse."""
        return self.rho_S * self.rho_S.dtype.type(self.inverse.value)

    def advance(self, n_iter):
        """Do so many iterations; returns the largest relative residual of the last."""
        if self.X is None:
            self.X = np.empty_like(self.Z)
        elif self.AX is None:
            self.AX = self.workers.products(self.A, self.X)
        with self.workers.at_work():
            for _ in range(n_iter - 1):
                self._step()
            error = self._step(measure=True)
        if self.AX is None:
            # Proofs want the room.
            self.X = None
        return error

    def make_room(self):
        """Let go of A X, as large as the responses, until the next iteration."""
        self.AX = None

    def fold(self):
        """Let go of a, as large as the responses: it is a part of S until :meth:`unfold`."""
        self.S += self.a
        self.a = None

    def unfold(self):
        """Part S into its projection onto the constraint set and a, what that takes off."""
        self.a = np.empty_like(self.S)
        squares = sum(self._deviate(rows, self.S[rows], self.a[rows]) for rows in self.blocks)
        self._project(self._inside(squares), self.blocks)

    def _step(self, measure=False):
        found = least_squares(self)
        update = partial(self._update_weights, found, measure)
        squares_Z = sum(self.workers.map(update, self.inputs))
        squares = sum(self.workers.map(partial(self._respond, found, measure), self.rows))
        project = partial(self._project_and_measure, found) if measure else self._project
        squares_S = self.workers.map(partial(project, self._inside(squares)), self.rows)
        if not measure:
            return None
        self.squares_S, self.squares_Z = sum(squares_S), squares_Z
        return max(self._residual(self.squares_S), self._residual(self.squares_Z))

    def _residual(self, squares):
        """The larger of the relative primal and dual residuals of a splitting."""
        return np.sqrt(max(_ratios(*self._of_layer(squares)[:, 0])))

    def _of_layer(self, squares):
        """Sums over all neurons; what is dual was divided by rho."""
        squares = squares.copy()
        squares[2:] *= self.rho_S.astype(np.float64) ** 2
        return squares.sum(axis=1, keepdims=True)

    def _update_weights(self, found, measure, blocks):
        """X as found, and over-relaxed, Z and b by soft thresholding.

        To `measure` returns the squares of the residuals.
        """
        squares = 0.0
        for inputs in blocks:
            X, Z, b = self.X[inputs], self.Z[inputs], self.b[inputs]
            old_Z = Z.copy() if measure else None
            found.weights(inputs, out=X)
            _relax_towards(X, Z)
            Z += b
            limit = self.penalty[inputs] / self.rho_Z
            np.clip(Z, -limit, limit, out=b)
            Z -= b
            if measure:
                squares = squares + _of_residuals(X, Z, Z - old_Z, b)
        return squares

    def _respond(self, found, measure, blocks):
        """Move S and a to where :meth:`_relax` says; returns what the ball measures.

        To `measure` takes the old S and a, too: then these stay.
        """
        squares = 0.0
        for rows in blocks:
            S, a, AX = self.S[rows], self.a[rows], found.responses(rows)
            if measure:
                S, a = S.copy(), a.copy()
            squares = squares + self._relax(rows, AX, S, a)
        return squares

    def _relax(self, rows, AX, S, a):
        """S from A X, over-relaxed; a, its distance from the target; what the ball measures."""
        _relax_towards(AX, S)
        S += a
        return self._deviate(rows, S, a)

    def _deviate(self, rows, S, a):
        np.subtract(S, self.target[rows], out=a)
        active = self.problem.active[rows]
        # Products with masks are fast, and a mask takes a quarter of the memory of bounds.
        a *= active | (a > 0)
        return column_squares(a * active if self.problem.strict else a)

    def _inside(self, squares):
        """Shares of each neuron's deviation that are within the ball."""
        with np.errstate(all="ignore"):
            if self.problem.strict and not self.problem.per_neuron:
                share = shares_of_a_ball(squares, self.rho_S, self.epsilon)
            else:
                # One rho for each ball: then all is scaled alike.
                radius = np.sqrt(squares if self.problem.per_neuron else squares.sum())
                share = np.where(radius > self.epsilon, self.epsilon / radius, 1.0)
        return share.astype(self.S.dtype)

    def _project(self, inside, blocks):
        """S onto the constraint set, and a to what was taken off."""
        for rows in blocks:
            S, a = self.S[rows], self.a[rows]
            a *= 1 - (inside * self.problem.active[rows] if self.problem.strict else inside)
            S -= a

    def _project_and_measure(self, found, inside, blocks):
        """The same where S and a have not moved yet; returns the squares of the residuals."""
        squares = 0.0
        for rows in blocks:
            S, a, old_S = self.S[rows], self.a[rows], self.S[rows].copy()
            AX = found.responses_again(rows)
            self._relax(rows, AX, S, a)
            self._project(inside, [rows])
            squares = squares + _of_residuals(AX, S, S - old_S, a)
        return squares

    def balance(self):
        """Move each rho towards equal primal and dual residuals of its splitting.

        The inverse has to follow only where the ratio of the two changes, the same for all neurons.
        """
        factor_S = self._factors(self.squares_S, RESPONSE_BIAS)
        factor_Z = self._factors(self.squares_Z, WEIGHT_BIAS)
        both, change = np.sqrt(factor_S * factor_Z), np.median(factor_Z / factor_S)
        factor_S, before = both / np.sqrt(change), self.inverse.value
        if abs(np.log(change)) < 0.3:
            factor_S, factor_Z = both, both
        else:
            factor_Z = factor_S * self.inverse.shift(change * before) / before
        self.rho_S = (self.rho_S * factor_S).astype(self.a.dtype)
        self.a /= factor_S.astype(self.a.dtype)
        self.b /= factor_Z.astype(self.b.dtype)

    def _factors(self, squares, bias):
        """Of the rho of a splitting, for each neuron.

        A ball that all share wants one for all; the bounds of strict neurons want their own.
        """
        own, common = _factor(squares, bias), _factor(self._of_layer(squares), bias)
        if self.problem.per_neuron:
            return own
        return np.sqrt(own * common) if self.problem.strict else np.repeat(common, len(own))

    def proven(self, n_iter):
        """The point reached, as feasible as it can be made, and the error that is certified."""
        solution = self.mended(n_iter)
        error = self.problem.certify(solution.U, solution.c, solution.Xi).error()
        return solution, error

    def mended(self, n_iter):
        """The point reached, as feasible as it can be made."""
        solution = self.solution(n_iter)
        return solution if self.problem.strict else mended(self, solution)

    def solution(self, n_iter):
        """The sparse copy of the weights, and the dual point, in the units of the problem."""
        return self.in_units(self.Z, self.a * self.rho_S, n_iter)

    def in_units(self, weights, Xi, n_iter):
        """Scaled weights and a dual point as a solution in the units of the problem."""
        weights = weights * (self.target_scale / self.column_scale[:, None])
        U, c = unstacked(weights, self.mean)
        penalties = self.rho_S / self.target_scale, self.inverse.value
        return Solution(U, c, Xi, n_iter, penalties, warm=True)


def _relax_towards(new, old):
    """Move `old` beyond the new one, without an array besides."""
    old *= (1 - RELAXATION) / RELAXATION
    old += new
    old *= RELAXATION


def _factor(squares, bias):
    """Of rho, towards equal residuals, or one where there are none."""
    primal, primal_scale, dual, dual_scale = squares
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt((primal * dual_scale) / (primal_scale * dual))
    known = np.isfinite(ratio) & (ratio > 0)
    return np.where(known, np.clip(np.sqrt(bias * ratio), 0.2, 5.0), 1.0)


def _of_residuals(found, split, change, dual):
    """Squares, for each neuron, of what :func:`_factor` wants to know of a splitting."""
    arrays = found - split, split, change, dual
    return np.array([column_squares(array) for array in arrays], dtype=np.float64)


def _ratios(primal, primal_scale, dual, dual_scale):
    """Relative primal and dual residuals."""
    return (
        primal / primal_scale if primal_scale > 0 else 0.0,
        dual / dual_scale if dual_scale > 0 else 0.0,
    )

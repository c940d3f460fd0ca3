"""The proof of optimality: what a primal and a dual point say about a layer program.

All is recomputed from the points in float64, in blocks of rows, so that the memory it takes
does not grow with them.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

from ._columns import column_squares, or_one
from ._threads import Workers

# Where the constraints cannot be met, dual points prove bounds without limit: weights that would
# have to be this many times as large as those found are taken not to exist.
OUT_OF_REACH = 1e5
# Elements of a block of responses, which are many arrays here.
BLOCK = 1 << 15


@dataclass(frozen=True)
class Certificate:
    """What a pair of primal and dual points proves about a :class:`LayerProblem`.

    All values are recomputed from the weights in float64; nothing is taken from a solver.
    `price` is what the excess and the violation are worth in the objective, at the prices that
    the dual point puts on them, relative to the objective: a point slightly outside the set can
    be far below the optimum of a badly conditioned layer, with a gap of zero. Where a neuron
    leaks on some rows and leaves room on others, what counts is the difference: its weights are
    feasible for bounds that are moved by both.
    """

    objective: float
    dual_objective: float
    gap: float
    residual: float | np.ndarray
    excess: float
    violation: float
    price: float

    def error(self):
        """Largest of the relative errors; at most ``tol`` means converged.

        A gap above zero says how far the objective may be above the optimum. One below zero,
        and a price, say how far below, to first order only: they count more. Beside a dual point
        that is not optimal itself, the price can be a quarter of what is missing.
        """
        return float(max(_missing(self.gap, self.price), self.excess, self.violation))


def _missing(gap, price):
    """Of the objective, at the worst."""
    return np.maximum(np.maximum(gap, -2 * gap), 4 * price)


class DualPoint:
    """A point near `Xi` that satisfies every dual constraint, and the bound that it proves.

    Off Omega the dual is non-negative; a free intercept wants columns of mean zero, a penalised
    one column sums within 1; then each column is scaled until ``|A' Xi| <= R`` holds. Columns
    meet only in the norm, so each has its own scale.

    Parameters
    ----------
    problem : LayerProblem
    Xi : ndarray of shape (n_samples, n_neurons)

    Attributes
    ----------
    norm : float or ndarray of shape (n_neurons,)
        Of what the ball measures.
    bounds : ndarray of shape (n_neurons,)
        What each neuron adds to the bound, but for a norm that all share.
    objective : float
        Lower bound on the optimum.
    """

    def __init__(self, problem, Xi):
        self.problem = problem
        self._given = Xi
        self._workers = Workers()
        self._blocks = self._workers.shares(*Xi.shape, size=BLOCK)
        self._shift = np.zeros(Xi.shape[1])
        sums, self._count, squares = self._over_rows(self._count_active)
        self._target_squares = squares
        if not problem.penalize_intercept:
            self._shift = sums / np.maximum(self._count, 1)
        parts = map(self._measure_slopes, gen_batches(Xi.shape[1], self._at_a_time()))
        largest, sums, alignment, squares = np.hstack(list(parts))
        self._scale = self._feasible_scale(largest, sums)
        squares *= self._scale**2
        self.norm = np.sqrt(squares if problem.per_neuron else squares.sum())
        self.bounds = -alignment * self._scale
        self.objective = float(self.bounds.sum() - np.sum(problem.epsilon * self.norm))

    def _at_a_time(self):
        """Of how many neurons to compute A' Xi: that takes no more than half of data and targets.

        Each thread has a sum and what is added to it.
        """
        n_inputs, n_neurons = self.problem.shape
        most = len(self._given) * (n_inputs + n_neurons) // 2
        return max(1, most // (2 * self._workers.n_threads * max(n_inputs, 1)))

    def _measure_slopes(self, some):
        """What decides the scales of some neurons, and what they add to the bound."""
        correlation, *others = self._over_rows(self._correlate, some)
        np.abs(correlation, out=correlation)
        correlation /= self.problem.columns(some).penalty
        return correlation.max(axis=0, initial=1.0), *others

    def _feasible_scale(self, largest, sums):
        if self.problem.penalize_intercept:
            return 1 / np.maximum(largest, np.abs(sums))
        # Non-negative with a sum of zero: nothing but zero.
        return np.where(self._count > 0, 1 / largest, 0.0)

    def dense(self):
        """The feasible point, of shape (n_samples, n_neurons)."""
        return self._on(self.problem, slice(None)) * self._scale

    def certify(self, U, c):
        """What this point and the weights `U`, `c` prove together."""
        problem, objective = self.problem, self.problem.objective(U, c)
        residual, leaks, *prices = self._measure_weights(U, c)
        # Xi = 0 is always dual feasible, so the bound is never below zero.
        bound = max(self.objective, 0.0)
        scale = objective or bound or 1.0
        price = sum(np.sum(part) for part in prices)
        return Certificate(
            objective=objective,
            dual_objective=bound,
            gap=(objective - bound) / scale,
            residual=residual if problem.per_neuron else float(residual),
            excess=problem.excess(residual),
            violation=float(np.sqrt(leaks.sum() / (self._target_squares.sum() or 1.0))),
            price=float(price) / scale,
        )

    def unproven(self, U, c, tol):
        """The fewest neurons, each with its own ball, without which the others are proven.

        If they are then proven too, all are.

        Returns
        -------
        unproven : ndarray of bool of shape (n_neurons,)
        """
        problem, objectives = self.problem, self.problem.objectives(U, c)
        residual, leaks, *prices = self._measure_weights(U, c)
        gap = objectives - self.bounds + problem.epsilon * self.norm
        price = sum(prices)
        unproven = residual - problem.epsilon > tol * or_one(problem.epsilon)
        unproven |= leaks > tol**2 * or_one(self._target_squares)
        missing = _missing(gap, price)
        worst_first = np.argsort(-np.where(unproven, np.inf, missing))
        missing, objectives = (
            np.cumsum(part[worst_first][::-1])[::-1] for part in (missing, objectives)
        )
        suffices = np.append(missing <= tol * objectives, True)
        suffices[: np.count_nonzero(unproven)] = False
        unproven[worst_first[: np.argmax(suffices)]] = True
        return unproven

    def _measure_weights(self, U, c):
        """The residual of each ball, squares of what neurons leak, and the prices of both."""
        problem = self.problem
        squares, leaks, net_price = self._over_rows(self._deviate, U, c)
        residual = np.sqrt(squares if problem.per_neuron else squares.sum())
        price = np.maximum(residual - problem.epsilon, 0.0) * self.norm
        return residual, leaks, price, np.maximum(net_price * self._scale, 0.0)

    def _over_rows(self, function, *arguments):
        """Sums over all rows of the arrays that `function` returns for some of them."""

        def over(rows):
            return function(self.problem.rows(rows), rows, *arguments)

        return self._workers.total(over, self._blocks)

    def _on(self, part, rows, some=slice(None)):
        """Some rows and columns of the feasible point, before its columns are scaled."""
        Xi = self._given[rows, some].astype(np.float64)
        Xi -= self._shift[some] * part.active
        Xi *= part.active | (Xi > 0)
        return Xi

    def _count_active(self, part, rows):
        squares = column_squares(part.Y, np.float64)
        return self._on(part, rows).sum(axis=0), part.active.sum(axis=0), squares

    def _correlate(self, part, rows, some):
        part = part.columns(some)
        Xi = self._on(part, rows, some)
        alignment = np.einsum("ij,ij->j", Xi, part.target)
        return part.A.T @ Xi, Xi.sum(axis=0), alignment, column_squares(part.charged(Xi))

    def _deviate(self, part, rows, U, c):
        S = part.responses(U, c)
        D = part.deviation(S)
        rise = part.leaks(S - part.target)
        net_price = np.einsum("ij,ij->j", rise, self._on(part, rows))
        return column_squares(part.charged(D)), column_squares(part.leaks(D)), net_price

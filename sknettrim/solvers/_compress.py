"""Linear layers with many rows: the same program on as many rows as there are inputs.

Where all responses are matched, rows matter only through the norm of the deviation. With
``Q R`` the centred inputs, and ``b`` the distance of the centred targets from their range,

    ||A U + 1 c' - Y||^2 = ||R U - Q'Y||^2 + b^2    at the best intercept c,

so that R and Q'Y, with a ball of radius ``sqrt(epsilon^2 - b^2)``, say all that A and Y do.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from .._columns import column_squares
from .._problem import LayerProblem
from .._threads import Workers

# Rows for each input from which the factor is worth its price.
MANY_ROWS = 2
# Elements of a block of rows: with fewer, to add up Gram matrices takes as long as to make them.
BLOCK = 1 << 18
# What is left of epsilon beside b, and epsilon beside the targets, for squares to keep digits.
RESOLVED = 1e-5


def compress(problem):
    """A :class:`Compression` of a program, or None where there is nothing to gain."""
    n_inputs, _ = problem.shape
    if (
        not problem.matched
        or problem.penalize_intercept
        or problem.sparse
        or len(problem.active) < MANY_ROWS * (n_inputs + 1)
    ):
        return None
    factor = _Factor(problem)
    squares = problem.epsilon**2 - _per_ball(problem, factor.unreachable)
    least = np.maximum(problem.epsilon, problem.norm(problem.Y)) * RESOLVED
    if np.any(squares <= least**2):
        return None
    A, Y = _mean_free(factor.R), _mean_free(factor.T)
    compressed = LayerProblem(
        A, Y, np.sqrt(squares), matched=True, penalty_weights=problem.penalty_weights
    )
    return Compression(compressed, factor)


@dataclass
class Compression:
    """A program on fewer rows with the same weights, and the way there and back."""

    problem: LayerProblem
    factor: "_Factor"

    def restrict(self, solution):
        """A point of the whole program as one of the compressed program."""
        x = np.zeros(self.problem.active.shape)
        factor = self.factor

        def correlate(rows):
            a, _ = factor.centred(rows)
            return (a.T @ solution.Xi[rows],)

        (correlation,) = factor.workers.total(correlate, factor.shares)
        x[: factor.rank] = factor.solve_transposed(correlation)
        Xi = _mean_free(x).astype(solution.Xi.dtype)
        return replace(solution, c=np.zeros_like(solution.c), Xi=Xi)

    def expand(self, solution):
        """A point of the compressed program as one of the whole program.

        The dual point gets the component along ``Y - Q Q'Y`` that maximises its bound.
        """
        factor = self.factor
        x = _mean_free(solution.Xi.astype(np.float64))[: factor.rank]
        along = -self.problem.norm(x) / self.problem.epsilon
        V = factor.solve(x - along * factor.T[: factor.rank])
        Xi = np.empty(factor.problem.active.shape, dtype=solution.Xi.dtype)

        def fill(rows):
            a, y = factor.centred(rows)
            Xi[rows] = a @ V + along * y

        factor.workers.each(fill, factor.shares)
        return replace(solution, c=factor.mean_Y - factor.mean_A @ solution.U, Xi=Xi)


class _Factor:
    """R and T = Q'Y, by a Cholesky factorisation with pivots of the centred inputs' Gram matrix.

    Columns are scaled to norm 1 for it. Rows beyond the `rank` are zero, and there is one more of
    those.
    """

    def __init__(self, problem):
        self.problem = problem
        self.mean_A = problem.A.mean(axis=0, dtype=np.float64)
        self.mean_Y = problem.Y.mean(axis=0, dtype=np.float64)
        n_rows, (n_inputs, n_neurons) = len(problem.active), problem.shape
        self.workers = Workers()
        self.shares = self.workers.shares(n_rows, max(n_inputs, n_neurons), size=BLOCK)
        gram, correlation, squares = self.workers.total(self._moments, self.shares)
        norms = np.sqrt(gram.diagonal())
        # Rounding errors of a constant column are no input.
        constant = norms <= np.sqrt(n_rows) * np.abs(self.mean_A) * np.finfo(float).eps * 10
        gram[constant] = gram[:, constant] = 0.0
        scale = np.where(constant, 1.0, norms)
        gram /= scale[:, None] * scale
        tol = n_inputs * np.finfo(float).eps
        upper, pivots, self.rank, _ = dpstrf(gram, tol=tol)
        self._upper = np.triu(upper[: self.rank])
        self._pivots, self._scale = pivots - 1, scale[pivots - 1]
        self.T = np.zeros((n_inputs + 1, n_neurons))
        self.T[: self.rank] = self.solve_transposed(correlation)
        self.unreachable = np.maximum(squares - column_squares(self.T), 0.0)

    @property
    def R(self):  # noqa: N802
        """The factor, of shape (n_inputs + 1, n_inputs), made anew: it is wanted once."""
        n_inputs = len(self._pivots)
        R = np.zeros((n_inputs + 1, n_inputs))
        R[: self.rank, self._pivots] = self._upper * self._scale
        return R

    def centred(self, rows):
        """Some rows of the inputs and of the targets, less their means."""
        # Inputs of a program on some of them are gathered anew.
        part = self.problem.rows(rows)
        return part.A - self.mean_A, part.Y - self.mean_Y

    def _moments(self, rows):
        a, y = self.centred(rows)
        return a.T @ a, a.T @ y, column_squares(y)

    def solve(self, right):
        """V with R V = `right`, on as few inputs as the rank."""
        inputs, upper, scale = self._of_rank()
        V = np.zeros((len(self._pivots), right.shape[1]))
        V[inputs] = solve_triangular(upper, right) / scale
        return V

    def solve_transposed(self, right):
        """x with R'x = `right`."""
        inputs, upper, scale = self._of_rank()
        return solve_triangular(upper, right[inputs] / scale, trans="T")

    def _of_rank(self):
        """As many inputs as the rank, and their part of the factor and of the scale."""
        inputs = self._pivots[: self.rank]
        return inputs, self._upper[:, : self.rank], self._scale[: self.rank, None]


def _per_ball(problem, squares):
    return squares if problem.per_neuron else squares.sum()


def _mean_free(matrix):
    """Reflected so that columns whose last entry is zero get a mean of zero, and back.

    The program has an intercept; there it has nothing left to do.
    """
    normal = np.full(len(matrix), -1 / np.sqrt(len(matrix)))
    normal[-1] += 1.0
    return matrix - np.outer(normal, (2 / (normal @ normal)) * (normal @ matrix))

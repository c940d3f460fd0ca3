"""What needs no solver: inputs that are constant or repeated, neurons that a constant answers."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ._columns import column_means, column_squares
from ._problem import LayerProblem

# Rows at a time, so that nothing as large as the targets is made.
BATCH = 1024
# A deviation this far below epsilon is rounding.
NEGLIGIBLE = 1e-9


@dataclass
class Reduction:
    """A smaller program with the same solution, and the way back."""

    problem: LayerProblem
    inputs: np.ndarray
    neurons: np.ndarray
    constants: np.ndarray

    def restrict(self, solution):
        """A point of the whole program as one of the reduced program."""
        return replace(solution, U=solution.U[self.inputs]).columns(self.neurons)

    def expand(self, solution):
        """A solution of the reduced program as one of the whole program."""
        if self.inputs.all() and self.neurons.all():
            return solution
        return solution.among(self.inputs, self.neurons, self.constants)


def reduce(problem):
    """Leave out inputs whose weights may be zero, and neurons whose weights all are."""
    constants, deviation = _constant_fit(problem)
    limit = problem.epsilon
    if not problem.per_neuron and np.linalg.norm(deviation) > limit:
        # The ball has room for some constants only; those without deviation need none of it.
        limit = NEGLIGIBLE * limit
    neurons = deviation > limit
    inputs = _telling_columns(problem.A, problem.penalize_intercept)
    if problem.penalty_weights is None:
        inputs &= _first_of_equal_columns(problem.A, inputs)
    if not inputs.any():
        # Solvers want at least one.
        inputs[0] = True
    # Slices need no copies.
    reduced = problem.restrict(*(slice(None) if mask.all() else mask for mask in (inputs, neurons)))
    return Reduction(reduced, inputs, neurons, constants)


def constant_radius(problem):
    """Smallest radius, or radii, of the ball at which no weight is needed."""
    _, deviation = _constant_fit(problem)
    return problem.norm(deviation[None, :])


def _constant_fit(problem):
    """The best responses that do not depend on the inputs, and their deviations, per neuron."""
    active, target = problem.active, problem.target
    m = target.shape[1]
    if problem.penalize_intercept:
        constants = np.zeros(m)
    elif problem.strict or problem.matched:
        constants = column_means(target, active)
    else:
        constants = _one_sided_mean(target, active)
    if problem.strict:
        lowest = [_lowest_bounds(problem.rows(rows)) for rows in _batches(problem)]
        constants = np.minimum(constants, np.min(lowest, axis=0))
    deviation = np.sqrt(sum(_squares(problem.rows(rows), constants) for rows in _batches(problem)))
    if problem.penalize_intercept:
        # A constant that the objective charges for is not the whole answer.
        deviation[constants != 0] = np.inf
    return constants, deviation


def _batches(problem):
    return gen_batches(len(problem.active), BATCH)


def _lowest_bounds(problem):
    """What responses may not exceed, where a neuron was off."""
    # A minimum with a mask takes several times as long.
    return np.where(problem.active, np.inf, problem.target).min(axis=0)


def _squares(problem, constants):
    D = problem.deviation(np.broadcast_to(constants, problem.active.shape))
    return column_squares(D)


def _one_sided_mean(target, active):
    """Minimiser over c of the sum of squares of c - t, counted above t only where inactive."""
    rows = active
    while True:
        constants = column_means(target, rows)
        wider = active | (target < constants)
        if not np.any(wider & ~rows):
            return constants
        rows = wider | rows


def _telling_columns(A, penalize_intercept):
    """Mask of the columns that are not zero, or not constant where an intercept costs nothing."""
    largest, smallest = A.max(axis=0), A.min(axis=0)
    if sparse.issparse(A):
        largest, smallest = (part.toarray().ravel() for part in (largest, smallest))
    if penalize_intercept:
        return (largest != 0) | (smallest != 0)
    return largest != smallest


def _first_of_equal_columns(A, among):
    """Mask of the columns that no column before them equals: weights need not be shared.

    Only columns of a mask are compared.
    """
    keys = _keys_of_columns(A)
    first = np.ones(A.shape[1], dtype=bool)
    order = np.argsort(keys, kind="stable")
    order = order[among[order]]
    for j in np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1:
        before, here = A[:, [order[j - 1]]], A[:, [order[j]]]
        difference = before - here
        first[order[j]] = np.any((difference.data if sparse.issparse(A) else difference) != 0)
    return first


def _keys_of_columns(A):
    """Equal columns have equal keys, and nearly always the other way round too."""
    rng = np.random.default_rng(0)
    if sparse.issparse(A):
        return A.T @ rng.standard_normal(A.shape[0])
    # Of sums of floats, those of a block of columns are rounded otherwise than the next.
    bits = A.view(f"u{A.itemsize}")
    weights = rng.integers(np.iinfo(bits.dtype).max, size=A.shape[0], dtype=bits.dtype)
    return np.einsum("ij,i->j", bits, weights)

"""The point that ADMM has reached, moved to where it is feasible, primal and dual.

ADMM comes near the optimum sooner than it can show it: its sparse weights exceed the ball by a
little, and its dual point exceeds some penalties by a little. The proof takes the one at its price,
and scales the other until the worst of its slopes is within its penalty. Both are mended for
less than what iterations would cost.
"""

from itertools import chain

import numpy as np

from ._ball import step_to_the_ball
from ._lapack import solve_positive
from ._price import BATCH

# Growth of weights, to meet the ball, that is small enough to tell nothing new.
FARTHEST_GROWTH = 0.1
# Operations of an iteration's products that factorisations may take; theirs are the slower ones.
WORTH = 0.1


def mended(iterate, solution):
    """The solution of an ADMM iterate whose layer is not strict, as feasible as it can be made.

    In place.
    """
    growth = growth_to_the_ball(iterate)
    # The intercept of centred inputs stays.
    solution.c -= growth * (iterate.mean @ solution.U)
    solution.U *= 1 + growth
    solution.Xi = within_penalties(iterate, solution.Xi)
    return solution


def growth_to_the_ball(iterate):
    """The relative growth of the weights, or of each neuron's, that puts responses on the ball.

    Near the optimum, what that adds to the objective is what the excess is worth, to first order.
    Zero where the ball is not near.
    """
    A, Z, active = iterate.A, iterate.Z, iterate.problem.active
    intercept = Z[-1] / iterate.column_scale[-1].astype(Z.dtype)

    def over(rows):
        fit = A[rows, :-1] @ Z[:-1]
        deviation = fit + intercept - iterate.target[rows]
        outside = active[rows] | (deviation > 0)
        deviation *= outside
        fit *= outside
        return tuple(
            np.einsum("ij,ij->j", one, other, dtype=np.float64)
            for one, other in ((deviation, deviation), (deviation, fit), (fit, fit))
        )

    sums = iterate.workers.total(over, iterate.rows)
    if not iterate.problem.per_neuron:
        sums = [part.sum() for part in sums]
    square, slope, curvature = sums
    growth = step_to_the_ball(square, -slope, curvature, iterate.epsilon.astype(np.float64))
    return np.where(np.abs(growth) <= FARTHEST_GROWTH, growth, 0.0)


def within_penalties(iterate, Xi):
    """`Xi`, changed in place, with the slopes that exceed their penalty moved back to it.

    By the shortest move, along the inputs that they belong to, on the rows where a neuron has a
    multiplier or may have one. The Gram matrix over these rows is taken as their share of that over
    all. Other slopes move too, mostly by less.
    """
    excess = iterate.workers.sums(iterate.A, Xi)
    excess -= np.clip(excess, -iterate.penalty, iterate.penalty)
    counts = np.count_nonzero(excess, axis=0)
    n, m = Xi.shape
    if iterate.inverse.wide or np.sum(counts**3.0) > WORTH * 4 * n * m * len(excess):
        return Xi

    def free(rows):
        return (Xi[rows] != 0) | iterate.problem.active[rows]

    share = sum(np.count_nonzero(free(rows), axis=0) for rows in chain(*iterate.rows)) / n
    move = _along_inputs(iterate.inverse, excess, counts) / np.maximum(share, 1 / n)
    move = move.astype(Xi.dtype)

    def mend(rows):
        Xi[rows] -= free(rows) * (iterate.A[rows] @ move)

    iterate.workers.each(mend, iterate.rows)
    return Xi


def _along_inputs(inverse, excess, counts):
    """Solve with the Gram matrix of each neuron's inputs in excess, several neurons at a time."""
    move = np.zeros_like(excess)
    # The largest first: those of a batch are no larger than its first.
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    while len(order):
        size = counts[order[0]]
        members, order = np.split(order, [max(1, BATCH // (excess.itemsize * size**2))])
        inputs = np.argpartition(excess[:, members].T == 0, size - 1, axis=1)[:, :size]
        right = excess[inputs, members[:, None]]
        chosen = right != 0
        grams = np.ascontiguousarray(inverse.gram[inputs[:, :, None], inputs[:, None, :]])
        grams *= chosen[:, :, None] & chosen[:, None, :]
        np.einsum("kii->ki", grams)[...] += np.where(chosen, inverse.smallest, 1.0)
        right = right[:, None, :].copy()
        solved = solve_positive(grams, right)
        move[inputs, members[:, None]] = np.where(solved[:, None], right[:, 0], 0.0)
    return move

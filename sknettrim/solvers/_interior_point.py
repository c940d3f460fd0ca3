"""Interior-point method for strict layers that are cut down to few inputs and rows per neuron.

A step d of the weights changes half the square of the ball by ``gradient' d + d' gram d / 2``
for each neuron, and what rows exceed their bounds by ``normals d``. Weights are split into
p - q with p, q >= 0, so that the program is one of linear constraints and one ball. The ball
couples the neurons through a single number, its multiplier: a Newton step takes a small linear
system for each neuron, and one division.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.linalg.lapack import dposv

# Complementarity of a new start, and the least that is aimed at, which is relative to the goal:
# shares of what a neuron is worth in the objective and the ball.
FIRST_BARRIER = 0.1
LEAST_BARRIER = 0.3
# The least part of the complementarity that one step aims at.
LEAST_REDUCTION = 0.05
# Share of the way to the boundary.
DAMPING = 0.97
# Relative error of the ball from which a start was no good, as where scales are far apart.
FAR = 30.0
# Of its diagonal, added to a Gram matrix, in units of its precision.
RIDGE = 100
# Relative to the mean weight, where a slope leaves all the room there is.
SUPPORT = 0.3


@dataclass
class Neuron:
    """One neuron, cut down to some inputs and rows of `A`, and its part of the interior point.

    `of_inputs` holds, for each input, penalty, gradient, weight, p, q and the dual slope, which
    stays within the penalty; `of_rows` excess, slack and multiplier of each row; `square` what
    the neuron adds to that of the ball; `worth` what it is worth in the objective, about.
    """

    A: np.ndarray
    inputs: np.ndarray
    rows: np.ndarray
    gram: np.ndarray
    square: float
    worth: float
    of_inputs: np.ndarray
    of_rows: np.ndarray

    @classmethod
    def near(
        cls,
        A,
        inputs,
        rows,
        *,
        gram,
        square,
        penalty,
        gradient,
        weights,
        excess,
        row_multiplier,
        multiplier,
    ):
        """A neuron, with a point near weights and multipliers that are nearly optimal.

        Parameters
        ----------
        A : ndarray of shape (n_samples, n_all_inputs)
        inputs, rows : ndarray of int
            What is left of the layer.
        gram : ndarray of shape (n_inputs, n_inputs)
            Of the inputs, over the active rows.
        square : float
            What the neuron adds to the square of the ball.
        penalty, gradient, weights : ndarray of shape (n_inputs,)
            The gradient is that of half the square.
        excess, row_multiplier : ndarray of shape (n_rows,)
            What responses exceed their bound by, and its multiplier.
        multiplier : float
            Of half the square.
        """
        neuron = cls(A, inputs, rows, gram, float(square), 0.0, None, None)
        normals = neuron.normals
        np.einsum("ii->i", gram)[...] *= 1 + RIDGE * np.finfo(gram.dtype).eps
        neuron.worth = float(np.dot(penalty, np.abs(weights)) + multiplier * square)
        barrier = FIRST_BARRIER * neuron.worth / (2 * len(inputs) + len(rows))
        slope = multiplier * gradient + row_multiplier @ normals
        p, q, slope = _split(penalty, weights, slope, barrier)
        slack, row_multiplier = _slacken(excess, row_multiplier, barrier)
        step = np.where(penalty > 0, p - q - weights, 0.0)
        change = gram @ step
        neuron.square += 2 * np.dot(gradient, step) + np.dot(step, change)
        neuron.of_inputs = np.stack([penalty, gradient + change, weights + step, p, q, slope])
        neuron.of_rows = np.stack([excess + normals @ step, slack, row_multiplier])
        return neuron

    @property
    def normals(self):
        """The inputs of the rows: gathered when needed, as they would take too much memory."""
        return self.A[np.ix_(self.rows, self.inputs)]

    @property
    def weights(self):
        """The weights, none of them exactly zero."""
        return self.of_inputs[2]

    @property
    def row_multiplier(self):
        """Multipliers of the rows."""
        return self.of_rows[2]

    @property
    def support(self):
        """Which weights are not zero: larger, relative to the mean, than their slope has room."""
        penalty, _, _, p, q, slope = self.of_inputs
        size = np.maximum(p, q) * penalty
        room = 1 - np.abs(slope) / np.where(penalty > 0, penalty, 1.0)
        return (penalty == 0) | (size > SUPPORT * size.mean() * room)


class InteriorPoint:
    """The point of all neurons: what is elementwise is done on one flat array for all.

    Parameters
    ----------
    neurons : list of Neuron
        The point is theirs, and moves with every step.
    epsilon : float or ndarray of shape (n_neurons,)
        Radius of the ball, or of each neuron's.
    multiplier : float or ndarray of shape (n_neurons,)
        First guess of the multiplier of half the square of the ball.
    workers : Workers
    """

    def __init__(self, neurons, epsilon, multiplier, workers):
        self.neurons, self.epsilon, self.multiplier = neurons, epsilon, multiplier
        self.workers, self.separate = workers, np.ndim(epsilon) == 1
        self.inputs, self.input_owner = _owners([len(neuron.inputs) for neuron in neurons])
        self.rows, self.row_owner = _owners([len(neuron.rows) for neuron in neurons])
        of_inputs = np.hstack([neuron.of_inputs for neuron in neurons])
        of_rows = np.hstack([neuron.of_rows for neuron in neurons])
        for neuron, inputs, rows in zip(neurons, self.inputs, self.rows, strict=True):
            neuron.of_inputs, neuron.of_rows = of_inputs[:, inputs], of_rows[:, rows]
        self.penalty, self.gradient, self.weights, self.p, self.q, self.slope = of_inputs
        self.excess, self.slack, self.row_multiplier = of_rows
        self.free = self.penalty == 0
        self.reach = np.where(self.free, 1.0, self.penalty)
        self.squares = np.array([neuron.square for neuron in neurons])
        self.worth = np.array([neuron.worth for neuron in neurons])
        self.count = 2 * self._sum_inputs(~self.free) + self._sum_rows(np.ones(len(self.slack)))

        # Of a neuron that has settled, only the second direction is used again.
        self.directions = np.zeros((len(self.weights), 2))
        self.changes = np.zeros((len(self.weights), 2))
        self.rises = np.zeros((len(self.slack), 2))
        self.settled = self.full = np.zeros(len(neurons), dtype=bool)
        self.reduction = np.full(len(neurons), 0.2)
        # Every worker takes neurons of all sizes.
        order, n = np.argsort([-len(neuron.inputs) for neuron in neurons]), workers.n_threads
        self.shares = [order[i::n] for i in range(n)]

    def solve(self, goal, max_iter):
        """Iterate until complementarity and the ball are met to `goal`.

        Returns how often, and the relative error of the ball; at once if that is hopeless.
        """
        for n_iter in range(1, max_iter + 1):
            complementarity, error = self._step(goal)
            objective = np.dot(self.penalty, self.p + self.q)
            if not error <= FAR:
                return n_iter, error
            if complementarity <= goal * objective and error <= goal:
                break
        # Those that settled early have followed the multiplier to first order only.
        self.settled[:] = False
        self._step(goal)
        for neuron, square in zip(self.neurons, self.squares, strict=True):
            neuron.square = square
        return n_iter, error

    # Where numbers run out of range, the ball tells, and the proof would.
    @np.errstate(all="ignore")
    def _step(self, goal):
        """One Newton step; returns complementarity and relative error of the ball before it."""
        up, down = self.reach + self.slope, self.reach - self.slope
        complementarity = self._sum_inputs(np.where(self.free, 0.0, self.p * up + self.q * down))
        complementarity += self._sum_rows(self.slack * self.row_multiplier)
        least = LEAST_BARRIER * goal * self.worth
        barrier = np.maximum(self.reduction * complementarity, least) / self.count
        barrier, row_barrier = barrier[self.input_owner], barrier[self.row_owner]

        off = self.excess + self.slack
        self.stiffness = np.where(self.free, 0.0, 1 / (self.p / up + self.q / down))
        shift = np.where(self.free, 0.0, barrier * (1 / up - 1 / down) - (self.p - self.q))
        self.row_stiffness = self.row_multiplier / self.slack
        self.row_force = row_barrier / self.slack + self.row_stiffness * off
        self.force = (
            self.slope + self.stiffness * shift - self._of_input(self.multiplier) * self.gradient
        )
        self.directions[:, 0], self.changes[:, 0], self.rises[:, 0] = 0.0, 0.0, 0.0
        self.workers.map(self._direct, [share[~self.settled[share]] for share in self.shares])

        move = self._move_multiplier()
        step = self.directions @ (1, 0) - self._of_input(move) * self.directions[:, 1]
        change = self.changes @ (1, 0) - self._of_input(move) * self.changes[:, 1]
        rise = self.rises @ (1, 0) - self._of_row(move) * self.rises[:, 1]
        dslope = self.stiffness * (shift - step)
        dp = np.where(self.free, 0.0, (barrier - self.p * dslope) / up - self.p)
        dq = np.where(self.free, 0.0, (barrier + self.q * dslope) / down - self.q)
        dslack = -off - rise
        dmultiplier = self.row_force + self.row_stiffness * rise - self.row_multiplier
        length = self._length(
            ((dp, self.p), (dq, self.q), (dslope, up), (-dslope, down)),
            ((dslack, self.slack), (dmultiplier, self.row_multiplier)),
        )
        full = (length == 1) & (complementarity <= 2 * least)
        self.settled, self.full = full & self.full, full
        self.reduction = np.clip((1 - length) ** 2, LEAST_REDUCTION, 0.8)
        error = self._ball_error()

        linear, quadratic = self._sum_inputs(self.gradient * step), self._sum_inputs(step * change)
        self.squares += length * (2 * linear + length * quadratic)
        of_input, of_row = length[self.input_owner], length[self.row_owner]
        for value, direction in (
            (self.weights, step),
            (self.gradient, change),
            (self.p, dp),
            (self.q, dq),
            (self.slope, dslope),
        ):
            value += of_input * direction
        for value, direction in (
            (self.excess, rise),
            (self.slack, dslack),
            (self.row_multiplier, dmultiplier),
        ):
            value += of_row * direction
        self.multiplier = self.multiplier + move
        return complementarity.sum(), error

    @np.errstate(all="ignore")
    def _direct(self, share):
        """Newton directions of the weights, and their part in a change of the multiplier."""
        for j in share:
            neuron, inputs, rows = self.neurons[j], self.inputs[j], self.rows[j]
            normals = neuron.normals
            weighted = normals * np.sqrt(self.row_stiffness[rows])[:, None]
            multiplier = self.multiplier[j] if self.separate else self.multiplier
            matrix = np.multiply(neuron.gram, multiplier, dtype=np.float64)
            matrix += weighted.T @ weighted
            np.einsum("ii->i", matrix)[...] += self.stiffness[inputs]
            right = np.empty((len(matrix), 2))
            right[:, 0] = self.force[inputs] - self.row_force[rows] @ normals
            right[:, 1] = self.gradient[inputs]
            _, direction, failed = dposv(matrix.T, right, lower=True, overwrite_a=True)
            if failed:
                direction = np.zeros_like(right)
            self.directions[inputs] = direction
            direction = direction.astype(normals.dtype)
            self.changes[inputs] = neuron.gram @ direction
            self.rises[rows] = normals @ direction

    def _move_multiplier(self):
        """The change of the multiplier with which the step leads to the ball, to first order."""
        gain = self._sum_inputs(self.gradient * self.directions[:, 0])
        cost = self._sum_inputs(self.gradient * self.directions[:, 1])
        squares = self.squares
        if not self.separate:
            gain, cost, squares = gain.sum(), cost.sum(), squares.sum()
        move = (gain - (self.epsilon**2 - squares) / 2) / np.where(cost > 0, cost, np.inf)
        return np.clip(move, -0.5 * self.multiplier, self.multiplier)

    def _ball_error(self):
        squares = self.squares if self.separate else self.squares.sum()
        return np.max(np.abs(np.sqrt(np.maximum(squares, 0.0)) / self.epsilon - 1))

    def _length(self, of_inputs, of_rows):
        """How far each neuron may go along pairs (direction, value): what is positive stays so."""
        fastest = np.full(len(self.neurons), 1e-9)
        rate = reduce(np.maximum, (-direction / value for direction, value in of_inputs))
        np.maximum.at(fastest, self.input_owner, np.where(self.free, 0.0, rate))
        rate = reduce(np.maximum, (-direction / value for direction, value in of_rows))
        np.maximum.at(fastest, self.row_owner, rate)
        return np.minimum(1.0, DAMPING / fastest)

    def _of_input(self, value):
        return value[self.input_owner] if self.separate else value

    def _of_row(self, value):
        return value[self.row_owner] if self.separate else value

    def _sum_inputs(self, values):
        return np.bincount(self.input_owner, values, len(self.neurons))

    def _sum_rows(self, values):
        return np.bincount(self.row_owner, values, len(self.neurons))


def _split(penalty, weights, slope, barrier):
    """p, q and slopes of inputs, as central as their weights allow."""
    free = penalty == 0
    reach = np.where(free, 1.0, penalty)
    size = np.maximum(np.abs(weights), np.finfo(np.float32).tiny)
    edge = np.clip(reach - barrier / size, 0.0, 0.999 * reach)
    inside = np.clip(slope, -0.98 * reach, 0.98 * reach)
    slope = np.where(weights != 0, -np.sign(weights) * edge, inside)
    p = np.maximum(weights, barrier / (reach + slope))
    q = np.maximum(-weights, barrier / (reach - slope))
    return np.where(free, 1.0, p), np.where(free, 1.0, q), np.where(free, 0.0, slope)


def _slacken(excess, multiplier, barrier):
    """Slack and multipliers of rows: a wide slack is soon narrowed, a narrow one stops steps."""
    scale = max(np.sqrt(np.mean(excess**2)), np.finfo(np.float32).eps) if len(excess) else 1.0
    binding = multiplier > 0
    central = barrier / np.where(binding, multiplier, 1.0)
    slack = np.maximum(-excess, scale)
    slack = np.where(binding, np.clip(central, 1e-3 * scale, scale), slack)
    return slack, np.where(binding, np.maximum(multiplier, barrier / scale), barrier / slack)


def _owners(sizes):
    """Slices of a flat array for each neuron, and the neuron of each of its elements."""
    ends = np.cumsum(sizes)
    slices = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    return slices, np.repeat(np.arange(len(sizes)), sizes)

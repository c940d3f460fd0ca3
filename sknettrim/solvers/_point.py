"""The point at which an interior-point method is, of neurons cut down to few inputs and rows.

A step d of a neuron's weights changes half the square of the ball by
``gradient' d + d' gram d / 2``, and what rows exceed their bounds by ``normals d``. Weights are
split into p - q with p, q >= 0. Bounds are hard, or rows may leak, ``excess + slack = leak``, and
what leaks is charged to the ball.
"""

import numpy as np

from ._newton_system import fast_order

# Relative to the mean weight, where a slope leaves all the room there is.
SUPPORT = 0.3
# Complementarity of a neuron's start, relative to what it is worth: half of what its slopes exceed
# their penalties by, within bounds. With less than it is off, it would hardly get away from its
# bounds; with more, it goes a long way back.
BARRIER_OF_SLOPES = 0.5
BARRIERS = 0.001, 0.5
# What arrays hold where a neuron has no input or row: such that there is no influence.
OF_INPUTS = {"p": 1.0, "q": 1.0} | dict.fromkeys(
    ("slope", "gradient", "weights", "pull", "pull_change"), 0.0
)
OF_ROWS = {"slack": 1.0, "row_multiplier": 1.0, "excess": -1.0, "pull_rise": 0.0}
OF_NEURONS = "square", "multiplier", "settled_at"


class Point:
    """Weights, slacks and multipliers of neurons: arrays with a line for each.

    There is room for the largest of them. Places that a neuron does not need have no influence:
    inputs without a penalty, a gradient or normals, and rows without normals.

    Parameters
    ----------
    n_inputs, n_rows : ndarray of int of shape (m,)
        What is left of each neuron.
    penalty : ndarray
        Of all inputs, neuron by neuron.
    leaky : bool
        Whether rows may leak.

    Attributes
    ----------
    gradient, weights, p, q, slope : ndarray of shape (m, room)
        The gradient is that of half the square; dual slopes stay within the penalty.
    excess, slack, row_multiplier : ndarray of shape (m, room)
        What responses of rows exceed their bounds by, and the multipliers of these.
    pull, pull_change, pull_rise : ndarray of shape (m, room)
        By how much weights, gradient and excess fall with a larger multiplier of the ball.
    square, multiplier : ndarray of shape (m,)
        What a neuron adds to the square of its ball, but for the leaks of these rows, and the
        multiplier of half of that.
    settled_at : ndarray of shape (m,)
        The multiplier at which a neuron was optimal, if it was, else not a number.
    """

    def __init__(self, n_inputs, n_rows, penalty, leaky):
        n_neurons, self.leaky = len(n_inputs), leaky
        for name in (*OF_INPUTS, *OF_ROWS):
            setattr(self, name, np.empty((n_neurons, 0)))
        self.square, self.multiplier = np.zeros((2, n_neurons))
        self.settled_at = np.full(n_neurons, np.nan)
        self.resize(n_inputs, n_rows, penalty)

    def resize(self, n_inputs, n_rows, penalty):
        """Let neurons have more inputs and rows; what is known stays at its place."""
        self.n_inputs, self.n_rows = n_inputs, n_rows
        self.has_input, self.has_row = (
            np.arange(fast_order(counts.max())) < counts[:, None] for counts in (n_inputs, n_rows)
        )
        self.penalty = np.zeros(self.has_input.shape)
        self.penalty[self.has_input] = penalty
        self.free = self.penalty == 0
        bound = np.count_nonzero(~self.free, axis=1)
        mean = np.where(bound > 0, self.penalty.sum(axis=1) / np.maximum(bound, 1), 1.0)
        # What is free has no multiplier, but a residual.
        self.reach = np.where(self.free, mean[:, None], self.penalty)
        self.count = 2 * bound + n_rows
        # One at a time: all together take as much memory as the matrices of many neurons.
        for values, has in ((OF_INPUTS, self.has_input), (OF_ROWS, self.has_row)):
            for name, nothing in values.items():
                setattr(self, name, _with_room(getattr(self, name), has.shape[1], nothing))

    def put(self, here, other, there):
        """Let some neurons be where neurons of another point are."""
        for name in (*OF_INPUTS, *OF_ROWS):
            own, others = getattr(self, name), getattr(other, name)
            room = min(own.shape[1], others.shape[1])
            own[here, :room] = others[there, :room]
        for name in OF_NEURONS:
            getattr(self, name)[here] = getattr(other, name)[there]

    def part(self, neurons):
        """A point of some neurons only."""
        penalty = self.penalty[neurons][self.has_input[neurons]]
        part = Point(self.n_inputs[neurons], self.n_rows[neurons], penalty, self.leaky)
        part.put(slice(None), self, neurons)
        return part

    @property
    def leak_rate(self):
        """How much rows leak for their multiplier."""
        if not self.leaky:
            return np.zeros((len(self.square), 1))
        return self.has_row / self.multiplier[:, None]

    @property
    def leak(self):
        """What rows leak, as their multipliers say."""
        return self.leak_rate * self.row_multiplier if self.leaky else self.leak_rate

    @property
    def row_start(self):
        """Multipliers of rows, about as :meth:`centre` leaves them."""
        if not self.leaky:
            return self.row_multiplier
        return self.multiplier[:, None] * np.maximum(self.excess, 0)

    @property
    def whole_square(self):
        """What a neuron adds to the square of its ball."""
        return self.square + np.sum(self.leak**2, axis=1)

    def bounded(self, largest):
        """Whose multipliers are: where bounds cannot be met together, they grow without end."""
        of_rows = np.all(self.row_multiplier * self.has_row < largest, axis=1)
        return of_rows & (self.multiplier < largest)

    def stay(self, neurons):
        """Let some neurons not follow the multiplier."""
        for pull in (self.pull, self.pull_change, self.pull_rise):
            pull[neurons] = 0.0

    def centre(self, neurons, slope_of_rows, worth):
        """Move some neurons inside their bounds, near their weights and multipliers.

        Parameters
        ----------
        neurons : slice of length k
        slope_of_rows : ndarray of shape (k, room)
            What the multipliers of rows contribute to the slopes.
        worth : ndarray of shape (k,)
            Of the neurons, in the objective and the ball.
        """
        has_row, penalty = self.has_row[neurons], self.penalty[neurons]
        n_inputs, n_rows = self.n_inputs[neurons], self.n_rows[neurons]
        slope = self.multiplier[neurons, None] * self.gradient[neurons] + slope_of_rows
        complementarity = worth * np.clip(BARRIER_OF_SLOPES * self._off(neurons, slope), *BARRIERS)
        barrier = (complementarity / (2 * n_inputs + n_rows))[:, None]
        split = _split(penalty, self.weights[neurons], slope, barrier)
        self.p[neurons], self.q[neurons], self.slope[neurons] = split
        excess = has_row * self.excess[neurons]
        if self.leaky:
            slack, multiplier = _open(excess, barrier, self.multiplier[neurons, None])
        else:
            scale = np.einsum("ij,ij->i", excess, excess) / np.maximum(n_rows, 1)
            scale = np.sqrt(scale)[:, None]
            slack, multiplier = _slacken(excess, self.row_multiplier[neurons], barrier, scale)
        self.slack[neurons] = np.where(has_row, slack, 1.0)
        self.row_multiplier[neurons] = np.where(has_row, multiplier, 1.0)
        self.settled_at[neurons] = np.nan

    def _off(self, neurons, slope):
        """What slopes exceed their penalties by: the root of the mean square, relative."""
        beyond = np.maximum(np.abs(slope) / self.reach[neurons] - 1, 0) * self.has_input[neurons]
        return np.sqrt(np.einsum("ij,ij->i", beyond, beyond) / self.n_inputs[neurons])

    @property
    def support(self):
        """Which weights are not zero: larger, relative to the mean, than their slope has room."""
        size = np.maximum(self.p, self.q) * self.penalty
        mean = size.sum(axis=1) / self.n_inputs
        room = 1 - np.abs(self.slope) / self.reach
        return self.free | (size > SUPPORT * mean[:, None] * room)


def _with_room(array, room, nothing):
    """An array with so many columns, of which new ones hold `nothing`."""
    n_neurons, before = array.shape
    if room == before:
        return array
    wider = np.full((n_neurons, room), nothing)
    wider[:, :before] = array
    return wider


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


def _slacken(excess, multiplier, barrier, scale):
    """Slack and multipliers of rows: a wide slack is soon narrowed, a narrow one stops steps."""
    scale = np.maximum(scale, np.finfo(np.float32).eps * (scale.max() or 1.0))
    binding = multiplier > 0
    central = barrier / np.where(binding, multiplier, 1.0)
    slack = np.maximum(-excess, scale)
    slack = np.where(binding, np.clip(central, 1e-3 * scale, scale), slack)
    return slack, np.where(binding, np.maximum(multiplier, barrier / scale), barrier / slack)


def _open(excess, barrier, ball_multiplier):
    """Slack and multipliers of rows that may leak, where they go with what these exceed."""
    product = barrier / ball_multiplier
    # Leak and slack differ by the excess; the smaller as the larger says loses no digits.
    larger = (np.abs(excess) + np.sqrt(excess * excess + 4 * product)) / 2
    smaller = product / larger
    leaks = excess > 0
    slack, leak = np.where(leaks, smaller, larger), np.where(leaks, larger, smaller)
    return slack, ball_multiplier * leak

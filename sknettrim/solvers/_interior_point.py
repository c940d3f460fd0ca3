"""Interior-point method for neurons that are cut down to few inputs and rows.

With weights split into two parts that are not negative, the program is one of linear constraints
and one ball. The ball couples neurons through a single number, its multiplier: where that is
given, each neuron is a program of its own. Neurons of about the same size are solved together,
as Python takes longer to ask for a small system than a core to solve it.
"""

from functools import reduce

import numpy as np

from ._newton_system import NewtonSystem, fast_order

# The least complementarity that is aimed at, relative to the goal and to what a neuron is worth.
LEAST_BARRIER = 0.3
# Relative to the goal, what a neuron may miss of dual feasibility before its last step.
SETTLED = 10.0
# Complementarity that a first step aims at, relative to where it starts, and the least later.
FIRST_REDUCTION = 0.2
LEAST_REDUCTION = 0.05
# Relative growth of what is positive in the last step, at most: directions are those of its start.
DRIFT = 0.5
# Relative change of the multiplier that neurons may follow to first order.
NEARBY = 0.003
# Share of the way to the boundary.
DAMPING = 0.97


class Batch:
    """Some neurons, in arrays with room for the largest of them.

    Places that a neuron does not need have no influence: inputs without a penalty, a gradient or
    normals, and rows without normals.

    Parameters
    ----------
    neurons : list of Neuron
        They are changed by :meth:`store` only.
    multiplier : float, default=nan
        Of the ball, of neurons that are not solved, but only follow it.
    """

    def __init__(self, neurons, multiplier=np.nan):
        self.neurons = neurons
        self.multiplier = np.full(len(neurons), multiplier)
        of_inputs = _padded([n.of_inputs for n in neurons], [0, 0, 0, 1, 1, 0, 0, 0])
        of_rows = _padded([n.of_rows for n in neurons], [-1, 1, 1, 0])
        n_inputs, n_rows = np.array([[len(n.inputs), len(n.rows)] for n in neurons]).T
        self.penalty, self.gradient, self.weights, self.p, self.q, self.slope = of_inputs[:6]
        self.pull, self.pull_change = of_inputs[6:]
        self.excess, self.slack, self.row_multiplier, self.pull_rise = of_rows
        self._of_inputs, self._of_rows = of_inputs, of_rows
        self.square = np.array([neuron.square for neuron in neurons])
        self.settled_at = np.array([neuron.settled_at for neuron in neurons])
        self.has_input = np.arange(of_inputs.shape[2]) < n_inputs[:, None]
        self.has_row = np.arange(of_rows.shape[2]) < n_rows[:, None]
        self.free = self.penalty == 0
        bound = np.count_nonzero(~self.free, axis=1)
        mean = self.penalty.sum(axis=1) / np.maximum(bound, 1)
        # What is free has no multiplier, but a residual.
        self.reach = np.where(self.free, mean[:, None], self.penalty)
        self.count = 2 * bound + n_rows
        self.system = None

    def store(self):
        """Let the neurons have what they are at."""
        for i, neuron in enumerate(self.neurons):
            neuron.of_inputs[...] = self._of_inputs[:, i, : len(neuron.inputs)]
            neuron.of_rows[...] = self._of_rows[:, i, : len(neuron.rows)]
            neuron.square, neuron.settled_at = self.square[i], self.settled_at[i]

    def start(self, normals, gram, multiplier, *, epsilon=None, goal, least):
        """Begin a solve.

        Parameters
        ----------
        normals : ndarray of shape (k, n_rows, n_inputs)
            Of the rows; zero where there is nothing.
        gram : ndarray of shape (k, n_inputs, n_inputs)
            Over the rows that the ball charges.
        multiplier : ndarray of shape (k,)
            Of half the square of the ball, to start from.
        epsilon : ndarray of shape (k,), default=None
            Radius of each neuron's own ball, where it has one.
        goal : float
            Relative accuracy of the conditions of optimality.
        least : ndarray of shape (k,)
            Complementarity that is small enough.
        """
        self.system, self.multiplier, self.epsilon = (
            NewtonSystem(normals, gram),
            multiplier,
            epsilon,
        )
        self.goal, self.least = goal, least
        self.reduction = np.full(len(self.neurons), FIRST_REDUCTION)
        self.settled_at[:] = np.nan

    # Where numbers run out of range, the ball tells, and the proof would.
    @np.errstate(all="ignore")
    def direct(self):
        """Find the directions of the next step."""
        products = self._products()
        settled = np.isfinite(self.settled_at)
        if not self.system:
            self._linearise(*products)
            return
        complementarity = sum(product.sum(axis=1) for product in products)
        barrier = np.maximum(self.reduction * complementarity, self.least) / self.count
        self.central = complementarity <= 2 * self.least
        aims = (np.where(settled[:, None], own, barrier[:, None]) for own in products)
        self._linearise(*aims)
        self.residual = np.zeros(len(self.neurons))
        # The last steps take the digits that single precision has not: half as many at a time, for
        # the same memory.
        parts = (None, ~self.central, 1), (np.float64, self.central, 2)
        for precision, some, n_parts in parts:
            for todo in np.array_split(np.flatnonzero(some & ~settled), n_parts):
                if len(todo):
                    self._solve(todo, precision)

    @np.errstate(all="ignore")
    def advance(self, move, met=True):
        """Go along the directions while the multiplier moves; what has settled follows it.

        Parameters
        ----------
        move : float or ndarray of shape (k,)
            Of the multiplier.
        met : bool or ndarray of shape (k,), default=True
            Whether the ball was met before.
        """
        settled = np.isfinite(self.settled_at)
        length, drift = self._step_all(move)
        near = np.abs(self.multiplier + move - self.settled_at) <= NEARBY * self.multiplier
        follows = settled & (length == 1) & near
        self.settled_at = np.where(follows, self.settled_at, np.nan)
        if self.system:
            self.reduction = np.clip((1 - length) ** 2, LEAST_REDUCTION, 0.8)
            settles = (length == 1) & (drift <= DRIFT) & ~settled
            settles &= self.central & (self.residual <= SETTLED * self.goal) & met
            self.settled_at = np.where(settles, self.multiplier + move, self.settled_at)
        else:
            # Step by step what is positive would vanish: who cannot follow stays.
            for pull in (self.pull, self.pull_change, self.pull_rise):
                pull[length < 1] = 0.0
        self.multiplier = self.multiplier + move

    def own_move(self):
        """Move of the multipliers of the neurons' own balls, and whether these are met."""
        if self.epsilon is None:
            return 0.0, True
        met = ball_error(self.square, self.epsilon) <= self.goal
        return next_move(*self.ball(), self.epsilon, self.multiplier), met

    def ball(self):
        """The square of the ball after a step, as a quadratic function of the multiplier's move.

        Returns
        -------
        square, slope, curvature : ndarray of shape (k,)
            Of ``square - 2 slope move + curvature move^2``, for each neuron.
        """
        return (
            self.square + np.sum((2 * self.gradient + self.change) * self.step, axis=1),
            np.sum((self.gradient + self.change) * self.pull, axis=1),
            np.sum(self.pull_change * self.pull, axis=1),
        )

    def _products(self):
        """Of what is positive and its multipliers: p, q and rows. Free weights have none."""
        p, q = self.p * (self.reach + self.slope), self.q * (self.reach - self.slope)
        p[self.free] = q[self.free] = 0.0
        return p, q, self.slack * self.row_multiplier * self.has_row

    def _linearise(self, of_p, of_q, of_rows):
        """The Newton system that leads to such products, but for what takes matrices."""
        up, down = self.reach + self.slope, self.reach - self.slope
        self.stiffness = 1 / (self.p / up + self.q / down)
        self.shift = of_p / up - of_q / down - self.weights
        self.stiffness[self.free] = self.shift[self.free] = 0.0
        self.stiffness[~self.has_input] = 1.0
        self.p_aim, self.q_aim = of_p, of_q
        self.row_stiffness = self.row_multiplier / self.slack
        of_rows = np.where(self.has_row, of_rows, 1.0)
        self.row_force = of_rows / self.slack + self.row_stiffness * (self.excess + self.slack)
        self.step, self.change = np.zeros_like(self.weights), np.zeros_like(self.weights)
        self.rise = np.zeros_like(self.slack)

    def _solve(self, todo, precision):
        """Newton directions of some neurons, and their part in a move of the multiplier."""
        system, multiplier = self.system.part(todo), self.multiplier[todo]
        stiffness, gradient = self.stiffness[todo], self.gradient[todo]
        pulled = multiplier[:, None] * gradient
        forces = np.stack([self.row_force[todo], self.row_multiplier[todo]], axis=1)
        force, slope = system.combine(forces)
        missing = np.abs(slope + pulled - self.slope[todo])
        self.residual[todo] = np.max(missing / self.reach[todo], axis=1)
        right = self.slope[todo] + stiffness * self.shift[todo] - pulled - force
        (
            (self.step[todo], self.pull[todo]),
            (self.change[todo], self.pull_change[todo]),
            (self.rise[todo], self.pull_rise[todo]),
        ) = system.solve(
            multiplier,
            stiffness,
            self.row_stiffness[todo],
            np.stack([right, gradient], axis=1),
            precision,
        )

    def _step_all(self, move):
        """Let every neuron step as far as it may.

        Returns how far that is, and the largest relative growth of what is positive.
        """
        move = np.reshape(move, (-1, 1))
        step, change = self.step - move * self.pull, self.change - move * self.pull_change
        rise = self.rise - move * self.pull_rise
        up, down = self.reach + self.slope, self.reach - self.slope
        dslope = self.stiffness * (self.shift - step)
        dp = (self.p_aim - self.p * dslope) / up - self.p
        dq = (self.q_aim + self.q * dslope) / down - self.q
        dp[self.free] = dq[self.free] = 0.0
        dslack = -(self.excess + self.slack) - rise
        drow = self.row_force + self.row_stiffness * rise - self.row_multiplier
        relative = [
            np.where(self.free, 0.0, direction / value)
            for direction, value in ((dp, self.p), (dq, self.q), (dslope, up), (-dslope, down))
        ]
        relative += [dslack / self.slack, drow / self.row_multiplier]
        fastest = reduce(np.maximum, (np.max(-r, axis=1, initial=1e-9) for r in relative))
        drift = reduce(np.maximum, (np.max(r, axis=1, initial=0.0) for r in relative))
        length = np.minimum(1.0, DAMPING / fastest)
        linear = np.sum(self.gradient * step, axis=1)
        quadratic = np.sum(step * change, axis=1)
        self.square += length * (2 * linear + length * quadratic)
        for value, direction in (
            (self.weights, step),
            (self.gradient, change),
            (self.p, dp),
            (self.q, dq),
            (self.slope, dslope),
            (self.excess, rise),
            (self.slack, dslack),
            (self.row_multiplier, drow),
        ):
            value += length[:, None] * direction
        return length, drift


def solve(batches, *, epsilon=None, goal, max_iter, workers=None):
    """Newton steps until all neurons that have a system have settled.

    Parameters
    ----------
    batches : list of Batch
        Started, or of settled neurons that only follow.
    epsilon : float, default=None
        Radius of the ball that all share; without it, multipliers are given, or each neuron has
        a ball of its own.
    goal : float
        Relative accuracy.
    max_iter : int
    workers : Workers, default=None
        Whose threads to use.

    Returns
    -------
    n_iter : int
    """
    for n_iter in range(1, max_iter + 1):
        list((workers.map if workers else map)(Batch.direct, batches))
        if epsilon is None:
            for batch in batches:
                batch.advance(*batch.own_move())
            done = True
        else:
            square = sum(batch.square.sum() for batch in batches)
            done = ball_error(square, epsilon) <= goal
            move = shared_move(batches, epsilon)
            for batch in batches:
                batch.advance(move)
        if done and all(np.isfinite(b.settled_at).all() for b in batches if b.system):
            return n_iter
    return max_iter


def shared_move(batches, epsilon):
    """Move of the multiplier of a ball that neurons share, once they have directions."""
    ball = np.sum([np.sum(batch.ball(), axis=1) for batch in batches], axis=0)
    return next_move(*ball, epsilon, batches[0].multiplier[0])


def next_move(square, slope, curvature, epsilon, multiplier):
    """How to move the multiplier of the ball so that the next step leads to its boundary.

    A linear model would not do: far outside, steps are long beside the ball.

    Parameters
    ----------
    square, slope, curvature : float or ndarray
        Of ``square - 2 slope move + curvature move^2``.
    epsilon, multiplier : float or ndarray
    """
    missing = square - epsilon**2
    # The smaller root.
    root = np.sqrt(np.maximum(slope**2 - curvature * missing, 0.0))
    move = missing / np.where(slope + root > 0, slope + root, np.inf)
    return np.clip(move, -0.5 * multiplier, multiplier)


def ball_error(square, epsilon):
    """Relative error of the radius."""
    return np.abs(np.sqrt(np.maximum(square, 0.0)) / epsilon - 1)


def _padded(arrays, pads):
    """Arrays of shape (n, size) as one, of shape (n, n_arrays, largest size)."""
    result = np.empty((len(pads), len(arrays), fast_order(max(array.shape[1] for array in arrays))))
    result[...] = np.reshape(pads, (-1, 1, 1))
    for i, array in enumerate(arrays):
        result[:, i, : array.shape[1]] = array
    return result

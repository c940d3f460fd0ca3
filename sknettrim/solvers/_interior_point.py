"""Interior-point method for strict layers that are cut down to few inputs and rows per neuron.

With weights split into two parts that are not negative, the program is one of linear constraints
and one ball. The ball couples the neurons through a single number, its multiplier: a Newton step
takes a small linear system for each neuron, and one division.
"""

from functools import reduce

import numpy as np

from ._lapack import multiply_symmetric, solve_positive

# The least complementarity that is aimed at, relative to the goal and to what a neuron is worth.
LEAST_BARRIER = 0.3
# Relative to the goal, what a neuron may miss of dual feasibility before its last step.
SETTLED = 10.0
# Relative change of the multiplier that a settled neuron follows to first order.
NEARBY = 0.001
# The least part of the complementarity that one step aims at.
LEAST_REDUCTION = 0.05
# Share of the way to the boundary.
DAMPING = 0.97
# Relative error of the ball from which a start was no good, as where scales are far apart.
FAR = 30.0


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
        self.penalty, self.gradient, self.weights, self.p, self.q, self.slope = of_inputs[:6]
        self.excess, self.slack, self.row_multiplier = of_rows[:3]
        self.pull, self.pull_change, self.pull_rise = of_inputs[6], of_inputs[7], of_rows[3]
        self.free = self.penalty == 0
        # What is free has no multiplier, but a residual.
        self.reach = np.where(self.free, self.penalty.mean(), self.penalty)
        self.squares = np.array([neuron.square for neuron in neurons])
        worth = np.array([neuron.worth for neuron in neurons])
        self.worth = worth / worth.sum()
        self.count = 2 * self._sum_inputs(~self.free) + self._sum_rows(np.ones(len(self.slack)))

        self.settled_at = np.array([neuron.settled_at for neuron in neurons])
        self.residual = np.where(np.isfinite(self.settled_at), 0.0, np.inf)
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
            if not error <= FAR:
                return n_iter, error
            feasible = self.residual.max() <= SETTLED * goal
            if complementarity <= goal and error <= goal and feasible:
                break
        for neuron, *state in zip(self.neurons, self.squares, self.settled_at, strict=True):
            neuron.square, neuron.settled_at = state
        return n_iter, error

    # Where numbers run out of range, the ball tells, and the proof would.
    @np.errstate(all="ignore")
    def _step(self, goal):
        """One Newton step; returns relative complementarity and error of the ball before it."""
        self.aims = self._products()
        of_p, of_q, of_rows = self.aims
        complementarity = self._sum_inputs(of_p + of_q) + self._sum_rows(of_rows)
        objective = np.dot(self.penalty, self.p + self.q)
        least = LEAST_BARRIER * goal * objective * self.worth
        barrier = np.maximum(self.reduction * complementarity, least) / self.count
        self.central = central = complementarity <= 2 * least
        settled = central & (np.abs(self.settled_at - self.multiplier) <= NEARBY * self.multiplier)
        self._aim(barrier, settled)
        self._linearise()
        self.workers.map(self._direct, [share[~settled[share]] for share in self.shares])

        move, error = self._move_multiplier(), self._ball_error()
        length = self._turn(move)
        settles = (length == 1) & central & (settled | (self.residual <= SETTLED * goal))
        at = np.where(settled, self.settled_at, self.multiplier)
        self.settled_at = np.where(settles, at, np.nan)
        self.reduction = np.clip((1 - length) ** 2, LEAST_REDUCTION, 0.8)
        self._advance(length)
        self.multiplier = self.multiplier + move
        return complementarity.sum() / objective, error

    def _products(self):
        """Of what is positive and its multipliers: p, q and rows. Free weights have none."""
        p, q = self.p * (self.reach + self.slope), self.q * (self.reach - self.slope)
        p[self.free] = q[self.free] = 0.0
        return p, q, self.slack * self.row_multiplier

    def _aim(self, barrier, settled):
        """Let products become the barrier, but in neurons that have settled."""
        owners = self.input_owner, self.input_owner, self.row_owner
        for product, owner in zip(self.aims, owners, strict=True):
            np.copyto(product, barrier[owner], where=~settled[owner])

    def _linearise(self):
        """The Newton system, but for what takes matrices."""
        up, down = self.reach + self.slope, self.reach - self.slope
        self.stiffness = 1 / (self.p / up + self.q / down)
        self.shift = self.aims[0] / up - self.aims[1] / down - self.weights
        self.stiffness[self.free] = self.shift[self.free] = 0.0
        self.force = self.slope + self.stiffness * self.shift
        self.force -= self._of_input(self.multiplier) * self.gradient
        self.row_stiffness = self.row_multiplier / self.slack
        self.row_force = self.aims[2] / self.slack
        self.row_force += self.row_stiffness * (self.excess + self.slack)
        self.step, self.change = np.zeros_like(self.weights), np.zeros_like(self.weights)
        self.rise = np.zeros_like(self.slack)

    def _turn(self, move):
        """Directions of everything, with that of the multiplier; returns how far they lead."""
        self.step -= self._of_input(move) * self.pull
        self.change -= self._of_input(move) * self.pull_change
        self.rise -= self._of_row(move) * self.pull_rise
        up, down = self.reach + self.slope, self.reach - self.slope
        self.dslope = self.stiffness * (self.shift - self.step)
        # In place: these are the largest arrays beside the matrices.
        self.dp, self.dq, _ = self.aims
        for direction, value, sign, room in ((self.dp, self.p, -1, up), (self.dq, self.q, 1, down)):
            direction += sign * value * self.dslope
            direction /= room
            direction -= value
            direction[self.free] = 0.0
        self.dslack = -(self.excess + self.slack) - self.rise
        self.drow = self.row_force + self.row_stiffness * self.rise - self.row_multiplier
        return self._length(
            ((self.dp, self.p), (self.dq, self.q), (self.dslope, up), (-self.dslope, down)),
            ((self.dslack, self.slack), (self.drow, self.row_multiplier)),
        )

    def _advance(self, length):
        """Go so far, each neuron its own way."""
        linear = self._sum_inputs(self.gradient * self.step)
        quadratic = self._sum_inputs(self.step * self.change)
        self.squares += length * (2 * linear + length * quadratic)
        of_input, of_row = length[self.input_owner], length[self.row_owner]
        for value, direction, share in (
            (self.weights, self.step, of_input),
            (self.gradient, self.change, of_input),
            (self.p, self.dp, of_input),
            (self.q, self.dq, of_input),
            (self.slope, self.dslope, of_input),
            (self.excess, self.rise, of_row),
            (self.slack, self.dslack, of_row),
            (self.row_multiplier, self.drow, of_row),
        ):
            value += share * direction

    @np.errstate(all="ignore")
    def _direct(self, share):
        """Newton directions of the weights, and their part in a change of the multiplier."""
        for j in share:
            neuron, inputs, rows = self.neurons[j], self.inputs[j], self.rows[j]
            normals = neuron.normals
            multiplier = self.multiplier[j] if self.separate else self.multiplier
            forces = np.stack([self.row_force[rows], self.row_multiplier[rows]])
            force, slope = forces @ normals
            slope += multiplier * self.gradient[inputs] - self.slope[inputs]
            self.residual[j] = np.max(np.abs(slope) / self.reach[inputs])
            right = np.stack([self.force[inputs] - force, self.gradient[inputs]])
            gram = neuron.gram
            # The last steps take the digits that single precision has not.
            precision = np.float64 if self.central[j] else gram.dtype
            direction = _solve(
                np.multiply(gram, multiplier, dtype=precision),
                self.stiffness[inputs],
                normals,
                self.row_stiffness[rows],
                right,
            )
            self.step[inputs], self.pull[inputs] = direction
            direction = direction.astype(gram.dtype)
            self.change[inputs], self.pull_change[inputs] = multiply_symmetric(gram, direction)
            self.rise[rows], self.pull_rise[rows] = direction @ normals.T

    def _move_multiplier(self):
        """The change of the multiplier with which a step of full length leads to the ball.

        A linear model would not do: far outside, steps are long beside the ball.
        """
        square, slope, curvature = (
            sums if self.separate else sums.sum()
            for sums in (
                self.squares + self._sum_inputs((2 * self.gradient + self.change) * self.step),
                self._sum_inputs((self.gradient + self.change) * self.pull),
                self._sum_inputs(self.pull_change * self.pull),
            )
        )
        # The smaller root of square - 2 slope move + curvature move^2 = epsilon^2.
        missing = square - self.epsilon**2
        root = np.sqrt(np.maximum(slope**2 - curvature * missing, 0.0))
        move = missing / np.where(slope + root > 0, slope + root, np.inf)
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


def _solve(matrix, stiffness, normals, row_stiffness, right):
    """``right (matrix + diag(stiffness) + normals' diag(row_stiffness) normals)^-1``.

    In the precision of the upper triangle `matrix`, or in double where digits are missing.
    """
    for dtype in (matrix.dtype, np.dtype(np.float64)):
        weighted = normals * np.sqrt(row_stiffness).astype(dtype)[:, None]
        # Like LAPACK's, a matrix of columns.
        total = (weighted.T @ weighted).T
        total += matrix
        np.einsum("ii->i", total)[...] += stiffness
        solution = right.astype(dtype)
        if solve_positive(total, solution):
            return solution
    return np.zeros_like(right)


def _owners(sizes):
    """Slices of a flat array for each neuron, and the neuron of each of its elements."""
    ends = np.cumsum(sizes)
    slices = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    return slices, np.repeat(np.arange(len(sizes)), sizes)

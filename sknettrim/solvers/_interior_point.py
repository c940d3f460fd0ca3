"""Interior-point method for neurons that are cut down to few inputs and rows.

With weights split into two parts that are not negative, the program is one of linear constraints
and one ball. The ball couples neurons through a single number, its multiplier: where that is
given, each neuron is a program of its own. Neurons of about the same size have their matrices
side by side, as Python takes longer to ask for a small system than a core to solve it; and what
is elementwise is done for all neurons at once, as threads that ask for little wait for each other.
"""

from functools import reduce

import numpy as np
from sklearn.utils import gen_batches

from ._ball import ball_error, step_to_the_ball

# The least complementarity that is aimed at, relative to the goal and to what a neuron is worth:
# where neurons share a ball, and where each has to be proven.
LEAST_BARRIER = 0.3
LEAST_BARRIER_ALONE = 0.1
# Relative to the goal, what a neuron may miss of dual feasibility before its last step.
SETTLED = 10.0
# Complementarity that a first step aims at, relative to where it starts, and the least later.
FIRST_REDUCTION = 0.2
LEAST_REDUCTION = 0.05
# Relative growth of what is positive in the last step, at most: directions are those of its start.
DRIFT = 0.5
# Share of the way to the boundary.
DAMPING = 0.97
# Neurons that follow a multiplier at a time.
FOLLOWING = 32


def solve(point, systems, *, epsilon=None, goal, least, max_iter, workers):
    """Newton steps until all neurons that have a system have settled.

    Parameters
    ----------
    point : Point
        Where to begin; it moves.
    systems : list of NewtonSystem
        Of the neurons to solve.
    epsilon : float or ndarray of shape (m,), default=None
        Radius of the ball that all neurons share, or of each neuron's own; without it,
        multipliers are given. Neurons without a system follow the multiplier.
    goal : float
        Relative accuracy of the conditions of optimality.
    least : ndarray of shape (m,)
        Complementarity of each neuron that is small enough.
    max_iter : int
    workers : Workers
        Whose threads to use.

    Returns
    -------
    n_iter : int
    """
    steps = Steps(point, systems, epsilon=epsilon, goal=goal, least=least)
    for n_iter in range(1, max_iter + 1):
        steps.linearise()
        workers.map(steps.direct, systems)
        if steps.advance(*steps.next_move()):
            return n_iter
    return max_iter


def follow(point, epsilon):
    """Move the multiplier to where a ball that all share is met, and with it what has settled."""
    # A step takes several times the memory of the point.
    batches = list(gen_batches(len(point.square), FOLLOWING))
    balls = [Steps(point.part(some), []).linearise().ball() for some in batches]
    ball = np.concatenate(balls, axis=1).sum(axis=1)
    move = next_move(*ball, epsilon, point.multiplier[0])
    for some in batches:
        part = point.part(some)
        Steps(part, []).linearise().advance(move, met=True)
        point.put(some, part, slice(None))


class Steps:
    """Newton steps from a point; parameters are those of :func:`solve`."""

    def __init__(self, point, systems, *, epsilon=None, goal=np.inf, least=0.0):
        self.point, self.epsilon, self.goal, self.least = point, epsilon, goal, least
        n_neurons = len(point.square)
        self.solved = np.zeros(n_neurons, dtype=bool)
        for system in systems:
            self.solved[system.neurons] = True
        self.shared = epsilon is not None and np.ndim(epsilon) == 0
        self.reduction = np.full(n_neurons, FIRST_REDUCTION)

    # Where numbers run out of range, the ball tells, and the proof would.
    @np.errstate(all="ignore")
    def linearise(self):
        """The Newton systems of the next step, but for what takes matrices."""
        point = self.point
        # What is settled, or cannot move, stays where it is until the multiplier moves it.
        self.todo = self.solved & np.isnan(point.settled_at)
        products = self._products()
        complementarity = sum(product.sum(axis=1) for product in products)
        barrier = np.maximum(self.reduction * complementarity, self.least) / point.count
        self.central = complementarity <= 2 * self.least
        todo = self.todo[:, None]
        self.p_aim, self.q_aim, of_rows = (
            np.where(todo, barrier[:, None], own) for own in products
        )
        up, down = point.reach + point.slope, point.reach - point.slope
        self.stiffness = 1 / (point.p / up + point.q / down)
        self.shift = self.p_aim / up - self.q_aim / down - point.weights
        self.stiffness[point.free] = self.shift[point.free] = 0.0
        self.stiffness[~point.has_input] = 1.0
        self.leak_rate, self.leak = point.leak_rate, point.leak
        # With a larger multiplier, the same multiplier of a row means that it leaks less.
        self.dearer = self.leak / point.multiplier[:, None]
        self.row_stiffness = 1 / (point.slack / point.row_multiplier + self.leak_rate)
        of_rows = np.where(point.has_row, of_rows, 1.0)
        missing = point.excess + point.slack + of_rows / point.row_multiplier
        self.row_force = self.row_stiffness * missing
        # Of what rows contribute to the slopes, until they have.
        self.missing = point.multiplier[:, None] * point.gradient - point.slope
        self.step, self.change = np.zeros_like(point.weights), np.zeros_like(point.weights)
        self.rise = np.zeros_like(point.slack)
        return self

    def _products(self):
        """Of what is positive and its multipliers: p, q and rows. Free weights have none."""
        point = self.point
        p = point.p * (point.reach + point.slope)
        q = point.q * (point.reach - point.slope)
        p[point.free] = q[point.free] = 0.0
        return p, q, point.slack * point.row_multiplier * point.has_row

    @np.errstate(all="ignore")
    def direct(self, system):
        """Find the directions of the neurons of a system, where they are not settled."""
        todo, central = self.todo[system.neurons], self.central[system.neurons]
        # The last steps take the digits that single precision has not: half as many at a time, for
        # the same memory.
        double = np.dtype(np.float64)
        for dtype, some, n_parts in ((system.gram.dtype, ~central, 1), (double, central, 2)):
            for part in np.array_split(np.flatnonzero(some & todo), n_parts):
                if len(part):
                    self._solve(system.part(part), dtype)

    def _solve(self, system, dtype):
        """Newton directions, and their part in a move of the multiplier."""
        point, (_, n_rows, n_inputs) = self.point, system.normals.shape
        # Of two index arrays, each element would be looked up.
        inputs, rows = (system.neurons, slice(n_inputs)), (system.neurons, slice(n_rows))
        forces = [self.row_force[rows], point.row_multiplier[rows]]
        if point.leaky:
            forces.append(self.row_stiffness[rows] * self.dearer[rows])
        force, slope, *rest = system.combine(np.stack(forces, axis=1, dtype=dtype)).swapaxes(0, 1)
        stiffness, gradient = self.stiffness[inputs], point.gradient[inputs]
        if point.leaky:
            gradient = gradient + rest[0]
        right = stiffness * self.shift[inputs] - self.missing[inputs] - force
        # With a given multiplier the pull matters at the end only.
        pulled = self.epsilon is not None or dtype == np.float64
        d, change, rise = system.solve(
            point.multiplier[system.neurons],
            stiffness,
            self.row_stiffness[rows],
            np.stack([right, gradient] if pulled else [right], axis=1),
            dtype,
        )
        self.missing[inputs] += slope
        self.step[inputs], self.change[inputs], self.rise[rows] = d[:, 0], change[:, 0], rise[:, 0]
        if pulled:
            point.pull[inputs], point.pull_change[inputs] = d[:, 1], change[:, 1]
            point.pull_rise[rows] = rise[:, 1]

    @np.errstate(all="ignore")
    def next_move(self):
        """How the multipliers move, and whether the balls were met before."""
        if self.epsilon is None:
            return 0.0, True
        point, ball, before = self.point, self.ball(), self.point.whole_square
        if self.shared:
            ball, before = ball.sum(axis=1), before.sum()
        met = ball_error(before, self.epsilon) <= self.goal
        multiplier = point.multiplier[0] if self.shared else point.multiplier
        return next_move(*ball, self.epsilon, multiplier), met

    def ball(self):
        """What neurons add to its square after a step, for a move of the multiplier.

        Returns
        -------
        square, slope, curvature : ndarray of shape (3, m)
            Of ``square - 2 slope move + curvature move^2``.
        """
        point = self.point
        square = point.square + np.sum((2 * point.gradient + self.change) * self.step, axis=1)
        slope = np.sum((point.gradient + self.change) * point.pull, axis=1)
        curvature = np.sum(point.pull_change * point.pull, axis=1)
        ball = np.array([square, slope, curvature])
        if point.leaky:
            rise, fall = self._row_step()
            leak = self.leak + self.leak_rate * rise
            pull = self.leak_rate * fall + self.dearer
            ball += [np.sum(part, axis=1) for part in (leak * leak, leak * pull, pull * pull)]
        return ball

    def _row_step(self):
        """By how much multipliers of rows rise in a step, and fall with that of the ball."""
        rise = self.row_force + self.row_stiffness * self.rise - self.point.row_multiplier
        return rise, self.row_stiffness * (self.point.pull_rise - self.dearer)

    @np.errstate(all="ignore")
    def advance(self, move, met):
        """Go along the directions while the multipliers move; what has settled follows them.

        Parameters
        ----------
        move : float or ndarray of shape (m,)
            Of the multipliers.
        met : bool or ndarray of shape (m,)
            Whether the ball was met before.

        Returns
        -------
        done : bool
        """
        point, todo = self.point, self.todo
        settled = np.isfinite(point.settled_at)
        length, drift = self._step_all(np.reshape(move, (-1, 1)))
        distance = np.abs(point.multiplier + move - point.settled_at)
        near = distance <= nearby(self.goal) * point.multiplier
        point.settled_at[~(settled & (length == 1) & near)] = np.nan
        self.reduction[todo] = np.clip((1 - length[todo]) ** 2, LEAST_REDUCTION, 0.8)
        residual = np.max(np.abs(self.missing) / point.reach, axis=1)
        settles = (length == 1) & (drift <= DRIFT) & todo
        settles &= self.central & (residual <= SETTLED * self.goal) & (met | self.shared)
        point.multiplier += move
        point.settled_at[settles] = point.multiplier[settles]
        # Step by step what is positive would vanish: who cannot follow stays.
        point.stay(~self.solved & (length < 1))
        return (not self.shared or met) and np.isfinite(point.settled_at[self.solved]).all()

    def _step_all(self, move):
        """Let every neuron step as far as it may.

        Returns how far that is, and the largest relative growth of what is positive.
        """
        point = self.point
        step, change = self.step - move * point.pull, self.change - move * point.pull_change
        rise = self.rise - move * point.pull_rise
        drow, fall = self._row_step()
        drow -= move * fall
        dleak = self.leak_rate * drow - move * self.dearer
        up, down = point.reach + point.slope, point.reach - point.slope
        dslope = self.stiffness * (self.shift - step)
        dp = (self.p_aim - point.p * dslope) / up - point.p
        dq = (self.q_aim + point.q * dslope) / down - point.q
        np.copyto(dp, 0.0, where=point.free)
        np.copyto(dq, 0.0, where=point.free)
        dslack = self.leak + dleak - (point.excess + point.slack) - rise
        rates = dp / point.p, dq / point.q, dslope / up, -dslope / down
        rates += dslack / point.slack, drow / point.row_multiplier
        fastest = reduce(np.minimum, (rate.min(axis=1, initial=-DAMPING) for rate in rates))
        drift = reduce(np.maximum, (rate.max(axis=1, initial=0.0) for rate in rates))
        length = -DAMPING / fastest
        linear = np.sum(point.gradient * step, axis=1)
        quadratic = np.sum(step * change, axis=1)
        point.square += length * (2 * linear + length * quadratic)
        for value, direction in (
            (point.weights, step),
            (point.gradient, change),
            (point.p, dp),
            (point.q, dq),
            (point.slope, dslope),
            (point.excess, rise),
            (point.slack, dslack),
            (point.row_multiplier, drow),
        ):
            value += length[:, None] * direction
        return length, drift


def next_move(square, slope, curvature, epsilon, multiplier):
    """How to move the multiplier of the ball so that the next step leads to its boundary.

    A linear model would not do: far outside, steps are long beside the ball.

    Parameters
    ----------
    square, slope, curvature : float or ndarray
        What :meth:`Steps.ball` returns, of all neurons or of each.
    epsilon, multiplier : float or ndarray
    """
    move = step_to_the_ball(square, slope, curvature, epsilon)
    return np.clip(move, -0.5 * multiplier, multiplier)


def nearby(goal):
    """Relative change of the multiplier that neurons may follow to first order.

    What that misses is of second order.
    """
    return np.sqrt(goal)

"""A layer with the few inputs and rows of each neuron that matter, and what it misses."""

import numpy as np

from .._columns import column_squares, or_one
from ._ball import ball_error
from ._batches import Batches
from ._interior_point import LEAST_BARRIER, LEAST_BARRIER_ALONE, follow, nearby, solve
from ._point import Point
from ._price import price
from ._selection import Selection

# What neurons may miss together and are not solved again, relative to the tolerance.
FORGIVEN = 0.25


class Reduced:
    """The layer, with the inputs and rows of each neuron that seem to matter.

    All in the units of the ADMM iterate that it starts from, which may be folded afterwards.
    """

    def __init__(self, iterate):
        self.iterate, self.active = iterate, iterate.problem.active
        self.leaky = not iterate.problem.strict
        self.penalty = np.broadcast_to(iterate.penalty, iterate.Z.shape)
        self.weights = iterate.Z.copy()
        self.epsilon = iterate.epsilon.astype(np.float64)
        self.separate = iterate.problem.per_neuron
        squares = self._squares(lambda rows: iterate.a[rows] * (self.active[rows] | self.leaky))
        # In double precision: the square of a penalty may be out of range of single precision.
        norms = iterate.rho_S.astype(np.float64) * np.sqrt(squares)
        multiplier = (norms if self.separate else np.linalg.norm(norms)) / or_one(self.epsilon)
        # A ball that is not touched yet tells no multiplier, but those of other neurons do.
        touched = multiplier[multiplier > 0]
        usual = np.median(touched) if len(touched) else 0.0
        self.multiplier = np.where(multiplier > 0, multiplier, usual)
        self.selection = Selection(iterate, self.penalty)
        places = self.selection.row_places
        self.row_multiplier = iterate.rho_S[places[1]] * iterate.a[places]
        self.complete = np.zeros(self.n_neurons, dtype=bool)

    def begin(self):
        """Where the present weights are."""
        self.target_squares = self._squares(lambda rows: self.iterate.target[rows])
        self.shift = self._shift()
        self._measure(self._exceed())
        places = self.selection.places
        self.point = Point(*self.selection.counts(), self.penalty[places], self.leaky)

    @property
    def n_neurons(self):
        """Of the layer."""
        return self.weights.shape[1]

    def solve(self, changed, goal, max_iter):
        """Solve the programs of some neurons, cut down to the chosen inputs and rows.

        They start around the present weights. Neurons that share a ball are solved together, if
        there is room for their matrices; else a first group, of neurons of all sizes, finds the
        multiplier of the ball from its share of it, or it is given where others have settled; and
        all follow it to where the ball is met. Who has no solution stays where it was. Returns the
        most steps that a neuron took, and the error of the ball, or the median of the balls':
        infinite without a solution.
        """
        self._appraise()
        self._renew(changed)
        point, others = self.point, self._others(changed)
        batches = Batches(self.iterate, *self.selection.counts())
        groups = batches.groups(changed)
        least = self._least(goal)
        together = len(groups) == 1 and batches.room_beside(groups[0], others)
        n_iter, given = 0, not together and len(others) > 0
        lost = np.zeros(self.n_neurons, dtype=bool)
        for group in groups:
            members, epsilon = np.concatenate(group), None
            if self.separate:
                epsilon = self.epsilon[members]
            elif not given:
                members = np.append(members, others)
                epsilon, given = self.epsilon * np.sqrt(self._share_of_ball(members)), True
            part = point.part(members)
            steps = solve(
                part,
                self._systems(part, members, group),
                epsilon=epsilon,
                goal=goal,
                least=least[members],
                max_iter=max_iter,
                workers=self.iterate.workers,
            )
            n_iter = max(n_iter, steps)
            found = part.bounded(np.sqrt(np.finfo(self.iterate.A.dtype).max))
            lost[members[~found]] = True
            point.put(members[found], part, found)
            if not self.separate:
                point.multiplier[:] = part.multiplier[0]
        if not (self.separate or together):
            follow(point, self.epsilon)
        point.settled_at[lost] = np.nan
        self.multiplier = point.multiplier.copy() if self.separate else point.multiplier[0]
        square = point.whole_square if self.separate else point.whole_square.sum()
        error = np.where(lost, np.inf, ball_error(square, self.epsilon))
        return n_iter, np.median(error) if self.separate else error.max()

    def _least(self, goal):
        """Complementarity that is small enough: of all together, or of each, to be proven alone."""
        if self.separate:
            return LEAST_BARRIER_ALONE * goal * self.worth
        return LEAST_BARRIER * goal * self.size * (self.worth / self.worth.sum())

    def _share_of_ball(self, neurons):
        """What some neurons take of the ball that all share; of one that is empty, theirs."""
        squares = self.whole_squares if self.whole_squares.any() else np.ones(self.n_neurons)
        return squares[neurons].sum() / squares.sum()

    def price(self, neurons):
        """Of a step of some neurons."""
        return price(*self.selection.counts()[:, neurons])

    def resting(self, neurons):
        """Which of some neurons are optimal for what is chosen of them, and miss nothing else."""
        return np.isfinite(self.point.settled_at[neurons]) & self.complete[neurons]

    def _appraise(self):
        """What neurons are worth in the objective and the ball, and the objective."""
        size = np.einsum("ij,ij->j", np.abs(self.weights), self.penalty, dtype=np.float64)
        self.worth, self.size = size + self.multiplier * self.whole_squares, size.sum()

    def _renew(self, changed):
        """Room for what is chosen: some neurons with the present weights, others as they were."""
        point, places = self.point, self.selection.places
        point.resize(*self.selection.counts(), self.penalty[places])
        renewed = np.isin(np.arange(self.n_neurons), changed)
        inputs, rows = (has & renewed[:, None] for has in (point.has_input, point.has_row))
        of_inputs, of_rows = renewed[places[1]], renewed[self.selection.row_places[1]]
        point.weights[inputs] = self.weights[places][of_inputs]
        point.gradient[inputs] = self.gradient[places][of_inputs]
        point.excess[rows] = self.row_excess[of_rows]
        point.row_multiplier[rows] = self.row_multiplier[of_rows]
        point.square[:] = self.squares
        point.multiplier[renewed] = np.broadcast_to(self.multiplier, renewed.shape)[renewed]
        point.stay(renewed)

    def _others(self, changed):
        return np.setdiff1d(np.arange(self.n_neurons), changed)

    def _systems(self, point, members, batches):
        """The systems of batches of neurons, the first of a point, moved inside their bounds."""
        ends = np.cumsum([len(batch) for batch in batches])
        places = np.split(np.arange(ends[-1]), ends[:-1])
        systems = self.iterate.workers.map(self.selection.system, batches, places)
        slopes = np.zeros((ends[-1], point.weights.shape[1]))
        multipliers = (point.row_start * point.has_row).astype(self.iterate.A.dtype)
        for system in systems:
            n_rows, n_inputs = system.normals.shape[1:]
            sums = system.combine(multipliers[system.neurons, None, :n_rows])
            slopes[system.neurons, :n_inputs] = sums[:, 0]
        solved = slice(ends[-1])
        point.centre(solved, slopes, self.worth[members[solved]])
        return systems

    def _exceed(self):
        """What responses to the present weights exceed targets by; that of chosen rows apart."""
        iterate = self.iterate
        E = iterate.workers.products(iterate.A, self.weights)
        for rows in iterate.blocks:
            E[rows] -= iterate.target[rows]
        self.row_excess = E[self.selection.row_places]
        E[self.selection.row_places] = 0
        return E

    def _measure(self, E):
        """Keep what the ball has to do with responses."""

        def over(rows):
            deviation = E[rows] * self.selection.charged[rows]
            squares = column_squares(deviation, np.float64)
            return self.iterate.A[rows].T @ deviation, squares

        self.gradient, self.squares = self.iterate.workers.total(over, self.iterate.rows)
        self.row_leaks = self.selection.of_neurons(np.maximum(self.row_excess, 0) ** 2)
        self.whole_squares = self.squares + self.leaky * self.row_leaks

    def extend(self, tol, goal):
        """Let inputs and rows join that break the optimality conditions.

        Returns the neurons to solve again, and an estimate of the error that certificates tell.
        """
        self.weights[...] = 0
        self.weights[self.selection.places] = self.point.weights[self.point.has_input]
        unsupported = ~self.point.support[self.point.has_input]
        self.negligible = tuple(part[unsupported] for part in self.selection.places)
        E = self._exceed()
        self.selection.charge_less(E)
        self._measure(E)
        self.row_multiplier = self.point.row_multiplier[self.point.has_row]
        slopes, losses, sizes = self._slopes_and_losses()
        leaks = self._leaks(E)
        if self.leaky:
            losses, leaks = losses + self._losses_of(leaks, sizes), np.zeros_like(leaks)
        wrong = self._wrong(losses, sizes, leaks, FORGIVEN * tol)
        leaking = np.sqrt(leaks.sum() / self.target_squares.sum())
        error = max(losses.sum() / or_one(sizes.sum()), leaking)
        self._join(wrong, slopes, E)
        return self._unsolved(wrong, goal), error

    def _unsolved(self, wrong, goal):
        """Neurons that are wrong, have not settled, or did so at another multiplier."""
        distance = np.abs(self.point.settled_at - self.multiplier)
        near = distance <= nearby(goal) * self.multiplier
        unsolved = np.union1d(wrong, np.flatnonzero(~near))
        if self.separate or len(unsolved) == 0 or not self.complete.all():
            return unsolved
        # All that is missing is the multiplier: some neurons at a time would go around in circles.
        return np.arange(self.n_neurons)

    def _leaks(self, E):
        """Squares of what neurons leak, but for what the ball charges; E loses the rest."""
        for rows in self.iterate.blocks:
            E[rows] *= ~self.selection.charged[rows]
        leaks = self._squares(lambda rows: np.maximum(E[rows], 0))
        return leaks if self.leaky else leaks + self.row_leaks

    def _losses_of(self, leaks, sizes):
        """What leaks are worth that nothing has charged: their price, and a part of the ball."""
        size = sizes if self.separate else sizes.sum()
        return leaks * (2 * self.multiplier + size / (2 * or_one(self.epsilon) ** 2))

    def _wrong(self, losses, sizes, leaks, limit):
        """The fewest neurons without which losses and leaks of the others are within a limit."""
        if self.separate:
            outside = self.whole_squares > (self.epsilon + limit * or_one(self.epsilon)) ** 2
            leaking = leaks > limit**2 * self.target_squares
            return np.flatnonzero(outside | leaking | (losses > limit * sizes))
        losing = _worst(losses, limit * sizes.sum())
        return np.union1d(losing, _worst(leaks, limit**2 * self.target_squares.sum()))

    def _squares(self, of_rows):
        """Of the columns of what a function returns for rows, which takes no memory for all."""
        squares = np.zeros(self.n_neurons)
        for rows in self.iterate.blocks:
            part = of_rows(rows)
            squares += column_squares(part, np.float64)
        return squares

    def _join(self, neurons, slopes, E):
        """Let what some neurons miss join what is chosen; slopes and E are used up."""
        before, known = self.selection.counts(), self.selection.row_places
        charged = self.selection.extend(neurons, slopes, E)
        for j, rows in zip(neurons, charged, strict=True):
            self._charge(j, rows, E[rows, j])
        self.complete = np.all(self.selection.counts() == before, axis=0)
        E[known] = self.row_excess
        self.row_excess = E[self.selection.row_places]
        # The same array, which is as large as the responses.
        E[...] = 0
        E[known] = self.row_multiplier
        self.row_multiplier = E[self.selection.row_places]

    def _charge(self, j, rows, leaks):
        """Let the ball of a neuron measure what more rows leak."""
        self.gradient[:, j] += self.iterate.A[rows].T @ leaks
        self.squares[j] += leaks @ leaks
        self.whole_squares[j] += leaks @ leaks

    def _shift(self):
        """By how much slopes move with that of a free intercept, which proofs bring to zero.

        They add the same number to the multipliers of all active rows.
        """
        if self.iterate.problem.penalize_intercept:
            return 0.0
        A, active = self.iterate.A, self.active
        shift, *_ = self.iterate.workers.total(
            lambda rows: [A[rows].T @ active[rows].astype(A.dtype)], self.iterate.rows
        )
        return shift / shift[-1]

    def _slopes_and_losses(self):
        """Slopes of all weights relative to their penalties; gaps of neurons, and their norms."""
        slopes = self.gradient * np.asarray(self.multiplier, dtype=self.iterate.A.dtype)
        slopes += self.selection.over_rows(self.row_multiplier)
        slopes -= slopes[-1] * self.shift
        slack = self.selection.of_neurons(self.row_multiplier * self.row_excess)
        if self.leaky:
            # What multipliers say that rows leak fills the ball.
            slack = slack - self.selection.of_neurons(self.row_multiplier**2) / self.multiplier
        proven = slack - np.einsum("ij,ij->j", slopes, self.weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.abs(slopes, out=slopes)
            slopes /= self.penalty
        slopes[self.penalty == 0] = 0
        sizes = np.einsum("ij,ij->j", np.abs(self.weights), self.penalty)
        scale = 1 / np.maximum(slopes.max(axis=0), 1)
        losses = sizes - scale * proven
        if not self.separate:
            # Of columns that are not scaled alike the norm is larger.
            losses += 0.5 * self.multiplier * self.whole_squares * (1 - scale) ** 2
        return slopes, np.maximum(losses, 0.0), sizes

    def solution(self, n_iter):
        """The sparse weights, and the dual point, in the units of the problem."""
        weights = self.weights.astype(np.float64)
        weights[self.negligible] = 0
        Xi = self._exceed()
        for rows in self.iterate.blocks:
            Xi[rows] *= self.selection.charged[rows]
        Xi *= np.asarray(self.multiplier, dtype=Xi.dtype)
        Xi[self.selection.row_places] = self.row_multiplier
        return self.iterate.in_units(weights, Xi, n_iter)


def _worst(losses, limit):
    """The fewest neurons without which the losses, none below zero, add up to less than a limit."""
    worst_first = np.argsort(-losses)
    rest = np.cumsum(losses[worst_first][::-1])[::-1]
    return worst_first[: np.count_nonzero(rest > limit)]

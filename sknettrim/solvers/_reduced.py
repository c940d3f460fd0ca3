"""A layer with the few inputs and rows of each neuron that matter, and what it misses.

The ball charges rows where a neuron is active. Of the others, those are chosen whose bounds matter;
where rows may leak, the ball charges also some that certainly do, as if they always did.
"""

from itertools import chain

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ._batches import Batches
from ._interior_point import LEAST_BARRIER, ball_error, follow, nearby, solve
from ._newton_system import NewtonSystem, fast_order
from ._point import Point
from ._price import charges_leaks, numbers, price

# Inputs with a slope of this share of their penalty join where some exceed it.
NEAR = 0.98
# What neurons may miss together and are not solved again, relative to the tolerance.
FORGIVEN = 0.25
# Rows gathered at a time, to stay in a core's cache.
GATHERED = 512
# Neurons whose inputs and rows are chosen at a time.
CHOSEN = 32
# Of a Gram matrix's diagonal, added to it, in units of its precision.
RIDGE = 100
# Complementarity of a neuron's start, relative to what it is worth: of a new one, and of one that
# lacks nothing but the right multiplier.
FIRST_BARRIER = 0.02
LATER_BARRIER = 0.001


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
        self.charges_leaks = charges_leaks(iterate.problem)
        squares = self._squares(lambda rows: iterate.a[rows] * (self.active[rows] | self.leaky))
        # In double precision: the square of a penalty may be out of range of single precision.
        norms = iterate.rho_S.astype(np.float64) * np.sqrt(squares)
        multiplier = (norms if self.separate else np.linalg.norm(norms)) / self.epsilon
        # A ball that is not touched yet tells no multiplier, but those of other neurons do.
        touched = multiplier[multiplier > 0]
        usual = np.median(touched) if len(touched) else 0.0
        self.multiplier = np.where(multiplier > 0, multiplier, usual)
        self.chosen = self._choose()
        self._place()
        self.row_multiplier = iterate.rho_S[self.row_places[1]] * iterate.a[self.row_places]
        self.charged = self._charged() if self.charges_leaks else self.active
        self.complete = np.zeros(len(self.chosen), dtype=bool)

    def begin(self):
        """Where the present weights are."""
        self.target_squares = self._squares(lambda rows: self.iterate.target[rows])
        self.shift = self._shift()
        self._measure(self._exceed())
        self.point = Point(*self._counts(), self.penalty[self.places], self.leaky)

    def _choose(self):
        """The inputs and rows of neurons that ADMM would keep next, were its thresholds lower."""
        iterate, chosen = self.iterate, []
        n_inputs, n_rows = numbers(iterate)
        for some in gen_batches(len(n_inputs), CHOSEN):
            penalty = self.penalty[:, some]
            with np.errstate(divide="ignore", invalid="ignore"):
                strength = np.abs(iterate.Z[:, some] + iterate.b[:, some]) / penalty
            strength[penalty == 0] = np.inf
            height = iterate.S[:, some] + iterate.a[:, some] - iterate.target[:, some]
            height[self.active[:, some]] = -np.inf
            if self.charges_leaks:
                # Of many rows that leak, those are in doubt that hardly do.
                many = n_rows[some] < np.count_nonzero(height > 0, axis=0)
                height[:, many] = -np.abs(height[:, many])
            inputs = map(_largest, strength.T, n_inputs[some].astype(int))
            rows = map(_largest, height.T, n_rows[some].astype(int))
            chosen += zip(inputs, rows, strict=True)
        return chosen

    def _place(self):
        """Where what is chosen is in matrices of all inputs or rows, neuron by neuron."""
        self.places, self.row_places = (
            (np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
            for parts in zip(*self.chosen, strict=True)
        )

    def _charged(self):
        """Which rows the ball charges, or will if those leak that do now."""
        charged = self.active | (self.iterate.a > 0)
        charged[self.row_places] = False
        return charged

    def solve(self, changed, goal, max_iter):
        """Solve the programs of some neurons, cut down to the chosen inputs and rows.

        They start around the present weights. Neurons that share a ball are solved together, if
        there is room for their matrices; else a first group, of neurons of all sizes, finds the
        multiplier of the ball from its share of it, or it is given where others have settled; and
        all follow it to where the ball is met. Returns the most steps that a neuron took, and the
        error of the ball, or the median of the balls'.
        """
        self._appraise()
        self._renew(changed)
        point, others = self.point, self._others(changed)
        batches = Batches(self.iterate, *self._counts())
        groups = batches.groups(changed)
        least = LEAST_BARRIER * goal * self.size * (self.worth / self.worth.sum())
        together = len(groups) == 1 and batches.room_beside(groups[0], others)
        n_iter, given = 0, not together and len(others) > 0
        for group in groups:
            members, epsilon = np.concatenate(group), None
            if self.separate:
                epsilon = self.epsilon[members]
            elif not given:
                members = np.append(members, others)
                share = self.whole_squares[members].sum() / self.whole_squares.sum()
                epsilon, given = self.epsilon * np.sqrt(share), True
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
            point.put(members, part, slice(None))
            if not self.separate:
                point.multiplier[:] = part.multiplier[0]
        if not (self.separate or together):
            follow(point, self.epsilon)
        self.multiplier = point.multiplier.copy() if self.separate else point.multiplier[0]
        square = point.whole_square if self.separate else point.whole_square.sum()
        return n_iter, np.median(ball_error(square, self.epsilon))

    def price(self, neurons):
        """Of a step of some neurons."""
        return price(*self._counts()[:, neurons])

    def at_rest(self, neurons):
        """Whether all are optimal for what is chosen of them, and some miss nothing else."""
        return np.isfinite(self.point.settled_at).all() and self.complete[neurons].all()

    def _appraise(self):
        """What neurons are worth in the objective and the ball, and the objective."""
        size = np.einsum("ij,ij->j", np.abs(self.weights), self.penalty, dtype=np.float64)
        self.worth, self.size = size + self.multiplier * self.whole_squares, size.sum()

    def _renew(self, changed):
        """Room for what is chosen: some neurons with the present weights, others as they were."""
        point = self.point
        point.resize(*self._counts(), self.penalty[self.places])
        renewed = np.isin(np.arange(len(self.chosen)), changed)
        inputs, rows = (has & renewed[:, None] for has in (point.has_input, point.has_row))
        of_inputs, of_rows = renewed[self.places[1]], renewed[self.row_places[1]]
        point.weights[inputs] = self.weights[self.places][of_inputs]
        point.gradient[inputs] = self.gradient[self.places][of_inputs]
        point.excess[rows] = self.row_excess[of_rows]
        point.row_multiplier[rows] = self.row_multiplier[of_rows]
        point.square[:] = self.squares
        point.multiplier[renewed] = np.broadcast_to(self.multiplier, renewed.shape)[renewed]
        point.stay(renewed)

    def _others(self, changed):
        return np.setdiff1d(np.arange(len(self.chosen)), changed)

    def _counts(self):
        """Numbers of inputs and of rows of each neuron."""
        return np.array([[len(part) for part in parts] for parts in self.chosen]).T

    def _systems(self, point, members, batches):
        """The systems of batches of neurons, the first of a point, moved inside their bounds."""
        ends = np.cumsum([len(batch) for batch in batches])
        places = np.split(np.arange(ends[-1]), ends[:-1])
        systems = self.iterate.workers.map(self._cut_down, batches, places)
        slopes = np.zeros((ends[-1], point.weights.shape[1]))
        multipliers = (point.row_multiplier * point.has_row).astype(self.iterate.A.dtype)
        for system in systems:
            n_rows, n_inputs = system.normals.shape[1:]
            sums = system.combine(multipliers[system.neurons, None, :n_rows])
            slopes[system.neurons, :n_inputs] = sums[:, 0]
        solved = members[: ends[-1]]
        share = np.where(self.complete[solved], LATER_BARRIER, FIRST_BARRIER)
        point.centre(slice(ends[-1]), slopes, share * self.worth[solved])
        return systems

    def _cut_down(self, batch, places):
        """The systems of neurons with these places in a point."""
        A = self.iterate.A
        n_inputs, n_rows = (
            fast_order(max(len(self.chosen[j][axis]) for j in batch)) for axis in range(2)
        )
        normals = np.zeros((len(batch), n_rows, n_inputs), A.dtype)
        grams = np.zeros((len(batch), n_inputs, n_inputs), A.dtype)
        for normal, gram, j in zip(normals, grams, batch, strict=True):
            inputs, rows = self.chosen[j]
            normal[: len(rows), : len(inputs)] = A.take(rows, axis=0).take(inputs, axis=1)
            gram[: len(inputs), : len(inputs)] = self._gram(inputs, self.charged[:, j])
        np.einsum("kii->ki", grams)[...] *= 1 + RIDGE * np.finfo(grams.dtype).eps
        return NewtonSystem(places, normals, grams)

    def _gram(self, inputs, charged):
        """Gram matrix of some inputs over rows that are charged: from all rows, where most are."""
        # With more inputs than rows, ADMM has no such matrix over all of them.
        few = self.iterate.inverse.wide or 2 * np.count_nonzero(charged) < len(charged)
        rows = np.flatnonzero(charged if few else ~charged)
        gram = np.zeros((len(inputs), len(inputs)), dtype=self.iterate.A.dtype)
        for i in range(0, len(rows), GATHERED):
            part = self.iterate.A.take(rows[i : i + GATHERED], axis=0).take(inputs, axis=1)
            gram += part.T @ part
        if few:
            return gram
        return self.iterate.inverse.gram.take(inputs, axis=0).take(inputs, axis=1) - gram

    def _exceed(self):
        """What responses to the present weights exceed targets by; that of chosen rows apart."""
        iterate = self.iterate
        E = iterate.workers.products(iterate.A, self.weights)
        for rows in chain.from_iterable(iterate.rows):
            E[rows] -= iterate.target[rows]
        self.row_excess = E[self.row_places]
        E[self.row_places] = 0
        return E

    def _measure(self, E):
        """Keep what the ball has to do with responses."""

        def over(rows):
            deviation = E[rows] * self.charged[rows]
            squares = np.einsum("ij,ij->j", deviation, deviation, dtype=np.float64)
            return self.iterate.A[rows].T @ deviation, squares

        self.gradient, self.squares = self.iterate.workers.total(over, self.iterate.rows)
        self.row_leaks = self._of_neurons(np.maximum(self.row_excess, 0) ** 2)
        self.whole_squares = self.squares + self.leaky * self.row_leaks

    def _of_neurons(self, of_rows):
        """Sums over the chosen rows of each neuron."""
        return np.bincount(self.row_places[1], of_rows, minlength=len(self.chosen))

    def extend(self, tol, goal):
        """Let inputs and rows join that break the optimality conditions.

        Returns the neurons to solve again, and an estimate of the error that certificates tell.
        """
        self.weights[...] = 0
        self.weights[self.places] = self.point.weights[self.point.has_input]
        unsupported = ~self.point.support[self.point.has_input]
        self.negligible = tuple(part[unsupported] for part in self.places)
        E = self._exceed()
        if self.charges_leaks:
            self._charge_less(E)
        self._measure(E)
        self.row_multiplier = self.point.row_multiplier[self.point.has_row]
        slopes, losses, sizes = self._slopes_and_losses()
        leaks = self._leaks(E)
        if self.leaky:
            losses, leaks = losses + self._losses_of(leaks, sizes), np.zeros_like(leaks)
        wrong = self._wrong(losses, sizes, leaks, FORGIVEN * tol)
        error = max(losses.sum() / sizes.sum(), np.sqrt(leaks.sum() / self.target_squares.sum()))
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
        return np.arange(len(self.chosen))

    def _charge_less(self, E):
        """Charge no rows where a neuron is not active that do not leak."""
        for rows in chain.from_iterable(self.iterate.rows):
            self.charged[rows] &= self.active[rows] | (E[rows] > 0)

    def _leaks(self, E):
        """Squares of what neurons leak, but for what the ball charges; E loses the rest."""
        for rows in chain.from_iterable(self.iterate.rows):
            E[rows] *= ~self.charged[rows]
        leaks = self._squares(lambda rows: np.maximum(E[rows], 0))
        return leaks if self.leaky else leaks + self.row_leaks

    def _losses_of(self, leaks, sizes):
        """What leaks are worth that nothing has charged: their price, and a part of the ball."""
        size = sizes if self.separate else sizes.sum()
        return leaks * (2 * self.multiplier + size / (2 * self.epsilon**2))

    def _wrong(self, losses, sizes, leaks, limit):
        """The fewest neurons without which losses and leaks of the others are within a limit."""
        if self.separate:
            outside = self.whole_squares > ((1 + limit) * self.epsilon) ** 2
            leaking = leaks > limit**2 * self.target_squares
            return np.flatnonzero(outside | leaking | (losses > limit * sizes))
        losing = _worst(losses, limit * sizes.sum())
        return np.union1d(losing, _worst(leaks, limit**2 * self.target_squares.sum()))

    def _squares(self, of_rows):
        """Of the columns of what a function returns for rows, which takes no memory for all."""
        squares = np.zeros(self.weights.shape[1])
        for rows in chain.from_iterable(self.iterate.rows):
            part = of_rows(rows)
            squares += np.einsum("ij,ij->j", part, part, dtype=np.float64)
        return squares

    def _join(self, neurons, slopes, E):
        """Let what some neurons miss join what is chosen; slopes and E are used up."""
        slopes[self.places] = 0
        before = self._counts()
        for j in neurons:
            self.chosen[j] = self._extended(j, slopes[:, j], E[:, j])
        self.complete = np.all(self._counts() == before, axis=0)
        known = self.row_places
        self._place()
        E[known] = self.row_excess
        self.row_excess = E[self.row_places]
        # The same array, which is as large as the responses.
        E[...] = 0
        E[known] = self.row_multiplier
        self.row_multiplier = E[self.row_places]

    def _extended(self, j, slope, above):
        """What is chosen of a neuron, with the inputs and rows that it misses."""
        inputs, rows = self.chosen[j]
        steep = slope > (NEAR if slope.max() > 1 else np.inf)
        steepest = _largest(np.where(steep, slope, -np.inf), len(inputs) + 8)
        most = len(rows) // 2 + 16
        if self.charges_leaks and np.count_nonzero(above > 0) > most:
            self._charge_more(j, above, most)
        highest = _largest(np.where(above > 0, above, -np.inf), most)
        return np.union1d(inputs, steepest), np.union1d(rows, highest)

    def _charge_more(self, j, above, most):
        """Charge rows of a neuron that leak, but for so many that leak the least."""
        leaking = np.flatnonzero(above > 0)
        certain = leaking[np.argpartition(above[leaking], most)[most:]]
        leaks = above[certain]
        self.charged[certain, j] = True
        self.gradient[:, j] += self.iterate.A[certain].T @ leaks
        self.squares[j] += leaks @ leaks
        self.whole_squares[j] += leaks @ leaks
        above[certain] = 0

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
        slopes += self._over_chosen_rows(self.row_multiplier)
        slopes -= slopes[-1] * self.shift
        slack = self._of_neurons(self.row_multiplier * self.row_excess)
        if self.leaky:
            # What multipliers say that rows leak fills the ball.
            slack = slack - self._of_neurons(self.row_multiplier**2) / self.multiplier
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

    def _over_chosen_rows(self, of_rows):
        """Sums of chosen rows of the inputs."""
        A, (rows, neurons) = self.iterate.A, self.row_places
        of_rows = of_rows.astype(A.dtype)
        chosen = sparse.coo_array((of_rows, (neurons, rows)), shape=self.active.T.shape)
        return (chosen.tocsr() @ A).T

    def solution(self, n_iter):
        """The sparse weights, and the dual point, in the units of the problem."""
        weights = self.weights.astype(np.float64)
        weights[self.negligible] = 0
        Xi = self._exceed()
        for rows in chain.from_iterable(self.iterate.rows):
            Xi[rows] *= self.charged[rows]
        Xi *= np.asarray(self.multiplier, dtype=Xi.dtype)
        Xi[self.row_places] = self.row_multiplier
        return self.iterate.in_units(weights, Xi, n_iter)


def _worst(losses, limit):
    """The fewest neurons without which the losses, none below zero, add up to less than a limit."""
    worst_first = np.argsort(-losses)
    rest = np.cumsum(losses[worst_first][::-1])[::-1]
    return worst_first[: np.count_nonzero(rest > limit)]


def _largest(values, number):
    """Indices of the largest values above -inf, in order."""
    number = min(number, np.count_nonzero(values > -np.inf))
    if number == 0:
        return np.empty(0, dtype=np.intp)
    return np.sort(np.argpartition(-values, number - 1)[:number])

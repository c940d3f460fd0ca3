"""The end of a strict layer, on the few inputs and rows of each neuron that matter.

Where a neuron must stay off, few rows hold it back, and few inputs have weights: ADMM knows most
of them after some dozens of iterations, and takes hundreds for the last ones and for their
multipliers. An interior-point method solves the program that is left in a few steps; what that
program misses is found by one pass over the data, and joins it.
"""

from functools import partial

import numpy as np

from ._interior_point import LEAST_BARRIER, NEARBY, Batch, ball_error, shared_move, solve
from ._neuron import Neuron
from ._newton_system import fast_order
from ._price import BATCH, bytes_left, numbers

# Inputs with a slope of this share of their penalty join where some exceed it by TOO_STEEP.
NEAR = 0.98
TOO_STEEP = 5e-4
# Rows join that exceed their bound by this much of the mean response.
TOO_HIGH = 1e-4
MAX_ROUNDS = 6
MAX_STEPS = 25
# Relative error of the ball after a round, beyond which the rounds do not get anywhere.
OFF_TRACK = 0.5
# Rows gathered at a time, to stay in a core's cache.
GATHERED = 512
# The most neurons that are solved together; their numbers of inputs count in such units, so that
# those of rows can be alike, too.
MOST_NEURONS = 32
ALIKE = 16
# Of a Gram matrix's diagonal, added to it, in units of its precision.
RIDGE = 100
# Accuracy of what is left of the layer, relative to the tolerance: in the first round, which shows
# what is missing, and after it.
FIRST_GOAL = 0.3
GOAL = 0.05
# Complementarity of a neuron's start, relative to what it is worth: of a new one, and of one that
# lacks nothing but the right multiplier.
FIRST_BARRIER = 0.02
LATER_BARRIER = 0.001


def finish(iterate, tol, n_iter, max_iter, verbose=0):
    """Solve the problem of `iterate` from where it is; returns a Solution, or None if it fails."""
    layer, problem = _Reduced(iterate), iterate.problem
    if not np.all(layer.multiplier > 0):
        # A ball that nothing touches yet tells nothing of what matters.
        return None
    everyone = changed = np.arange(len(layer.chosen))
    for number in range(MAX_ROUNDS):
        with iterate.workers.at_work():
            steps, error = layer.solve(
                changed, (GOAL if number else FIRST_GOAL) * tol, min(MAX_STEPS, max_iter - n_iter)
            )
        n_iter += steps
        if n_iter >= max_iter or not error <= OFF_TRACK:
            return None
        missing, loss = layer.extend()
        if verbose > 1:
            print(f"  interior point {n_iter:4d}: {len(missing)} neurons miss inputs or rows")
        if loss <= tol:
            solution = layer.solution(n_iter)
            if problem.certify(solution.U, solution.c, solution.Xi).error() <= tol:
                return solution
        changed = np.union1d(missing, layer.stale())
        if len(changed) == 0:
            # Rounding errors of their matrices; those of the next count from the point reached.
            changed = everyone
    return None


class _Reduced:
    """The layer, with the inputs and rows of each neuron that seem to matter.

    All in the units of the ADMM iterate that it starts from, and leaves as it is.
    """

    def __init__(self, iterate):
        self.iterate, self.active = iterate, iterate.problem.active
        self.penalty = np.broadcast_to(iterate.penalty, iterate.Z.shape)
        self.weights = iterate.Z.copy()
        self.epsilon = iterate.epsilon.astype(np.float64)
        self.separate = iterate.problem.per_neuron
        charged = iterate.problem.charged(iterate.a)
        self.multiplier = iterate.rho_S * iterate.problem.norm(charged) / self.epsilon
        self.chosen = [
            self._choose(j, int(inputs), int(rows))
            for j, (inputs, rows) in enumerate(zip(*numbers(iterate), strict=True))
        ]
        self.neurons = [None] * len(self.chosen)
        self.complete = np.zeros(len(self.chosen), dtype=bool)
        self._take_rows(self._respond(), iterate.a, iterate.rho_S)

    def _choose(self, j, n_inputs, n_rows):
        """The inputs and rows that ADMM would keep next, were its thresholds lower."""
        iterate = self.iterate
        with np.errstate(divide="ignore", invalid="ignore"):
            strength = np.abs(iterate.Z[:, j] + iterate.b[:, j]) / self.penalty[:, j]
        strength[self.penalty[:, j] == 0] = np.inf
        height = iterate.S[:, j] + iterate.a[:, j] - iterate.target[:, j]
        height[self.active[:, j]] = -np.inf
        return _largest(strength, n_inputs), _largest(height, n_rows)

    def _take_rows(self, S, multipliers, scale=1.0):
        """For the chosen rows, what responses exceed their bound by, and its multiplier."""
        self.of_rows = [
            (S[rows, j] - self.iterate.target[rows, j], scale * multipliers[rows, j])
            for j, (_, rows) in enumerate(self.chosen)
        ]

    def solve(self, changed, goal, max_iter):
        """Solve the programs of some neurons, cut down to the chosen inputs and rows.

        They start around the present weights. Neurons that share a ball are solved together, if
        there is room for their matrices; else the multiplier of the ball is given, and all follow
        it to where the ball is met. Returns the most steps that a neuron took, and the error of
        the ball.
        """
        self._appraise()
        workers, limits = self.iterate.workers, {"goal": goal, "max_iter": max_iter}
        members = self._batches(changed)
        if self.separate or not self._fits(changed):
            n_iter = max(workers.map(partial(self._solve_alone, limits), members))
            if not self.separate:
                self._follow()
        else:
            batches = workers.map(partial(self._started, goal), members)
            batches += self._followers(changed)
            n_iter = solve(batches, epsilon=self.epsilon, workers=workers, **limits)
            self.multiplier = batches[0].multiplier[0]
            for batch in batches:
                batch.store()
        squares = np.array([neuron.square for neuron in self.neurons])
        error = ball_error(squares if self.separate else squares.sum(), self.epsilon)
        return n_iter, np.max(error)

    def _appraise(self):
        """What neurons are worth in the objective and the ball, and the objective."""
        size = np.einsum("ij,ij->j", np.abs(self.weights), self.penalty, dtype=np.float64)
        self.worth, self.size = size + self.multiplier * self.squares, size.sum()

    def _solve_alone(self, limits, members):
        """Solve the neurons of a batch, which shares no ball; returns the number of steps."""
        batch = self._started(limits["goal"], members)
        n_iter = solve([batch], **limits)
        if self.separate:
            self.multiplier[members] = batch.multiplier
        batch.store()
        return n_iter

    def _started(self, goal, members):
        """A batch that is ready to be solved."""
        batch, normals, grams = self._cut_down(members)
        batch.start(
            normals,
            grams,
            np.broadcast_to(self.multiplier, len(self.worth))[members].copy(),
            epsilon=self.epsilon[members] if self.separate else None,
            goal=goal,
            least=LEAST_BARRIER * goal * self.size * (self.worth[members] / self.worth.sum()),
        )
        return batch

    def _fits(self, changed):
        """Whether there is room for the matrices of these neurons at the same time."""
        everyone = np.array([[len(part) for part in parts] for parts in self.chosen])
        inputs, rows = everyone[changed].T
        # With what a step holds of vectors.
        size = np.sum(self.iterate.A.itemsize * inputs * (inputs + rows) + 100 * inputs + 50 * rows)
        return size < bytes_left(self.iterate, *everyone.T)

    def _followers(self, changed):
        """All other neurons in batches without matrices."""
        others = np.setdiff1d(np.arange(len(self.neurons)), changed)
        return [
            Batch([self.neurons[j] for j in members], self.multiplier)
            for members in self._batches(others)
        ]

    def _batches(self, members):
        """Neurons of about the same size together, the largest first."""
        if len(members) == 0:
            return []
        n_inputs, n_rows = np.array([[len(part) for part in self.chosen[j]] for j in members]).T
        order = np.asarray(members)[np.lexsort([n_rows, n_inputs // ALIKE])[::-1]]
        batches, first = [], 0
        while first < len(order):
            size, rows = (max(1, len(part)) for part in self.chosen[order[first]])
            last = first + int(np.clip(BATCH // (size * max(size, rows)), 1, MOST_NEURONS))
            batches.append(order[first:last])
            first = last
        return batches

    def _cut_down(self, members):
        """A batch of neurons, its normals and Gram matrices."""
        A, neurons = self.iterate.A, []
        n_inputs, n_rows = (
            fast_order(max(len(self.chosen[j][axis]) for j in members)) for axis in range(2)
        )
        normals = np.zeros((len(members), n_rows, n_inputs), A.dtype)
        grams = np.zeros((len(members), n_inputs, n_inputs), A.dtype)
        for i, j in enumerate(members):
            inputs, rows = self.chosen[j]
            part = A.take(rows, axis=0).take(inputs, axis=1)
            normals[i, : len(rows), : len(inputs)] = part
            grams[i, : len(inputs), : len(inputs)] = self._gram(inputs, self.active[:, j])
            self.neurons[j] = self._neuron(j, part)
            neurons.append(self.neurons[j])
        np.einsum("kii->ki", grams)[...] *= 1 + RIDGE * np.finfo(grams.dtype).eps
        return Batch(neurons), normals, grams

    def _neuron(self, j, normals):
        """A neuron near the present weights."""
        (inputs, rows), (excess, row_multiplier) = self.chosen[j], self.of_rows[j]
        return Neuron.near(
            inputs,
            rows,
            normals=normals,
            square=self.squares[j],
            complementarity=self.worth[j] * (LATER_BARRIER if self.complete[j] else FIRST_BARRIER),
            penalty=self.penalty[inputs, j],
            gradient=self.gradient[inputs, j],
            weights=self.weights[inputs, j],
            excess=excess,
            row_multiplier=row_multiplier,
            multiplier=self.multiplier[j] if self.separate else self.multiplier,
        )

    def _gram(self, inputs, active):
        """Gram matrix of some inputs over the active rows: from all rows, where most are active."""
        few = 2 * np.count_nonzero(active) < len(active)
        rows = np.flatnonzero(active if few else ~active)
        part = np.empty((len(rows), len(inputs)), dtype=self.iterate.A.dtype)
        for i in range(0, len(rows), GATHERED):
            gathered = self.iterate.A.take(rows[i : i + GATHERED], axis=0)
            gathered.take(inputs, axis=1, out=part[i : i + GATHERED], mode="clip")
        gram = part.T @ part
        return gram if few else self.iterate.inverse.gram[inputs][:, inputs] - gram

    def _follow(self):
        """Move the multiplier to where the ball is met, and with it what has settled."""
        batches = self._followers([])
        for batch in batches:
            batch.direct()
        move = shared_move(batches, self.epsilon)
        for batch in batches:
            batch.advance(move)
            batch.store()
        self.multiplier = self.multiplier + move

    def _respond(self):
        """Responses to the present weights; keeps what the ball has to do with them."""
        iterate = self.iterate
        S = iterate.workers.products(iterate.A, self.weights)

        def over(rows):
            deviation = self._deviation(S, rows)
            squares = np.einsum("ij,ij->j", deviation, deviation, dtype=np.float64)
            return iterate.A[rows].T @ deviation, squares

        self.gradient, self.squares = iterate.workers.total(over, iterate.rows)
        return S

    def _deviation(self, S, rows=slice(None)):
        """What the ball measures of responses."""
        deviation = S[rows] - self.iterate.target[rows]
        deviation *= self.active[rows]
        return deviation

    def extend(self):
        """Let inputs and rows join that break the optimality conditions.

        Returns the neurons they belong to, and an estimate of the gap that they leave.
        """
        for j, neuron in enumerate(self.neurons):
            self.weights[:, j] = 0
            self.weights[neuron.inputs, j] = neuron.weights
        S = self._respond()
        slopes, loss = self._slopes_and_loss(S)
        steep = slopes.max(axis=0) > 1 + TOO_STEEP
        missing = [
            self._extend_neuron(j, slope, response)
            for j, (slope, response) in enumerate(zip(slopes.T, S.T, strict=True))
        ]
        self.complete, self.steep = ~np.array(missing), steep
        return np.flatnonzero(missing), loss

    def stale(self):
        """Neurons that are not optimal, or were so at another multiplier only."""
        settled_at = np.array([neuron.settled_at for neuron in self.neurons])
        near = np.abs(settled_at - self.multiplier) <= NEARBY * self.multiplier
        return np.flatnonzero(~near | self.steep)

    def _slopes_and_loss(self, S):
        """Slopes of all weights relative to their penalties, and the gap that they leave."""
        A, target = self.iterate.A, self.iterate.target
        slopes = self.gradient * np.asarray(self.multiplier, dtype=S.dtype)
        slack = np.zeros(len(self.neurons))
        for j, neuron in enumerate(self.neurons):
            slopes[:, j] += neuron.row_multiplier @ A[neuron.rows]
            slack[j] = neuron.row_multiplier @ (S[neuron.rows, j] - target[neuron.rows, j])
        proven = slack - np.einsum("ij,ij->j", slopes, self.weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            np.abs(slopes, out=slopes)
            slopes /= self.penalty
        slopes[self.penalty == 0] = 0
        size = np.einsum("ij,ij->", np.abs(self.weights), self.penalty)
        return slopes, 1 - np.sum(proven / np.maximum(slopes.max(axis=0), 1)) / size

    def _extend_neuron(self, j, slope, S):
        inputs, rows = self.chosen[j]
        slope[inputs] = 0
        steep = slope > (NEAR if slope.max() > 1 + TOO_STEEP else np.inf)
        excess = S - self.iterate.target[:, j]
        new_excess = excess * ~self.active[:, j]
        new_excess[rows] = 0
        high = new_excess > TOO_HIGH * np.sqrt(np.mean(S**2))
        if not (steep.any() or high.any()):
            self.of_rows[j] = excess[rows], self.neurons[j].row_multiplier
            return False
        new = _largest(np.where(steep, slope, -np.inf), len(inputs) + 8)
        above = _largest(np.where(high, new_excess, -np.inf), len(rows) // 2 + 16)
        multiplier = np.zeros(len(S))
        multiplier[rows] = self.neurons[j].row_multiplier
        rows = np.union1d(rows, above)
        self.chosen[j] = np.union1d(inputs, new), rows
        self.of_rows[j] = excess[rows], multiplier[rows]
        return True

    def solution(self, n_iter):
        """The sparse weights, and the dual point, in the units of the problem."""
        weights = self.weights.astype(np.float64)
        for j, neuron in enumerate(self.neurons):
            weights[neuron.inputs, j] *= neuron.support
        S = self._respond()
        Xi = self._deviation(S)
        Xi *= np.asarray(self.multiplier, dtype=Xi.dtype)
        for j, neuron in enumerate(self.neurons):
            Xi[neuron.rows, j] += neuron.row_multiplier
        self._take_rows(S, Xi)
        return self.iterate.in_units(weights, Xi, n_iter)


def _largest(values, number):
    """Indices of the largest values above -inf, in order."""
    number = min(number, np.count_nonzero(values > -np.inf))
    if number == 0:
        return np.empty(0, dtype=np.intp)
    return np.sort(np.argpartition(-values, number - 1)[:number])

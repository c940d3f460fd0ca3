"""The end of a strict layer, on the few inputs and rows of each neuron that matter.

Where a neuron must stay off, few rows hold it back, and few inputs have weights: ADMM knows most
of them after some dozens of iterations, and takes hundreds for the last ones and for their
multipliers. An interior-point method solves the program that is left in a few steps; what that
program misses is found by one pass over the data, and joins it.
"""

import numpy as np
from scipy import sparse

from ._interior_point import InteriorPoint
from ._neuron import Neuron

# What is taken beyond the inputs with a weight, and beyond the rows with a multiplier: a factor,
# and a number.
MORE_INPUTS = 1.05, 20
MORE_ROWS = 1.3, 16
# Rows of a neuron are not many more than its inputs, or its matrix is no larger than this: many
# rows can be alike on the inputs that matter, and share a multiplier.
SMALL_MATRIX = 4_000
# Inputs with a slope of this share of their penalty join where some exceed it by TOO_STEEP.
NEAR = 0.98
TOO_STEEP = 5e-4
# Rows join that exceed their bound by this much of the mean response.
TOO_HIGH = 1e-4
MAX_ROUNDS = 6
# Share of neurons that may still miss something when the proof is tried.
FEW = 0.1
MAX_STEPS = 25
# Relative error of the ball after a round, beyond which the rounds do not get anywhere.
OFF_TRACK = 0.5
# Of the steps in all rounds together, what they cost on average: they get fewer.
TYPICAL_STEPS = 20
# Operations of products that take as long as what ADMM does with one response besides.
ELEMENTWISE = 1000
# Bytes relative to inputs and responses in double precision, with what ADMM holds; or of the end
# alone, no more than nobody misses.
MOST_MEMORY = 3.0
LITTLE_MEMORY = 32e6
# Rows gathered at a time, to stay in a core's cache.
BATCH = 512
# Goals of the first round, which shows what is missing, and of the next, relative to the tolerance.
FIRST_GOAL = 10.0
GOAL = 0.05


def worthwhile(iterate, n_iter):
    """Whether the end is cheaper than so many iterations of ADMM, and small enough to hold.

    Counted in floating-point operations of single precision: those of double precision take twice
    the time, and each step of a neuron some time of its own.
    """
    if not iterate.problem.strict or sparse.issparse(iterate.A) or iterate.inverse.wide:
        return False
    n, m = iterate.S.shape
    p = iterate.A.shape[1]
    n_active = np.count_nonzero(iterate.problem.active, axis=0)
    inputs, rows = _numbers(iterate)
    step = 4.0 * inputs**2 * (rows + inputs / 3) + 1e7
    start = 2.0 * inputs**2 * np.minimum(n_active, n - n_active)
    # Gram matrices, the many vectors of the interior point, and a few matrices of responses.
    size = np.sum(iterate.A.itemsize * inputs**2 / 2 + 170 * inputs + 150 * rows)
    size += 2 * iterate.S.nbytes
    held = iterate.A.nbytes + 3 * iterate.S.nbytes
    # A copy, where neurons were left out.
    held += iterate.problem.Y.nbytes * iterate.problem.Y.flags.owndata
    affordable = n_iter * ((4.0 * p + ELEMENTWISE) * n * m + 2.0 * m * p**2)
    small = size < max(MOST_MEMORY * 8 * n * (m + p) - held, LITTLE_MEMORY)
    return small and np.sum(TYPICAL_STEPS * step + start) < affordable


def finish(iterate, tol, n_iter, max_iter, verbose=0):
    """Solve the problem of `iterate` from where it is; returns a Solution, or None if it fails."""
    layer, problem = _Reduced(iterate), iterate.problem
    if not np.all(layer.multiplier > 0):
        # A ball that nothing touches yet tells nothing of what matters.
        return None
    everyone = changed = range(len(layer.chosen))
    for number in range(MAX_ROUNDS):
        with iterate.workers.at_work():
            layer.update(changed)
            goal = (GOAL if number else FIRST_GOAL) * tol
            steps, error = layer.solve(goal, min(MAX_STEPS, max_iter - n_iter))
        n_iter += steps
        if n_iter >= max_iter or not error <= OFF_TRACK:
            return None
        changed, loss = layer.extend()
        if verbose > 1:
            print(f"  interior point {n_iter:4d}: {len(changed)} neurons miss inputs or rows")
        if number and loss <= tol and len(changed) <= FEW * len(layer.chosen):
            solution = layer.solution(n_iter)
            if problem.certify(solution.U, solution.c, solution.Xi).error() <= tol:
                return solution
            changed = everyone
        if number and len(changed) == 0:
            # Rounding errors of their matrices; those of the next count from the point reached.
            changed = everyone
    return None


def _numbers(iterate):
    """How many inputs and rows of each neuron to take."""
    weights = np.count_nonzero(iterate.Z, axis=0)
    binding = np.count_nonzero((iterate.a > 0) & ~iterate.problem.active, axis=0)
    factor, more = MORE_INPUTS
    inputs = np.minimum(factor * weights + more, len(iterate.Z))
    factor, more = MORE_ROWS
    most = np.maximum(factor * inputs + more, SMALL_MATRIX / inputs)
    return inputs, np.minimum(factor * binding + more, most)


class _Reduced:
    """The layer, with the inputs and rows of each neuron that seem to matter.

    All in the units of the ADMM iterate that it starts from, and leaves as it is.
    """

    def __init__(self, iterate):
        self.iterate, self.active = iterate, iterate.problem.active
        self.penalty = np.broadcast_to(iterate.penalty, iterate.Z.shape)
        self.weights = iterate.Z.copy()
        self.epsilon = iterate.epsilon.astype(np.float64)
        charged = iterate.problem.charged(iterate.a)
        self.multiplier = iterate.rho_S * iterate.problem.norm(charged) / self.epsilon
        self.chosen = [
            self._choose(j, int(inputs), int(rows))
            for j, (inputs, rows) in enumerate(zip(*_numbers(iterate), strict=True))
        ]
        self.neurons = [None] * len(self.chosen)
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

    def update(self, changed):
        """Cut neurons down to the chosen inputs and rows, around the present weights."""
        for j in changed:
            # Not beside the new one in memory.
            self.neurons[j] = None
        neurons = self.iterate.workers.map(self._cut_down, changed)
        for j, neuron in zip(changed, neurons, strict=True):
            self.neurons[j] = neuron

    def _cut_down(self, j):
        (inputs, rows), (excess, row_multiplier) = self.chosen[j], self.of_rows[j]
        multiplier = self.multiplier[j] if np.ndim(self.multiplier) else self.multiplier
        return Neuron.near(
            self.iterate.A,
            inputs,
            rows,
            gram=self._gram(inputs, self.active[:, j]),
            square=self.squares[j],
            penalty=self.penalty[inputs, j],
            gradient=self.gradient[inputs, j],
            weights=self.weights[inputs, j],
            excess=excess,
            row_multiplier=row_multiplier,
            multiplier=multiplier,
        )

    def _gram(self, inputs, active):
        """Gram matrix of some inputs over the active rows: from all rows, where most are active."""
        few = 2 * np.count_nonzero(active) < len(active)
        rows = np.flatnonzero(active if few else ~active)
        part = np.empty((len(rows), len(inputs)), dtype=self.iterate.A.dtype)
        for i in range(0, len(rows), BATCH):
            batch = self.iterate.A.take(rows[i : i + BATCH], axis=0)
            batch.take(inputs, axis=1, out=part[i : i + BATCH], mode="clip")
        gram = part.T @ part
        return gram if few else self.iterate.inverse.gram[inputs][:, inputs] - gram

    def solve(self, goal, max_iter):
        """Solve the program of the chosen inputs and rows; returns steps, and error of the ball."""
        point = InteriorPoint(self.neurons, self.epsilon, self.multiplier, self.iterate.workers)
        steps_and_error = point.solve(goal, max_iter)
        self.multiplier = point.multiplier
        return steps_and_error

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
        missing = [
            self._extend_neuron(j, slope, response)
            for j, (slope, response) in enumerate(zip(slopes.T, S.T, strict=True))
        ]
        return np.flatnonzero(missing), loss

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
        """The sparse weights, and the dual point, in the units of the problem.

        Lets go of all neurons: a proof takes as much memory. They can be cut down anew.
        """
        weights = self.weights.astype(np.float64)
        for j, neuron in enumerate(self.neurons):
            weights[neuron.inputs, j] *= neuron.support
        of_rows = [(neuron.rows, neuron.row_multiplier) for neuron in self.neurons]
        self.neurons = [None] * len(self.neurons)
        S = self._respond()
        Xi = self._deviation(S)
        Xi *= np.asarray(self.multiplier, dtype=Xi.dtype)
        for j, (rows, multiplier) in enumerate(of_rows):
            Xi[rows, j] += multiplier
        self._take_rows(S, Xi)
        return self.iterate.in_units(weights, Xi, n_iter)


def _largest(values, number):
    """Indices of the largest values above -inf, in order."""
    number = min(number, np.count_nonzero(values > -np.inf))
    if number == 0:
        return np.empty(0, dtype=np.intp)
    return np.sort(np.argpartition(-values, number - 1)[:number])

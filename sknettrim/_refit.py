"""Refit a layer on the support that its program found, and spend the slack on fewer weights.

The l1 norm shrinks the weights that it keeps. On a support, the weights of neuron j that lose
least minimise

    sum over Omega of (s - y)^2 + sum off it of w max(s - v, 0)^2 + damping ||u_j - u0_j||^2

with u0 the original weights: least squares on the rows where the neuron is on or leaks. They end
well inside the ball, and the slack pays for removals, the cheapest first by optimal brain
surgeon. What is measured decides: no removal stands that leaves the constraints.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ._columns import column_norms, gather, norm
from ._elimination import PADDING, removals
from ._intercept import centred
from ._threads import Workers
from .solvers._lasso import solve_spd

# The pull towards the original weights, relative to the mean sum of squares of a centred input:
# a weight that few rows determine stays where training has left it.
DAMPING = 0.01
# The same for the intercept, against neurons that no row determines.
INTERCEPT_DAMPING = 1e-9
# The least spread of the inputs, relative to their squares.
FLAT = 1e-9
# Weight of a leak in a strict problem, which does not allow any beyond the tolerance.
STRICT_WEIGHT = 1e3
# Newton steps on one neuron, and the relative decrease of its loss that is not worth another.
MAX_STEPS, SMALL = 50, 1e-6
MAX_HALVINGS = 30
# Halvings of the way from the weights of the program, before it is those that are kept.
MAX_STEPS_BACK = 8
# Costs are exact for the rows that count at present: a stage removes at most this share of the
# weights before they are computed again, and one that removes less than the last share is the last.
STAGE, LAST_STAGE = 0.35, 0.05
# Refits per stage to find how many removals fit into the ball, to a hundredth of the weights.
TRIALS, ACCURACY = 6, 0.01
# Neurons whose inverses are updated side by side.
NEURONS = 16
# Bytes of Gram matrices, one for each neuron, that are kept from one refit to the next.
KEPT_GRAMS = 1 << 29


def refit(problem, result, *, tol):
    """Refit the weights of a result, and remove those that the slack pays for.

    Parameters
    ----------
    problem : LayerProblem
        Its `original` weights, or without them those of the result, are what weights are pulled
        to.
    result : LayerResult
        Of the program; its support is where weights may be.
    tol : float
        What a strict problem may leak, relative to the targets.

    Returns
    -------
    result : LayerResult
        With residual and violation of its own weights. Whatever was outside the constraints
        steps back towards the weights given, as far as needed: the set is convex.
    """
    begin = time.perf_counter()
    limits = Limits.of(problem, result, tol)
    layer = _Layer(problem, result, limits)
    with layer.workers.at_work():
        coef, intercept = layer.weights(layer.eliminate(layer.refit()))
    coef, intercept, D = _step_back(problem, result, coef, intercept, limits)
    residual = problem.residual(D)
    return replace(
        result,
        coef=coef,
        intercept=intercept,
        residual=residual if problem.per_neuron else float(residual),
        violation=norm(problem.leaks(D)) / (norm(problem.Y) or 1.0),
        seconds=result.seconds + time.perf_counter() - begin,
    )


@dataclass(frozen=True)
class Limits:
    """What the residual and the leaks may be: for the layer, or for each neuron.

    As the problem demands them or, slightly larger, as the solver has left them.
    """

    residual: np.ndarray
    leak: np.ndarray

    @classmethod
    def of(cls, problem, result, tol):
        D = problem.deviation(problem.responses(result.coef, result.intercept))
        return cls(
            residual=np.maximum(problem.epsilon, problem.residual(D)),
            leak=np.maximum(tol * problem.norm(problem.Y), problem.norm(problem.leaks(D))),
        )

    def allow(self, problem, D):
        """Whether a deviation is within the limits: one answer, or one for each neuron."""
        inside = problem.residual(D) <= self.residual
        return inside & (problem.norm(problem.leaks(D)) <= self.leak)


def _step_back(problem, result, coef, intercept, limits):
    """The first of some points on the segment to the weights of `result` within the limits."""
    dtype = result.coef.dtype
    share = np.ones(problem.shape[1])
    for halving in range(MAX_STEPS_BACK + 2):
        U = (result.coef + share * (coef - result.coef)).astype(dtype)
        c = (result.intercept + share * (intercept - result.intercept)).astype(dtype)
        # Where nothing moved back, not even by rounding.
        U = np.where(share == 1, coef.astype(dtype), U)
        D = problem.deviation(problem.responses(U, c))
        allowed = limits.allow(problem, D)
        if np.all(allowed):
            break
        share = np.where(allowed, share, share / 2 if halving < MAX_STEPS_BACK else 0.0)
    return U, c, D


@dataclass(frozen=True)
class _Neuron:
    """The best weights of a neuron on a support.

    Attributes
    ----------
    support : ndarray of int
        Inputs, in order.
    weights : ndarray of shape (len(support) + 1,)
        The intercept comes last.
    rows : ndarray of bool of shape (n_samples,)
        Rows that count in the quadratic that the weights minimise.
    charged, leak : float
        Squares of what the ball measures, and of what breaks the other constraint.
    gram : ndarray, default=None
        Weighted Gram matrix of the support and the intercept over `rows`.
    """

    support: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    charged: float
    leak: float
    gram: np.ndarray | None


class _Layer:
    """All neurons of a layer, in groups that share a ball: the whole layer, or each its own."""

    def __init__(self, problem, result, limits):
        self.problem = problem
        self.start = result
        m = problem.shape[1]
        self.group = np.arange(m) if problem.per_neuron else np.zeros(m, dtype=int)
        # Room for rounding to the data type of the weights.
        margin = 1 - np.sqrt(np.finfo(result.coef.dtype).eps)
        self.radius = np.atleast_1d(margin * problem.epsilon)
        self.leak = np.atleast_1d(margin * limits.leak)
        self.target = problem.target
        self.row_weight = np.where(problem.active, 1.0, STRICT_WEIGHT if problem.strict else 1.0)
        self._set_inputs(result)
        sizes = np.count_nonzero(result.coef, axis=0).astype(float)
        self.keep_grams = 8 * np.sum(sizes**2) <= KEPT_GRAMS
        self.workers = Workers()

    def _set_inputs(self, result):
        """Inputs, centred so that the intercept is apart."""
        A, original = self.problem.A, self.problem.original
        n, p = A.shape
        mean = np.asarray(A.mean(axis=0, dtype=np.float64)).ravel()
        squares = np.sum(column_norms(A) ** 2)
        # Constant inputs, which an intercept could replace, may have no spread.
        spread = max(squares - n * mean @ mean, FLAT * squares) or 1.0
        self.pull = np.append(np.full(p, DAMPING * spread / p), INTERCEPT_DAMPING * n)
        A, self.mean = centred(A, np.float64)
        self.A = A.tocsc() if sparse.issparse(A) else np.asfortranarray(A)
        coef = result.coef if original is None else original
        self.pulled_to = np.vstack([coef, result.intercept + self.mean @ result.coef])
        self.gram = None
        if p < n and 8 * p**2 <= KEPT_GRAMS:
            gram = self.A.T @ self.A
            self.gram = gram.toarray() if sparse.issparse(gram) else gram

    def weights(self, neurons):
        """``(coef, intercept)`` of all neurons, in float64."""
        coef, intercept = np.zeros(self.problem.shape), np.zeros(len(neurons))
        for j, neuron in enumerate(neurons):
            coef[neuron.support, j] = neuron.weights[:-1]
            intercept[j] = neuron.weights[-1] - self.mean[neuron.support] @ neuron.weights[:-1]
        return coef, intercept

    # Refit ------------------------------------------------------------------------------------

    def refit(self):
        """The best weights of every neuron on the support of the result."""
        problem, start = self.problem, self.start
        S = problem.responses(start.coef, start.intercept)
        rows = problem.active | (S > self.target)

        def of(j):
            support = np.flatnonzero(start.coef[:, j])
            return self._minimise(j, support, _Neuron(support, None, rows[:, j], 0.0, 0.0, None))

        return self.workers.map(of, range(problem.shape[1]))

    def _minimise(self, j, support, start):
        """Newton's method on a piecewise quadratic, from the piece where `start` ended."""
        columns = np.append(support, self.problem.shape[0])
        B = gather(self.A, columns)
        target, active = self.target[:, j], self.problem.active[:, j]
        row_weight = self.row_weight[:, j]
        pull, pulled_to = self.pull[columns], self.pulled_to[columns, j]

        def measure(x):
            d = B @ x - target
            rows = active | (d > 0)
            loss = np.sum(row_weight * d**2, where=rows) + np.sum(pull * (x - pulled_to) ** 2)
            return loss, rows, d

        known = self._known_grams(j, columns, start)
        rows, x, loss, d = start.rows, None, np.inf, None
        for _ in range(MAX_STEPS):
            counted = self._counted(j, rows)
            gram = _gram(B, counted, known)
            known = [(gram, counted)]
            right = B.T @ (counted * target) + pull * pulled_to
            new = solve_spd(gram + np.diag(pull), right)
            new_loss, new_rows, new_d = measure(new)
            whole = new_loss <= loss
            for _ in range(MAX_HALVINGS):
                if new_loss <= loss:
                    break
                new = (x + new) / 2
                new_loss, new_rows, new_d = measure(new)
            if new_loss > loss:
                break
            # A whole step minimises its piece; part of one does not.
            settled = whole and np.array_equal(new_rows, rows)
            settled |= loss - new_loss <= SMALL * new_loss
            x, loss, d, rows = new, new_loss, new_d, new_rows
            if settled:
                break
        counts = rows if not self.problem.strict else active
        return _Neuron(
            support=support,
            weights=x,
            rows=rows,
            charged=float(np.sum(d**2, where=counts)),
            leak=float(np.sum(d**2, where=rows & ~counts)),
            gram=_gram(B, self._counted(j, rows), known) if self.keep_grams else None,
        )

    def _known_grams(self, j, columns, start):
        """Pairs of a Gram matrix and the weights of the rows that it is over."""
        size, n = len(columns), len(self.target)
        known = [(np.zeros((size, size)), np.zeros(n))]
        if self.gram is not None:
            known.append((self.gram[np.ix_(columns, columns)], np.ones(n)))
        if start.gram is not None:
            kept = np.append(np.searchsorted(start.support, columns[:-1]), len(start.support))
            known.append((start.gram[np.ix_(kept, kept)], self._counted(j, start.rows)))
        return known

    def _counted(self, j, rows):
        return np.where(rows, self.row_weight[:, j], 0.0)

    # Elimination ------------------------------------------------------------------------------

    def eliminate(self, neurons):
        """Remove weights and refit the others, for as long as the groups stay within bounds."""
        active = self._inside(neurons)
        while active.any():
            before = self._sizes(neurons)
            neurons = self._stage(neurons, np.where(active, np.ceil(STAGE * before), 0))
            removed = before - self._sizes(neurons)
            active &= removed > LAST_STAGE * before
        return neurons

    def _stage(self, neurons, most):
        """The cheapest removals, in each group as many as fit but not more than `most`."""
        room = np.maximum(self.radius**2 - self._sum(neurons, "charged"), 0.0)
        inputs, owners, rank, affordable = self._removals(neurons, room)
        accuracy = np.maximum(ACCURACY * self._sizes(neurons), 1)
        low, high = np.zeros(len(most)), np.minimum(most, np.ceil(1.5 * affordable) + 1)
        count = np.minimum(affordable, high)
        for _ in range(TRIALS):
            if not np.any(count > low):
                break
            tried = rank < count[self.group[owners]]
            candidates = self._without(neurons, inputs[tried], owners[tried])
            fits = self._inside(candidates)
            neurons = [
                candidates[j] if fits[group] else neurons[j] for j, group in enumerate(self.group)
            ]
            low, high = np.where(fits, count, low), np.where(fits, high, count - 1)
            # An affordable number that fits may be exceeded: costs are upper bounds.
            count = np.where(high - low >= accuracy, np.ceil((low + high) / 2), low)
        return neurons

    def _removals(self, neurons, room):
        """All removals, cheapest first in each group.

        Returns
        -------
        inputs, owners : ndarray of shape (n_removals,)
            The input and the neuron of each.
        rank : ndarray of shape (n_removals,)
            Its place within the group.
        affordable : ndarray of shape (n_groups,)
            How many together cost no more than the room.
        """
        # Neurons of about the same size waste little of a common array.
        by_size = sorted(range(len(neurons)), key=lambda j: len(neurons[j].support))
        batches = [by_size[batch] for batch in gen_batches(len(by_size), NEURONS)]
        parts = self.workers.map(lambda batch: self._traces(batch, neurons, room), batches)
        inputs, owners, waiting, cost = (np.concatenate(part) for part in zip(*parts, strict=True))
        group = self.group[owners]
        order = np.lexsort((waiting, group))
        inputs, owners, cost, group = inputs[order], owners[order], cost[order], group[order]
        first = np.searchsorted(group, np.arange(len(room)))
        rank = np.arange(len(group)) - first[group]
        spent = np.cumsum(cost)
        spent -= np.append(0.0, spent)[first][group]
        affordable = np.bincount(group[spent <= room[group]], minlength=len(room))
        return inputs, owners, rank, affordable

    def _traces(self, batch, neurons, room):
        """The removals of some neurons: inputs, owners, when it is their turn, costs."""
        size = max(len(neurons[j].support) for j in batch)
        inverses = np.repeat(np.eye(size)[None], len(batch), axis=0)
        weights = np.full((len(batch), size), PADDING)
        for i, j in enumerate(batch):
            k = len(neurons[j].support)
            # Without its last row and column the inverse is that of H with the intercept free.
            inverses[i, :k, :k] = np.linalg.inv(self._hessian(j, neurons[j]))[:k, :k]
            weights[i, :k] = neurons[j].weights[:k]
        # More than the room, because costs are upper bounds.
        order, cost = removals(inverses, weights, 4 * room[self.group[batch]])
        parts = []
        for i, j in enumerate(batch):
            k = np.count_nonzero(cost[:, i] < PADDING)
            parts.append((neurons[j].support[order[:k, i]], np.full(k, j), cost[:k, i]))
        inputs, owners, costs = zip(*parts, strict=True)
        # A removal waits for those before it, however cheap it is itself.
        waiting = [np.maximum.accumulate(cost) for cost in costs]
        return tuple(np.concatenate(part) for part in (inputs, owners, waiting, costs))

    def _hessian(self, j, neuron):
        columns = np.append(neuron.support, self.problem.shape[0])
        known, counted = self._known_grams(j, columns, neuron), self._counted(j, neuron.rows)
        return _gram(gather(self.A, columns), counted, known) + np.diag(self.pull[columns])

    def _without(self, neurons, inputs, owners):
        """The neurons refitted without some of their inputs."""
        kept = np.ones(self.problem.shape, dtype=bool)
        kept[inputs, owners] = False

        def of(j):
            support = neurons[j].support[kept[neurons[j].support, j]]
            if len(support) == len(neurons[j].support):
                return neurons[j]
            return self._minimise(j, support, neurons[j])

        return self.workers.map(of, range(len(neurons)))

    # Groups -----------------------------------------------------------------------------------

    def _inside(self, neurons):
        charged, leak = self._sum(neurons, "charged"), self._sum(neurons, "leak")
        return (charged <= self.radius**2) & (leak <= self.leak**2)

    def _sizes(self, neurons):
        return np.bincount(self.group, [len(neuron.support) for neuron in neurons])

    def _sum(self, neurons, name):
        return np.bincount(self.group, [getattr(neuron, name) for neuron in neurons])


def _gram(B, counted, known):
    """``B' diag(counted) B``, from the known one that is over the most similar rows."""
    gram, base = min(known, key=lambda pair: np.count_nonzero(pair[1] != counted))
    changed = np.flatnonzero(base != counted)
    if len(changed) == 0:
        return gram
    rows = B[changed]
    return gram + rows.T @ ((counted - base)[changed, None] * rows)

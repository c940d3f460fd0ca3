"""The few inputs and rows of each neuron that seem to matter, and the rows that the ball charges.

The ball charges rows where a neuron is active. Of the others, those are chosen whose bounds matter;
where rows may leak, the ball charges also some that certainly do, as if they always did.
"""

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from ._newton_system import NewtonSystem, fast_order
from ._price import charged_rows, charges_leaks, numbers

# Inputs with a slope of this share of their penalty join where some exceed it.
NEAR = 0.98
# Rows gathered at a time, to stay in a core's cache.
GATHERED = 512
# Neurons whose inputs and rows are chosen at a time.
CHOSEN = 32
# Of a Gram matrix's diagonal, added to it, in units of its precision.
RIDGE = 100


class Selection:
    """The inputs and rows that ADMM would keep next, were its thresholds lower, and what joins.

    Parameters
    ----------
    iterate : Iterate
        Of the layer.
    penalty : ndarray of shape (p, m)

    Attributes
    ----------
    chosen : list of m tuples
        Inputs and rows of each neuron, in order.
    places, row_places : tuple of two ndarrays
        Where these are in matrices of all inputs or rows, neuron by neuron.
    charged : ndarray of shape (n, m), of bool
        Which rows the ball charges.
    """

    def __init__(self, iterate, penalty):
        self.iterate, self.charges_leaks = iterate, charges_leaks(iterate.problem)
        self.chosen = self._choose(penalty)
        self._place()
        self.charged = charged_rows(iterate)
        if self.charges_leaks:
            self.charged[self.row_places] = False

    def counts(self):
        """Numbers of inputs and of rows of each neuron."""
        return np.array([[len(part) for part in parts] for parts in self.chosen]).T

    def of_neurons(self, of_rows):
        """Sums over the chosen rows of each neuron."""
        return np.bincount(self.row_places[1], of_rows, minlength=len(self.chosen))

    def over_rows(self, of_rows):
        """Sums of the inputs over the chosen rows of each neuron."""
        A, (rows, neurons) = self.iterate.A, self.row_places
        shape = len(self.chosen), len(A)
        chosen = sparse.coo_array((of_rows.astype(A.dtype), (neurons, rows)), shape=shape)
        return (chosen.tocsr() @ A).T

    def system(self, batch, places):
        """The Newton system of a batch of neurons, with these places in a point."""
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

    def charge_less(self, excess):
        """Charge no rows where a neuron is not active that do not leak.

        Parameters
        ----------
        excess : ndarray of shape (n, m)
            What responses exceed targets by, but for chosen rows.
        """
        if self.charges_leaks:
            for rows in self.iterate.blocks:
                self.charged[rows] &= self.iterate.problem.active[rows] | (excess[rows] > 0)

    def extend(self, neurons, slopes, leaks):
        """Let what some neurons miss join what is chosen.

        Parameters
        ----------
        neurons : ndarray of int
        slopes : ndarray of shape (p, m)
            Relative to their penalties; those of chosen inputs are lost.
        leaks : ndarray of shape (n, m)
            Above zero where rows exceed bounds that are neither chosen nor charged.

        Returns
        -------
        charged : list of ndarrays of int
            Rows of each of these neurons that the ball charges from now on.
        """
        slopes[self.places] = 0
        charged = [self._extend(j, slopes[:, j], leaks[:, j]) for j in neurons]
        self._place()
        return charged

    def _choose(self, penalty):
        """Inputs and rows of all neurons."""
        iterate, active, chosen = self.iterate, self.iterate.problem.active, []
        n_inputs, n_rows = numbers(iterate)
        for some in gen_batches(len(n_inputs), CHOSEN):
            with np.errstate(divide="ignore", invalid="ignore"):
                strength = np.abs(iterate.Z[:, some] + iterate.b[:, some]) / penalty[:, some]
            strength[penalty[:, some] == 0] = np.inf
            height = iterate.S[:, some] + iterate.a[:, some] - iterate.target[:, some]
            height[active[:, some]] = -np.inf
            if self.charges_leaks:
                # Of many rows that leak, those are in doubt that hardly do.
                many = n_rows[some] < np.count_nonzero(height > 0, axis=0)
                height[:, many] = -np.abs(height[:, many])
            inputs = map(_largest, strength.T, n_inputs[some].astype(int))
            rows = map(_largest, height.T, n_rows[some].astype(int))
            chosen += zip(inputs, rows, strict=True)
        return chosen

    def _place(self):
        self.places, self.row_places = (
            (np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
            for parts in zip(*self.chosen, strict=True)
        )

    def _extend(self, j, slope, leak):
        inputs, rows = self.chosen[j]
        steep = slope > (NEAR if slope.max() > 1 else np.inf)
        steepest = _largest(np.where(steep, slope, -np.inf), len(inputs) + 8)
        most, leaking = len(rows) // 2 + 16, np.flatnonzero(leak > 0)
        # Those that hardly leak are in doubt; or else those that exceed their bounds the most.
        sign = -1 if self.charges_leaks else 1
        joining = leaking[_largest(sign * leak[leaking], most)]
        self.chosen[j] = np.union1d(inputs, steepest), np.union1d(rows, joining)
        if not self.charges_leaks:
            return leaking[:0]
        charged = np.setdiff1d(leaking, joining)
        self.charged[charged, j] = True
        return charged

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


def _largest(values, number):
    """Indices of the largest values above -inf, in order."""
    number = min(number, np.count_nonzero(values > -np.inf))
    if number == 0:
        return np.empty(0, dtype=np.intp)
    return np.sort(np.argpartition(-values, number - 1)[:number])

"""The linear systems of an interior-point step, for several neurons at a time."""

import numpy as np

from ._lapack import factor_positive, solve_factored

# Orders of matrices that are not multiples of this cost more than the next that is.
MULTIPLE = 8


class NewtonSystem:
    """Newton systems: ``multiplier gram + diag(stiffness) + normals' diag(row_stiffness) normals``.

    One for each neuron, in the precision of the data unless that will not do.

    Parameters
    ----------
    normals : ndarray of shape (k, n_rows, n_inputs)
    gram : ndarray of shape (k, n_inputs, n_inputs)
    """

    def __init__(self, normals, gram):
        self.normals, self.gram = normals, gram

    def part(self, some):
        """Some of the systems."""
        if len(some) == len(self.gram):
            return self
        return NewtonSystem(self.normals[some], self.gram[some])

    def combine(self, of_rows):
        """Sums of normals, of shape (n_sums, k, n_inputs)."""
        return np.moveaxis(of_rows @ self.normals, 1, 0)

    def solve(self, multiplier, stiffness, row_stiffness, right, precision=None):
        """Solve all systems.

        Parameters
        ----------
        multiplier : ndarray of shape (k,)
        stiffness : ndarray of shape (k, n_inputs)
        row_stiffness : ndarray of shape (k, n_rows)
        right : ndarray of shape (k, r, n_inputs)
        precision : dtype, default=None
            That of the data; where it does not suffice, double.

        Returns
        -------
        d, change, rise : ndarray of shape (r, k, n_inputs) or (r, k, n_rows)
            Solutions, and the products of Gram matrix and normals with them.
        """
        dtype = np.dtype(precision or self.gram.dtype)
        parts = self.normals, self.gram, multiplier[:, None, None], stiffness
        parts += (row_stiffness[:, :, None],)
        d = right.astype(dtype)
        solved = _solve_in(dtype, parts, d)
        bad = np.flatnonzero(~solved)
        if len(bad):
            again = right[bad]
            solved = _solve_in(np.dtype(np.float64), [part[bad] for part in parts], again)
            d[bad] = np.where(solved[:, None, None], again, 0.0)
        d = d.astype(self.gram.dtype)
        products = d, d @ self.gram, d @ self.normals.transpose(0, 2, 1)
        return [np.moveaxis(product, 1, 0) for product in products]


def _solve_in(dtype, parts, right):
    """Solve systems in a precision, in place; returns which of them could be."""
    normals, gram, multiplier, stiffness, row_stiffness = parts
    matrices = np.multiply(gram, multiplier, dtype=dtype, casting="same_kind")
    matrices += normals.transpose(0, 2, 1) @ (row_stiffness.astype(dtype) * normals)
    np.einsum("kii->ki", matrices)[...] += stiffness
    solved = factor_positive(matrices)
    solve_factored(matrices, right)
    return solved


def fast_order(size):
    """The next order of a matrix with which LAPACK is fast."""
    return -(-size // MULTIPLE) * MULTIPLE

"""The linear systems of an interior-point step, for several neurons at a time."""

import numpy as np

from ._lapack import solve_positive

# Orders of matrices that are not multiples of this cost more than the next that is.
MULTIPLE = 8


class NewtonSystem:
    """Newton systems: ``multiplier gram + diag(stiffness) + normals' diag(row_stiffness) normals``.

    One for each of some neurons, in the precision of the data unless that will not do.

    Parameters
    ----------
    neurons : ndarray of int of shape (k,)
        Whose systems they are.
    normals : ndarray of shape (k, n_rows, n_inputs)
        Of the rows; zero where there is nothing.
    gram : ndarray of shape (k, n_inputs, n_inputs)
        Over the rows that the ball charges.
    """

    def __init__(self, neurons, normals, gram):
        self.neurons, self.normals, self.gram = neurons, normals, gram

    def part(self, some):
        """Some of the systems."""
        if len(some) == len(self.gram):
            return self
        return NewtonSystem(self.neurons[some], self.normals[some], self.gram[some])

    def combine(self, of_rows):
        """Sums of normals.

        Parameters
        ----------
        of_rows : ndarray of shape (k, n_sums, n_rows)

        Returns
        -------
        sums : ndarray of shape (k, n_sums, n_inputs)
        """
        return of_rows @ self.normals

    def solve(self, multiplier, stiffness, row_stiffness, right, dtype):
        """Solve all systems.

        Parameters
        ----------
        multiplier : ndarray of shape (k,)
        stiffness : ndarray of shape (k, n_inputs)
        row_stiffness : ndarray of shape (k, n_rows)
        right : ndarray of shape (k, r, n_inputs)
        dtype : dtype
            Where it does not suffice, double.

        Returns
        -------
        d, change, rise : ndarray of shape (k, r, n_inputs) or (k, r, n_rows)
            Solutions, and the products of Gram matrix and normals with them.
        """
        # All divided by the multiplier.
        multiplier = multiplier[:, None]
        parts = self.normals, self.gram, stiffness / multiplier
        parts += (np.sqrt(row_stiffness / multiplier)[:, :, None],)
        right = right / multiplier[:, None]
        d = right.astype(dtype)
        solved = _solve_in(dtype, parts, d)
        unsolved = np.flatnonzero(~solved)
        # Half of them at a time, for the same memory.
        for bad in np.array_split(unsolved, 2) if len(unsolved) else ():
            again = right[bad]
            solved = _solve_in(np.dtype(np.float64), [part[bad] for part in parts], again)
            d[bad] = np.where(solved[:, None, None], again, 0.0)
        d = d.astype(self.gram.dtype, copy=False)
        return d, d @ self.gram, d @ self.normals.transpose(0, 2, 1)


def _solve_in(dtype, parts, right):
    """Solve systems in a precision, in place; returns which of them could be."""
    normals, gram, stiffness, root = parts
    scaled = normals * root.astype(dtype, copy=False)
    # Of a matrix and itself, which takes half the operations.
    matrices = scaled.transpose(0, 2, 1) @ scaled
    matrices += gram
    np.einsum("kii->ki", matrices)[...] += stiffness
    return solve_positive(matrices, right)


def fast_order(size):
    """The next order of a matrix with which LAPACK is fast."""
    return -(-int(size) // MULTIPLE) * MULTIPLE

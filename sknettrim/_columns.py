"""Norms, means and choices of columns, dense or sparse, and what errors are relative to."""

import numpy as np
from scipy import sparse


def column_means(array, mask):
    """Of the elements of a mask; zero where there are none."""
    return np.einsum("ij,ij->j", array, mask) / np.maximum(mask.sum(axis=0), 1)


def gather(A, columns):
    """Some columns as a dense array; sparse ones from CSC."""
    return np.asfortranarray(A[:, columns].toarray()) if sparse.issparse(A) else A[:, columns]


def norm(array, per_column=False):
    """Frobenius norm, or those of the columns, whatever the range of the data type is."""
    return column_norms(array) if per_column else float(np.linalg.norm(column_norms(array)))


def column_norms(A):
    """Euclidean norms of the columns, in float64."""
    if sparse.issparse(A):
        return sparse.linalg.norm(A.astype(np.float64), axis=0)
    return np.sqrt(column_squares(A, np.float64))


def column_squares(array, dtype=None):
    """Of the norms of the columns of a dense array, summed in the given dtype or its own."""
    return np.einsum("ij,ij->j", array, array, dtype=dtype)


def or_one(scale):
    """What to divide by: an error relative to zero, as the targets of a neuron may be, is absolute.

    Parameters
    ----------
    scale : float or ndarray
        Not negative.
    """
    return np.where(scale > 0, scale, 1.0)

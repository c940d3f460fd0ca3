"""The intercept as the weight of one more input, of ones; inputs centred where it is free."""

import numpy as np
from scipy import sparse


def stack_intercept(A, dtype):
    """``[A, 1]`` in the given dtype; CSR stays CSR."""
    ones = np.ones((A.shape[0], 1), dtype=dtype)
    if sparse.issparse(A):
        return sparse.hstack([A.astype(dtype), sparse.csr_array(ones)], format="csr")
    return np.hstack([A, ones], dtype=dtype)


def centred(A, dtype, free_intercept=True, order="C"):
    """``[A - 1 mean', 1]`` and the mean: a free intercept makes up for it.

    Numbers far from zero would cost digits. Sparse inputs keep their zeros, so their mean is
    given as zero.
    """
    if sparse.issparse(A) or not free_intercept:
        return stack_intercept(A, dtype), np.zeros(A.shape[1])
    mean = A.mean(axis=0, dtype=np.float64)
    result = np.ones((len(A), len(mean) + 1), dtype=dtype, order=order)
    np.subtract(A, mean, out=result[:, :-1], casting="same_kind")
    return result, mean


def stacked(U, c, mean):
    """Weights of :func:`centred` inputs and of the ones beside them, as one array."""
    return np.vstack([U, c + mean @ U])


def unstacked(weights, mean):
    """The way back: weights, and intercepts of inputs as they were."""
    U, c = weights[:-1], weights[-1]
    return U, c - mean @ U

"""Units in which ADMM works: of targets, and of each input."""

import numpy as np
from scipy import sparse

from .._columns import column_norms, norm


def scaled(target, dtype):
    """Targets in units that suit the precision, and the unit.

    Double has room for any; and what has not to be changed takes no memory.
    """
    if target.dtype == dtype == np.float64:
        return target, 1.0
    scale = max(norm(target) / np.sqrt(target.size), np.finfo(np.float64).tiny)
    return np.divide(target, scale, dtype=dtype, casting="same_kind"), scale


def scale_of_columns(A):
    """Halfway, in the geometric mean, between the columns' norms and one scale for all.

    The intercept, last, counts for a third, so that it moves freely.
    """
    norms = column_norms(A)
    norms[norms == 0] = 1.0
    scale = np.sqrt(norms * np.median(norms))
    scale[-1] = norms[-1] / 3.0
    return scale


def with_scaled_columns(A, scale):
    """In place, unless the inputs are sparse."""
    if sparse.issparse(A):
        return A.multiply(scale).astype(A.dtype).tocsr()
    A *= scale.astype(A.dtype)
    return A

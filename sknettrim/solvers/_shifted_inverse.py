"""The one matrix that ADMM inverts, for the whole layer."""

from contextlib import nullcontext

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dpotrf, dpotri

from .._threads import blas_unlimited

# Order of a matrix from which its inverse is worth waiting for the threads of BLAS to calm down.
LARGE_INVERSE = 1500


class ShiftedInverse:
    """Of A'A or A A', the smaller one (`gram`), with a shift of its diagonal (`matrix`)."""

    def __init__(self, A, workers):
        self.A = A
        self.wide = A.shape[0] < A.shape[1]
        if sparse.issparse(A):
            self.gram = (A @ A.T if self.wide else A.T @ A).toarray()
        else:
            self.gram = workers.products(A, A.T) if self.wide else workers.sums(A, A)
        self.smallest = 10 * np.finfo(A.dtype).eps * float(np.linalg.norm(self.gram))

    def shift(self, shift):
        """Set the shift, no smaller than the precision bears; returns what was set."""
        # The old one is not kept beside the new.
        self.matrix = None
        self.value = float(max(shift, self.smallest))
        while (lower := self._invert()) is None:
            # Rounding errors of the Gram matrix are larger than was thought.
            self.value = self.smallest = 10 * self.value
        # LAPACK leaves zeros above the diagonal.
        np.fill_diagonal(lower, lower.diagonal() / 2)
        self.matrix = np.empty_like(self.gram)
        np.add(lower, lower.T, out=self.matrix, casting="same_kind")
        return self.value

    def _invert(self):
        """Lower triangle of the inverse, or None if the shifted matrix is not positive definite."""
        matrix = self.gram.astype(np.float64)
        np.fill_diagonal(matrix, matrix.diagonal() + self.value)
        with nullcontext() if len(matrix) < LARGE_INVERSE else blas_unlimited():
            lower, failed = dpotrf(matrix.T, lower=True, overwrite_a=True)
            if failed and not np.isfinite(self.smallest):
                raise np.linalg.LinAlgError("the Gram matrix is not finite")
            return None if failed else dpotri(lower, lower=True, overwrite_c=True)[0]

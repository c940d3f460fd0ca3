"""The one matrix that ADMM inverts, for the whole layer."""

from contextlib import nullcontext

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dpotrf, dpotri
from sklearn.utils.extmath import safe_sparse_dot

from .._threads import blas_unlimited

# Order of a matrix from which its inverse is worth waiting for the threads of BLAS to calm down.
LARGE_INVERSE = 1500


class ShiftedInverse:
    """Multiplication by (A'A + shift I)^-1, through the smaller of the two Gram matrices."""

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
        self.value = shift = max(shift, self.smallest)
        matrix = self.gram.astype(np.float64)
        np.fill_diagonal(matrix, matrix.diagonal() + shift)
        with nullcontext() if len(matrix) < LARGE_INVERSE else blas_unlimited():
            lower, failed = dpotrf(matrix.T, lower=True, overwrite_a=True)
            if failed:
                raise np.linalg.LinAlgError("the Gram matrix is not positive definite")
            lower, _ = dpotri(lower, lower=True, overwrite_c=True)
        # LAPACK leaves zeros above the diagonal.
        np.fill_diagonal(lower, lower.diagonal() / 2)
        lower = lower.astype(self.A.dtype)
        self.matrix = lower + lower.T
        return shift

    def multiply(self, right, out):
        """The product where there are more inputs than rows; else `matrix` is the inverse."""
        # (A'A + k I)^-1 = (I - A'(A A' + k I)^-1 A) / k
        inner = self.matrix @ safe_sparse_dot(self.A, right)
        np.subtract(right, safe_sparse_dot(self.A.T, inner), out=out)
        out /= self.A.dtype.type(self.value)

"""BLAS and LAPACK for threads of our own, on stacks of small symmetric matrices.

The matrices of one neuron are too small for the threads of BLAS, and there are many neurons. While
`scipy.linalg.lapack` works on one no other thread can run Python; a function called by its
address lets them. What BLAS does with a factor is too short for that: another thread would have to
be woken, and waited for. The addresses are those that scipy exports for Cython.

A stack is a C-contiguous array whose last two axes are those of a matrix, by columns as LAPACK
counts: what is called its lower triangle, the one that LAPACK is faster with, is the upper one of
the array.
"""

import ctypes
from functools import cache
from itertools import repeat

import numpy as np
from scipy import LowLevelCallable
from scipy.linalg import cython_blas, cython_lapack

_NAME = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
_ADDRESS = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_PREFIX = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}


def factor_positive(matrices):
    """Cholesky factors of symmetric positive definite matrices, in place.

    Parameters
    ----------
    matrices : ndarray of shape (k, n, n)
        A stack, of which the lower triangles count, and become the factors.

    Returns
    -------
    factored : ndarray of bool of shape (k,)
        False where a matrix is not positive definite in its precision.
    """
    k, n, _ = matrices.shape
    info = np.zeros(k, dtype=np.int32)
    _each(cython_lapack, "potrf", matrices.dtype, b"L", n, matrices, n, info)
    return info == 0


def solve_factored(factors, rights):
    """Solve with factored matrices, in place.

    Parameters
    ----------
    factors : ndarray of shape (k, n, n)
        What `factor_positive` has left.
    rights : ndarray of shape (k, r, n), C-contiguous
        A row for each right-hand side, of the same dtype; takes the solutions.
    """
    _, r, n = rights.shape
    # One by one: potrs is made for many at a time, and takes up to four times as long for one.
    for i in range(r):
        for transposed in (b"N", b"T"):
            right = rights[:, i]
            arguments = b"L", transposed, b"N", n, factors, n, right, 1
            _each(cython_blas, "trsv", factors.dtype, *arguments)


def _each(module, name, dtype, *arguments):
    """Call a routine for each item of a stack.

    Everything goes by reference: of arrays the address of the item; numbers are the same for all.
    """
    routine = _routine(module, _PREFIX[dtype] + name)
    # Kept here while addresses are in use.
    arguments = [np.array(a, np.int32) if isinstance(a, int) else a for a in arguments]
    for addresses in zip(*map(_addresses, arguments), strict=False):
        routine(*addresses)


def _addresses(value):
    if isinstance(value, np.ndarray):
        first = value.ctypes.data
        if value.ndim == 0:
            return repeat(first)
        return (first + i * value.strides[0] for i in range(len(value)))
    return repeat(value) if isinstance(value, bytes) else value


@cache
def _routine(module, name):
    capsule = LowLevelCallable.from_cython(module, name).function
    signature = _NAME(("PyCapsule_GetName", ctypes.pythonapi))(capsule)
    address = _ADDRESS(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, signature)
    # Such as b"void (char *, int *, float *)".
    types = [
        ctypes.c_char_p if b"char" in argument else ctypes.c_void_p
        for argument in signature.split(b",")
    ]
    prototype = ctypes.PYFUNCTYPE if module is cython_blas else ctypes.CFUNCTYPE
    return prototype(None, *types)(address)

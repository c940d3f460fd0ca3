"""LAPACK for threads of our own, on stacks of small symmetric matrices.

The matrices of one neuron are too small for the threads of BLAS, and there are many neurons. While
`scipy.linalg.lapack` works on one no other thread can run Python; a function called by its
address lets them. The addresses are those that scipy exports for Cython.

A stack is a C-contiguous array whose last two axes are those of a matrix, by columns as LAPACK
counts: what is called its lower triangle, the one that LAPACK is faster with, is the upper one of
the array.
"""

import ctypes
from functools import cache
from itertools import repeat

import numpy as np
from scipy import LowLevelCallable
from scipy.linalg import cython_lapack

_NAME = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
_ADDRESS = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_PREFIX = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}


def solve_positive(matrices, rights):
    """Solve with symmetric positive definite matrices, in place.

    One call for factor and solution: after each, a thread has to wait for its turn in Python.

    Parameters
    ----------
    matrices : ndarray of shape (k, n, n)
        A stack, of which the lower triangles count, and become the Cholesky factors.
    rights : ndarray of shape (k, r, n), C-contiguous
        A row for each right-hand side, of the same dtype; takes the solutions.

    Returns
    -------
    solved : ndarray of bool of shape (k,)
        False where a matrix is not positive definite in its precision.
    """
    k, r, n = rights.shape
    info = np.zeros(k, dtype=np.int32)
    _each("posv", matrices.dtype, b"L", n, r, matrices, n, rights, n, info)
    return info == 0


def _each(name, dtype, *arguments):
    """Call a routine for each item of a stack.

    Everything goes by reference: of arrays the address of the item; numbers are the same for all.
    """
    routine = _routine(_PREFIX[dtype] + name)
    # Kept here while addresses are in use.
    arguments = [np.array(a, np.int32) if isinstance(a, int) else a for a in arguments]
    for addresses in zip(*map(_addresses, arguments), strict=False):
        routine(*addresses)


def _addresses(value):
    if not isinstance(value, np.ndarray):
        return repeat(value)
    first = value.ctypes.data
    if value.ndim == 0:
        return repeat(first)
    # Of an axis of length one the stride may be anything.
    stride = value.strides[0] or 1
    return range(first, first + len(value) * stride, stride)


@cache
def _routine(name):
    capsule = LowLevelCallable.from_cython(cython_lapack, name).function
    signature = _NAME(("PyCapsule_GetName", ctypes.pythonapi))(capsule)
    address = _ADDRESS(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, signature)
    # Such as b"void (char *, int *, float *)".
    types = [
        ctypes.c_char_p if b"char" in argument else ctypes.c_void_p
        for argument in signature.split(b",")
    ]
    return ctypes.CFUNCTYPE(None, *types)(address)

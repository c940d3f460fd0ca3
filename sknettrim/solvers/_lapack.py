"""LAPACK and BLAS for threads of our own: scipy's wrappers keep the interpreter to themselves.

A matrix of one neuron is too small for the threads of BLAS, and there are many neurons. While
`scipy.linalg.lapack` solves a system no other thread can run Python; a function called by its
address lets them. The addresses are those that scipy exports for Cython.
"""

import ctypes
from functools import cache

import numpy as np
from scipy import LowLevelCallable
from scipy.linalg import cython_blas, cython_lapack

_NAME = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
_ADDRESS = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_REALS = {
    np.dtype(np.float32): ("s", ctypes.c_float),
    np.dtype(np.float64): ("d", ctypes.c_double),
}


def solve_positive(matrix, right):
    """Solve with a symmetric positive definite matrix, in place.

    Parameters
    ----------
    matrix : ndarray of shape (n, n), Fortran-contiguous
        Its upper triangle counts, and is lost.
    right : ndarray of shape (k, n), C-contiguous
        A row for each right-hand side, of the same dtype; takes the solutions.

    Returns
    -------
    solved : bool
        False if the matrix is not positive definite in its precision.
    """
    prefix, _ = _REALS[matrix.dtype]
    k, n = map(ctypes.c_int, right.shape)
    info = ctypes.c_int()
    _call(cython_lapack, prefix + "posv", b"U", n, k, matrix, n, right, n, info)
    return info.value == 0


def multiply_symmetric(matrix, right):
    """``right @ matrix``: shapes and storage as in `solve_positive`, but nothing is lost."""
    prefix, real = _REALS[matrix.dtype]
    k, n = map(ctypes.c_int, right.shape)
    result = np.zeros_like(right)
    one, zero = real(1.0), real(0.0)
    arguments = n, k, one, matrix, n, right, n, zero, result, n
    _call(cython_blas, prefix + "symm", b"L", b"U", *arguments)
    return result


def _call(module, name, *arguments):
    """Call a Fortran routine: everything goes by reference."""
    _routine(module, name)(*map(_reference, arguments))


def _reference(value):
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    return value if isinstance(value, bytes) else ctypes.addressof(value)


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
    return ctypes.CFUNCTYPE(None, *types)(address)

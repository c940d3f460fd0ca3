"""Routines by their address: the same numbers as numpy, and other threads go on meanwhile."""

import threading
from time import perf_counter

import numpy as np
import pytest

from sknettrim.solvers._lapack import solve_positive

DTYPES = [np.float32, np.float64]


def positive(n, dtype, k=3, seed=0):
    """A stack of positive definite matrices, and right-hand sides in rows."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((k, 2 * n, n))
    return (B.transpose(0, 2, 1) @ B).astype(dtype), rng.standard_normal((k, 2, n)).astype(dtype)


def lower(matrices):
    """The triangle that counts, by columns the lower one, and what must not matter beside it."""
    return np.triu(matrices) + np.tril(np.full_like(matrices, np.nan), -1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 150])
@pytest.mark.parametrize("k", [1, 3])
def test_systems_are_solved_from_one_triangle(k, n, dtype):
    matrices, rights = positive(n, dtype, k)
    factors, solutions = lower(matrices), rights.copy()
    assert solve_positive(factors, solutions).all()
    expected = np.linalg.solve(matrices.astype(float), rights.astype(float).transpose(0, 2, 1))
    error = np.abs(solutions - expected.transpose(0, 2, 1)).max() / np.abs(expected).max()
    assert error < 1e3 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_view_of_one_matrix_is_a_stack(dtype):
    """Numpy gives an axis of length one any stride, zero included."""
    matrices, rights = positive(5, dtype, k=1)
    expected = np.linalg.solve(matrices[0], rights[0].T).T
    factor, solution = matrices[0][None], rights[0][None]
    assert factor.strides[0] == solution.strides[0] == 0
    assert solve_positive(factor, solution).all()
    np.testing.assert_allclose(solution[0], expected, rtol=1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_positive_definite_is_told(dtype):
    matrices, rights = positive(5, dtype)
    matrices[1, 3, 3] = -1
    np.testing.assert_array_equal(solve_positive(matrices, rights), [True, False, True])


def test_other_threads_go_on_while_a_system_is_solved():
    matrix, right = positive(1200, np.float64, k=1)
    turns, solves, ended = [], [], threading.Event()

    def solve():
        for _ in range(5):
            copies = matrix.copy(), right.copy()
            begin = perf_counter()
            solve_positive(*copies)
            solves.append((begin, perf_counter()))
        ended.set()

    thread = threading.Thread(target=solve)
    thread.start()
    while not ended.is_set():
        turns.append(perf_counter())
    thread.join()

    def longest_wait(begin, end):
        """Of this thread during a solve, relative to all of it."""
        times = [begin, *(turn for turn in turns if begin < turn < end), end]
        return np.max(np.diff(times)) / (end - begin)

    assert np.median([longest_wait(*solve) for solve in solves]) < 0.5

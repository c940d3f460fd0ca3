"""Routines by their address: the same numbers as numpy, and other threads go on meanwhile."""

import threading
from time import perf_counter

import numpy as np
import pytest

from sknettrim.solvers._lapack import multiply_symmetric, solve_positive

DTYPES = [np.float32, np.float64]


def positive(n, dtype, seed=0):
    """A positive definite matrix, in columns, and right-hand sides in rows."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((2 * n, n))
    return np.asfortranarray(B.T @ B, dtype=dtype), rng.standard_normal((2, n)).astype(dtype)


def upper(matrix):
    """The upper triangle, and what must not matter below it."""
    return np.asfortranarray(np.triu(matrix) + np.tril(np.full_like(matrix, np.nan), -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 150])
def test_a_system_is_solved_from_the_upper_triangle(n, dtype):
    matrix, right = positive(n, dtype)
    solution = right.copy()
    assert solve_positive(upper(matrix), solution)
    expected = np.linalg.solve(matrix.astype(float), right.T.astype(float)).T
    error = np.abs(solution - expected).max() / np.abs(expected).max()
    assert error < 1e3 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_positive_definite_is_told(dtype):
    matrix, right = positive(5, dtype)
    matrix[3, 3] = -1
    assert not solve_positive(matrix, right)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_takes_the_upper_triangle_and_leaves_everything_as_it_is(dtype):
    matrix, right = positive(9, dtype)
    triangle, before = upper(matrix), right.copy()
    product = multiply_symmetric(triangle, right)
    np.testing.assert_allclose(product, right @ matrix, rtol=1e3 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(triangle, upper(matrix))
    np.testing.assert_array_equal(right, before)
    assert product.dtype == dtype


def test_other_threads_go_on_while_a_system_is_solved():
    matrix, right = positive(1200, np.float64)
    turns, solves, ended = [], [], threading.Event()

    def solve():
        for _ in range(5):
            copy, begin = matrix.copy(order="F"), perf_counter()
            solve_positive(copy, right)
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

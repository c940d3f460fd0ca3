"""The authors' ADMM, written from the paper: what a faster solver has to be measured against.

Aghasi, Abdi, Romberg, "Fast Convex Pruning of Deep Neural Networks", SIAM J. Math. Data Sci. 2020,
arXiv 1806.06457, section on the implementation; the intercept is the weight of an input of ones::

    minimise  ||W2||_1   subject to  W1 = A W3 in C,  W2 = W3

alternately over (W1, W2) and over W3, a least-squares problem whose matrix is factored once.
What the paper leaves open is taken from the authors' published implementation: data divided by
0.3 times the square root of the largest entry of A'A, zeros to start from, an end once the weights
move by less than 5e-9 times their number or after 10,000 iterations, W2 as the answer, float64.

The algorithm is theirs to the letter, the arithmetic is not: A W3 is computed once per iteration,
nothing is indexed by lists, and arrays are reused, all of which makes it faster.
"""

import time
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

MOVED = 5e-9
SCALE = 0.3
RHOS = (10.0, 100.0)


class Solution(NamedTuple):
    """Weights, intercepts, iterations, and whether the stopping rule ended them."""

    coef: np.ndarray
    intercept: np.ndarray
    n_iter: int
    stopped: bool


def solve(A, Y, radius, *, matched, rho, penalize_intercept=True, max_iter=10_000, seconds=np.inf):
    """Solve the program of one layer.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_inputs)
        Inputs.
    Y : ndarray of shape (n_samples, n_neurons)
        Outputs of a relu layer; the responses if `matched`.
    radius : float
        The absolute epsilon.
    matched : bool
        Match `Y` everywhere; else where it is positive, and stay below zero elsewhere.
    rho : float
        The parameter of the augmented Lagrangian.
    penalize_intercept : bool, default=True
        Whether intercepts count in the l1 norm; the authors' do.
    max_iter : int, default=10,000
        Most iterations.
    seconds : float, default=inf
        Time after which to give up.

    Returns
    -------
    Solution
    """
    deadline = time.perf_counter() + seconds
    active = np.ones(Y.shape, dtype=bool) if matched else Y > 0
    A = np.column_stack([A, np.ones(len(A))])
    gram = A.T @ A
    scale = SCALE * np.sqrt(gram.max())
    A /= scale
    Y, radius = Y / scale, radius / scale
    factor = cho_factor(gram / scale**2 + np.eye(len(gram)), lower=True)
    threshold = np.full((A.shape[1], 1), 1 / rho)
    threshold[-1] *= penalize_intercept

    shape = A.shape[1], Y.shape[1]
    W2, W3, U2 = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    W1, S, U1 = np.empty(Y.shape), np.zeros(Y.shape), np.zeros(Y.shape)
    n_iter, stopped = 0, False
    while not stopped and n_iter < max_iter and time.perf_counter() < deadline:
        n_iter += 1
        np.subtract(S, U1, out=W1)
        _project(W1, Y, active, radius)
        W2 = W3 - U2
        W2 -= np.clip(W2, -threshold, threshold)
        # U1 becomes W1 + U1 for the right-hand side, and the new multiplier after it.
        U1 += W1
        U2 += W2
        right = A.T @ U1
        right += U2
        before, W3 = W3, cho_solve(factor, right, overwrite_b=True, check_finite=False)
        np.matmul(A, W3, out=S)
        U1 -= S
        U2 -= W3
        stopped = bool(np.linalg.norm(W3 - before) < MOVED * W3.size)
    return Solution(W2[:-1], W2[-1], n_iter, stopped)


def _project(W, Y, active, radius):
    """The nearest point of C, in place: a ball around Y where active, at most 0 elsewhere.

    Y is zero where the neuron was off, so that there the deviation is the response itself.
    """
    W -= Y
    charged = np.where(active, W, 0.0)
    distance = np.sqrt(np.vdot(charged, charged))
    np.minimum(W, 0.0, out=W)
    np.copyto(W, charged, where=active)
    if distance > radius:
        np.multiply(W, radius / distance, out=W, where=active)
    W += Y

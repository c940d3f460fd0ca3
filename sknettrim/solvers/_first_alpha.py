"""The multiplier of the ball at which Newton's method begins.

Where ADMM is slow, its multipliers can be wrong by orders of magnitude, while its weights are much
nearer. As in Newton's method, ``alpha`` is one over the multiplier.
"""

import numpy as np
from sklearn.utils.extmath import safe_sparse_dot

from .._columns import column_squares
from ._base import spread

# An alpha that dual point and weights agree on, to this factor.
AGREEMENT = 1.25
# A bound that a dual point proves, relative to the objective, from which its alpha is believed.
WORTH = 0.1


def first_alpha(state, start):
    """What goes with the weights or, where these say about the same or nothing, the dual point.

    Parameters
    ----------
    state : _State
        Of Newton's method, with the weights of the start.
    start : Solution

    Returns
    -------
    alpha : ndarray of shape (m,)
    scale : ndarray of shape (m,)
        Of the dual point, to go with it; zero where it had better be forgotten.
    """
    of_weights, of_dual = _of_weights(state), _of_dual(state.problem, start.Xi)
    proves = _proves(state.problem, start)
    # All of it is kept where a ball is a point, and what proves nothing may never get smaller.
    dropped = state.exact & ~proves
    of_dual = np.where(dropped, 0.0, of_dual)
    believed = (of_dual > 0) & proves
    unknown = np.where(believed, of_dual, _of_first_weight(state) / 2)
    alpha = np.where(of_weights > 0, of_weights, unknown)
    agrees = (alpha < AGREEMENT * of_dual) & (of_dual < AGREEMENT * alpha)
    alpha = np.where((of_dual > 0) & (agrees | state.exact), of_dual, alpha)
    return alpha, np.where(of_dual > 0, of_dual / alpha, np.where(dropped, 0.0, 1.0))


def _proves(problem, start):
    """Whether a dual point proves something for the weights of a ball."""
    dual = problem.dual_point(start.Xi)
    objectives = problem.objectives(start.U, start.c)
    if not problem.per_neuron:
        return dual.objective > WORTH * objectives.sum()
    return dual.bounds - problem.epsilon * dual.norm > WORTH * objectives


def _of_dual(problem, Xi):
    """At which a dual point was optimal; zero without one."""
    scale = problem.norm(problem.charged(Xi))
    with np.errstate(divide="ignore"):
        return np.where(scale > 0, problem.epsilon / scale, 0.0)


def _of_weights(state):
    """At which the weights were optimal; zero where they cannot have been.

    For the deviation D that the ball measures, of responses S, ``-<D, S> = alpha sum R |x|``
    at an optimum. Taken is the larger of two: with D as it is, and with epsilon for its norm.
    """
    problem = state.problem

    def over(some):
        active, target = problem.active[:, some], state.target[:, some]
        D = state.A @ state.x[:, some] - target
        D *= active if problem.strict else active | (D > 0)
        return np.einsum("ij,ij->j", D, target), column_squares(D)

    inner, square = state.in_batches(over)
    size = np.sum(state.penalty * np.abs(state.x), axis=0)
    if not problem.per_neuron:
        inner, square, size = inner.sum(), square.sum(), size.sum()
    norm, epsilon = np.sqrt(square), problem.epsilon
    with np.errstate(all="ignore"):
        alpha = np.fmax(-inner * (epsilon / norm) - epsilon**2, -inner - square) / size
    return np.where(np.isfinite(alpha) & (alpha > 0), alpha, 0.0)


def _of_first_weight(state):
    """At which a neuron's first weight appears."""
    deviation = spread(state.target, state.problem.active)
    alpha = np.abs(safe_sparse_dot(state.A.T, deviation)[:-1]) / state.penalty[:-1]
    alpha = alpha.max(axis=0) if state.problem.per_neuron else alpha.max()
    return np.where(alpha > 0, alpha, 1.0)

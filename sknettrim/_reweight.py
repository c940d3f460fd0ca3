"""Reweighted l1 norms (Candes, Wakin, Boyd, "Enhancing Sparsity by Reweighted l1", 2008)."""

import numpy as np

# A share of the mean magnitude of the weights that are not zero: what keeps the others from
# staying zero for ever.
FLOOR = 0.1


def reweighted(problem, U):
    """The problem with large penalties where U is small: ``1 / (|U| + delta)``, of median one.

    They multiply the penalty weights that the problem has. Constraints do not change.

    Parameters
    ----------
    problem : LayerProblem
    U : ndarray of shape (n_inputs, n_neurons)

    Returns
    -------
    problem : LayerProblem
    """
    # Neurons that have a ball of their own have weights of their own too.
    axis = 0 if problem.per_neuron else None
    magnitude = np.abs(U, dtype=np.float64)
    mean = magnitude.sum(axis=axis) / np.maximum(np.count_nonzero(U, axis=axis), 1)
    weights = 1 / (magnitude + np.where(mean > 0, FLOOR * mean, 1.0))
    weights /= np.median(weights, axis=axis)
    if problem.penalty_weights is not None:
        weights *= problem.penalty_weights
    return problem.with_penalty(weights)

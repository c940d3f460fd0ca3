"""Exact optimal brain surgeon for a layer (Frantar & Alistarh, "Optimal Brain Compression", 2022).

Every neuron is emptied weight by weight, and the traces of all neurons are merged, the cheapest
next removal first (algorithm 2). The removals are those of the package, which it needs for a refit;
here they start from all weights of the layer and take the loss of the paper.
"""

import numpy as np

from sknettrim._elimination import removals

# Neurons that are emptied side by side; each has its own inverse.
_NEURONS = 16


def order_of_removal(H, W):
    """The order in which each neuron loses its weights, and what each loss costs.

    Parameters
    ----------
    H : ndarray of shape (n_inputs, n_inputs)
        Positive definite.
    W : ndarray of shape (n_inputs, n_neurons)

    Returns
    -------
    order : ndarray of shape (n_inputs, n_neurons)
        Inputs, the first to go first.
    cost : ndarray of shape (n_inputs, n_neurons)
        The rise of the loss at each removal.
    """
    inverse = np.linalg.inv(H)
    order, cost = np.empty(W.shape, dtype=int), np.empty(W.shape)
    for first in range(0, W.shape[1], _NEURONS):
        block = slice(first, first + _NEURONS)
        weights = W[:, block].T
        inverses = np.repeat(inverse[None], len(weights), axis=0)
        order[:, block], cost[:, block] = removals(inverses, weights)
    return order, cost


def mask_of_traces(order, cost, count):
    """The weights that remain when the cheapest next removals are made until `count` are left."""
    # A neuron's next removal waits for its earlier ones, however cheap it is itself.
    waiting = np.maximum.accumulate(cost, axis=0)
    removed = np.zeros(order.size, dtype=bool)
    removed[np.argsort(waiting, axis=None, kind="stable")[: order.size - count]] = True
    step, neuron = np.nonzero(removed.reshape(order.shape))
    mask = np.ones(order.shape, dtype=bool)
    mask[order[step, neuron], neuron] = False
    return mask

"""Exact optimal brain surgeon for a layer (Frantar & Alistarh, "Optimal Brain Compression", 2022).

The loss of a neuron is ``(w - w0)' H (w - w0)``. Removing weight i at best costs ``w_i^2 / d_i``
with d the diagonal of the inverse of H on the weights that remain, and moves them all (equation 3);
the inverse is then that of one weight less (lemma 1). Every neuron is emptied so, weight by weight,
and the traces of all neurons are merged, the cheapest next removal first (algorithm 2).
"""

import numpy as np

# Neurons that are emptied side by side; each has its own inverse.
_NEURONS = 16
# Rank-one updates of the inverses that are saved up to be done as one matrix product.
_DELAY = 32


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
        order[:, block], cost[:, block] = _empty(inverse, W[:, block].T)
    return order, cost


def _empty(inverse, weights):
    m, p = weights.shape
    order, cost = np.empty((p, m), dtype=int), np.empty((p, m))
    inverses = np.repeat(inverse[None], m, axis=0)
    weights, names = weights.copy(), np.tile(np.arange(p), (m, 1))
    rows = np.arange(m)
    for first in range(0, p, _DELAY):
        steps = min(_DELAY, p - first)
        diagonal = np.einsum("mii->mi", inverses).copy()
        updates = np.zeros((m, p - first, steps))
        alive = np.ones(weights.shape, dtype=bool)
        for step in range(steps):
            loss = np.where(alive, weights**2 / np.where(alive, diagonal, 1.0), np.inf)
            out = loss.argmin(axis=1)
            order[first + step], cost[first + step] = names[rows, out], loss[rows, out]
            column = inverses[rows, :, out]
            column -= np.einsum("mit,mt->mi", updates[..., :step], updates[rows, out, :step])
            column /= np.sqrt(diagonal[rows, out])[:, None]
            weights -= column * (weights[rows, out] / column[rows, out])[:, None]
            diagonal -= column**2
            updates[..., step] = column
            alive[rows, out] = False
        kept = np.nonzero(alive)[1].reshape(m, -1)
        inverses = np.take_along_axis(inverses, kept[:, :, None], axis=1)
        inverses = np.take_along_axis(inverses, kept[:, None, :], axis=2)
        updates = np.take_along_axis(updates, kept[:, :, None], axis=1)
        inverses -= updates @ updates.transpose(0, 2, 1)
        weights = np.take_along_axis(weights, kept, axis=1)
        names = np.take_along_axis(names, kept, axis=1)
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

"""Exact optimal brain surgeon (Frantar & Alistarh, "Optimal Brain Compression", 2022).

The loss of a neuron around its minimiser w is ``(v - w)' H (v - w)``. Removing weight i at best
costs ``w_i^2 / d_i``, with d the diagonal of the inverse of H on the weights that remain, and
moves them all (equation 3); the inverse is then that of one weight less (lemma 1).
"""

import numpy as np

# Rank-one updates of the inverses that are saved up to be done as one matrix product.
_DELAY = 32
# A weight that is dearer than any other: what fills up neurons that have fewer.
PADDING = 1e150


def removals(inverses, weights, room=np.inf):
    """Empty neurons side by side, weight by weight, the cheapest first.

    Parameters
    ----------
    inverses : ndarray of shape (n_neurons, n_weights, n_weights)
        Of the matrices H, positive definite.
    weights : ndarray of shape (n_neurons, n_weights)
        The minimisers.
    room : float or ndarray of shape (n_neurons,), default=inf
        Where the losses of all neurons have risen by more than this, it may stop.

    Returns
    -------
    order : ndarray of shape (n_weights, n_neurons)
        Positions of the weights, the first to go first.
    cost : ndarray of shape (n_weights, n_neurons)
        The rise of the loss at each removal; infinite for those that were not looked at.
    """
    m, p = weights.shape
    order, cost = np.zeros((p, m), dtype=int), np.full((p, m), np.inf)
    weights, names = weights.copy(), np.tile(np.arange(p), (m, 1))
    rows, spent = np.arange(m), np.zeros(m)
    for first in range(0, p, _DELAY):
        if np.all(spent > room):
            break
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
        spent += cost[first : first + steps].sum(axis=0)
    return order, cost

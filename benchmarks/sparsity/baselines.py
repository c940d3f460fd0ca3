"""What others do with a layer: each method gives, for each wanted count, weights and intercepts.

All match responses before the activation. The intercept is never removed; methods that change
weights may change it as well, which the papers have no use for and which helps them here: it is
the same as centring inputs and responses.
"""

import numpy as np

from .obs import mask_of_traces, order_of_removal

# Relative to the mean of the diagonal of the centred A'A: the papers dampen in this manner, the
# value is our choice, and the same for all methods.
DAMPING = 0.01


class Layer:
    """Inputs and weights of a layer, and the damped quadratic loss of its responses.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_inputs)
    W : ndarray of shape (n_inputs, n_neurons)
    b : ndarray of shape (n_neurons,)
    Z : ndarray of shape (n_samples, n_neurons), default=None
        Responses to match; those of W and b to A by default. Others, where A is what layers pass
        on that are pruned already.
    """

    def __init__(self, A, W, b, Z=None):
        self.A, self.W, self.b = A, W, b
        self.mean = A.mean(axis=0)
        centred = A - self.mean
        gram = centred.T @ centred
        self.damping = DAMPING * np.mean(np.diag(gram))
        self.damped = gram + self.damping * np.eye(len(gram))
        if Z is None:
            self.level = self.mean @ W + b
            self.moments = self.damped @ W
            self.best = W
        else:
            self.level = Z.mean(axis=0)
            self.moments = centred.T @ (Z - self.level) + self.damping * W
            self.best = np.linalg.solve(self.damped, self.moments)

    def with_intercept(self, U):
        """U and the intercepts that match the mean responses."""
        return U, self.level - self.mean @ U

    def refit(self, mask):
        """The best weights on a support: damped least squares, neuron by neuron.

        The damping pulls towards the original weights; this is what the update of optimal brain
        surgeon comes to when all weights outside the mask go at once.
        """
        U = np.zeros_like(self.W)
        for j, kept in enumerate(mask.T):
            U[kept, j] = np.linalg.solve(self.damped[np.ix_(kept, kept)], self.moments[kept, j])
        return self.with_intercept(U)


def largest(score, count):
    """Mask of the `count` largest scores."""
    mask = np.zeros(score.size, dtype=bool)
    mask[np.argsort(-score, axis=None, kind="stable")[:count]] = True
    return mask.reshape(score.shape)


def magnitude(layer, counts):
    """The largest weights of the layer, as they are."""
    return [(np.where(largest(abs(layer.W), count), layer.W, 0), layer.b) for count in counts]


def magnitude_refit(layer, counts):
    """The largest weights of the layer, then least squares."""
    return [layer.refit(largest(abs(layer.W), count)) for count in counts]


def wanda_refit(layer, counts):
    """The largest ``|W_ij| ||A_i||``, as many for each neuron (Sun et al. 2023), then refit."""
    score = abs(layer.W) * np.linalg.norm(layer.A, axis=0)[:, None]
    return [layer.refit(_largest_per_neuron(score, count)) for count in counts]


def _largest_per_neuron(score, count):
    n_neurons = score.shape[1]
    rank = np.argsort(np.argsort(-score, axis=0, kind="stable"), axis=0)
    # Equal shares; what does not divide goes to the largest of the next rank.
    mask = rank < count // n_neurons
    rest = np.where(rank == count // n_neurons, score, -np.inf)
    return mask | largest(rest, count % n_neurons)


def exact_obs(layer, counts):
    """Exact optimal brain surgeon (Frantar & Alistarh 2022)."""
    order, cost = order_of_removal(layer.damped, layer.best)
    return [layer.refit(mask_of_traces(order, cost, count)) for count in counts]


def l0_admm(layer, counts):
    """ADMM on the l0-constrained least squares, rho rising as the support settles, then PCG.

    In the manner of ALPS (Meng et al. 2024): inputs scaled to a unit diagonal, rho from 0.1,
    raised every third iteration by 1.3, 1.2 or 1.1 according to how much of the support changed,
    and conjugate gradients on the support.
    """
    scale = 1 / np.sqrt(np.diag(layer.damped))
    H = layer.damped * scale * scale[:, None]
    values, vectors = np.linalg.eigh(H)
    W = layer.best / scale[:, None]
    moments = H @ W
    results = []
    for count in counts:
        mask = _admm_support(values, vectors, moments, W, count)
        U = _conjugate_gradients(H, moments, np.where(mask, W, 0), mask)
        results.append(layer.with_intercept(U * scale[:, None]))
    return results


def _admm_support(values, vectors, moments, W, count, rho=0.1, max_iter=1000):
    D, V = W.copy(), np.zeros_like(W)
    settled = mask = largest(abs(D), count)
    for iteration in range(1, max_iter + 1):
        U = vectors @ ((vectors.T @ (moments - V + rho * D)) / (values + rho)[:, None])
        mask = largest(abs(U + V / rho), count)
        D = np.where(mask, U + V / rho, 0)
        V += rho * (U - D)
        if iteration % 3 == 0:
            changed = np.count_nonzero(mask ^ settled)
            if changed == 0:
                break
            rho *= 1.3 if changed >= 0.1 * count else 1.2 if changed >= 0.005 * count else 1.1
            settled = mask
    return mask


def _conjugate_gradients(H, moments, U, mask, tol=1e-10, max_iter=500):
    """Minimise the loss over the entries of `mask`, all neurons at once.

    Run to convergence where the paper takes ten steps: the result is only better.
    """
    R = np.where(mask, moments - H @ U, 0)
    P, old = R.copy(), np.sum(R * R, axis=0)
    enough = tol * np.maximum(np.sum(moments**2, axis=0), np.finfo(float).tiny)
    for _ in range(max_iter):
        if np.all(old <= enough):
            break
        HP = np.where(mask, H @ P, 0)
        step = old / np.maximum(np.sum(P * HP, axis=0), np.finfo(float).tiny)
        U, R = U + step * P, R - step * HP
        new = np.sum(R * R, axis=0)
        P = R + new / np.maximum(old, np.finfo(float).tiny) * P
        old = new
    return U


# The method, and whether each layer sees what the pruned layers before it pass on (and matches what
# the original network responds). The papers do without; beside ours in the cascade, it tells what
# the cascade does from what the method does.
BASELINES = {
    "magnitude": (magnitude, False),
    "magnitude + refit": (magnitude_refit, False),
    "Wanda + refit": (wanda_refit, False),
    "exact OBS": (exact_obs, False),
    "l0-ADMM": (l0_admm, False),
    "exact OBS, cascade": (exact_obs, True),
}

"""Net-Trim at a wanted number of non-zeros per layer, by bisection on epsilon."""

import math
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknettrim import trim_layer

# Settings to compare: whether each layer sees the pruned outputs of the layers before it, rounds
# of reweighting, and arguments of trim_layer.
SETTINGS = {
    "published": dict(cascade=False, n_reweights=0, inactive="strict"),
    "budget": dict(cascade=False, n_reweights=0, inactive="budget"),
    "reweighted": dict(cascade=False, n_reweights=2, inactive="budget"),
    "reweighted, cascade": dict(cascade=True, n_reweights=2, inactive="budget"),
}
# Halvings of the logarithm of epsilon; the last changes it by 2 %.
_BISECTIONS = 8
_EPSILONS = (1e-3, 1.0)


def prune(A, W, b, target, *, relu, upper, count, n_reweights, inactive):
    """The layer at the smallest epsilon found that leaves at most `count` weights.

    Returns
    -------
    coef, intercept : ndarray
    seconds : float
        Of the solve at that epsilon, all rounds; the search is not counted.
    """
    low, high = map(math.log, _EPSILONS)
    found = np.zeros_like(W), np.maximum(target, 0).mean(axis=0) if relu else target.mean(0), 0.0
    warm = None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        begin = time.perf_counter()
        result = _rounds(
            A,
            W,
            target,
            n_reweights=n_reweights,
            epsilon=math.exp(middle),
            activation="relu" if relu else "identity",
            inactive=inactive,
            upper=upper,
            warm_start=warm,
        )
        warm = result if n_reweights == 0 else None
        if np.count_nonzero(result.coef) <= count:
            high = middle
            found = result.coef, result.intercept, time.perf_counter() - begin
        else:
            low = middle
    return found


def _rounds(A, W, Y, *, n_reweights, **options):
    """Reweighted l1 (Candes, Wakin, Boyd 2008), the first weights from the original magnitudes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if n_reweights == 0:
            return trim_layer(A, Y, **options)
        U = W
        for _ in range(n_reweights + 1):
            if not np.any(U):
                break
            weights = 1 / (abs(U) + 0.1 * np.mean(abs(U[U != 0])))
            weights /= np.median(weights)
            result = trim_layer(A, Y, penalty_weights=weights, **options)
            U = result.coef
    return result

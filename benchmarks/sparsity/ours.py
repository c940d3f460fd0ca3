"""Net-Trim at a wanted number of non-zeros per layer, by bisection on epsilon."""

import math
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknettrim import trim_layer

# Settings to compare: whether each layer sees the pruned outputs of the layers before it, and
# arguments of trim_layer. The last is the one to use.
SETTINGS = {
    "published": dict(cascade=False, inactive="strict"),
    "budget": dict(cascade=False, inactive="budget"),
    "reweighted": dict(cascade=False, inactive="budget", n_reweights=3),
    "reweighted, cascade": dict(cascade=True, inactive="budget", n_reweights=3),
    "refit": dict(cascade=False, inactive="budget", refit=True),
    "refit, cascade": dict(cascade=True, inactive="budget", refit=True),
}
# Halvings of the logarithm of epsilon; the last changes it by 2 %.
_BISECTIONS = 8
_EPSILONS = (1e-3, 1.0)


def prune(A, W, b, target, *, relu, upper, count, **setting):
    """The layer at the smallest epsilon found that leaves at most `count` weights.

    Returns
    -------
    coef, intercept : ndarray
    seconds : float
        Of the solve at that epsilon, with its rounds and its refit; the search is not counted.
    """
    low, high = map(math.log, _EPSILONS)
    found = np.zeros_like(W), np.maximum(target, 0).mean(axis=0) if relu else target.mean(0), 0.0
    options = {"activation": "relu" if relu else "identity", "upper": upper, "original_coef": W}
    warm = None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = trim_layer(
                A, target, epsilon=math.exp(middle), warm_start=warm, **options, **setting
            )
        # The solutions of reweighted rounds and refits are no solutions of the first program.
        warm = None if setting.get("n_reweights") or setting.get("refit") else result
        if np.count_nonzero(result.coef) <= count:
            high = middle
            found = result.coef, result.intercept, time.perf_counter() - begin
        else:
            low = middle
    return found

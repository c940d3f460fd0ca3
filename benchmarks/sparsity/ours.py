"""Net-Trim at a wanted number of non-zeros per layer, by a search for epsilon."""

import math
import time
import warnings

import numpy as np
from scipy.optimize import brentq
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
# Where epsilon is looked for, and up to which share it has to be known.
EPSILONS = (1e-3, 1.0)
NARROW = 0.01
# Of the wanted number of weights: as few fewer will do.
CLOSE = 0.01


class Search:
    """A layer at epsilons that leave the numbers of weights that are asked for.

    Parameters
    ----------
    A, Y : ndarray
        Inputs, and outputs to match.
    **options
        Of :func:`~sknettrim.trim_layer`.
    """

    def __init__(self, A, Y, **options):
        self.A, self.Y, self.options = A, Y, options
        relu = options["activation"] == "relu"
        empty = np.zeros_like(options["original_coef"])
        level = np.maximum(Y, 0).mean(axis=0) if relu else Y.mean(axis=0)
        # Number of weights, coef, intercept and seconds, by the logarithm of epsilon. The solutions
        # at the ends are not worth a solve.
        self.tried = {
            math.log(EPSILONS[0]): (empty.size, None, None, None),
            math.log(EPSILONS[1]): (0, empty, level, 0.0),
        }

    def at_most(self, count):
        """Weights, intercepts and seconds at the smallest epsilon found with at most `count`.

        The seconds are those of the solve at that epsilon, with its rounds and its refit; the
        search is not counted.
        """

        def excess(place):
            """Found less wanted, as square roots: about linear in the logarithm of epsilon."""
            if place not in self.tried:
                self.tried[place] = self._solve(math.exp(place))
            found = self.tried[place][0]
            if (1 - CLOSE) * count <= found <= count:
                return 0.0
            return math.sqrt(found) - math.sqrt((1 - CLOSE / 2) * count)

        low = max(e for e, (found, *_) in self.tried.items() if found > count)
        high = min(e for e, (found, *_) in self.tried.items() if found <= count and e > low)
        if excess(high) != 0:
            brentq(excess, low, high, xtol=NARROW)
        fitting = {e: trial for e, trial in self.tried.items() if trial[0] <= count}
        _, coef, intercept, seconds = fitting[max(fitting, key=lambda e: fitting[e][0])]
        return coef, intercept, seconds

    def _solve(self, epsilon):
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = trim_layer(self.A, self.Y, epsilon=epsilon, **self.options)
        if result.residual > 1.1 * result.epsilon:
            # What pruned layers before it pass on does not give the outputs any more.
            return self.options["original_coef"].size, None, None, None
        seconds = time.perf_counter() - begin
        return np.count_nonzero(result.coef), result.coef, result.intercept, seconds

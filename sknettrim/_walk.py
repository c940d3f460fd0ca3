"""Walks along epsilon, each solve starting from the one before: over a grid, to a density."""

import math
import warnings

import numpy as np
from scipy.optimize import brentq

from .exceptions import InfeasibleError


def epsilon_grid(trim, original, n_epsilons, ratio):
    """Geometric, from the smallest epsilon that empties the network down to `ratio` times it."""
    largest = _largest_epsilon(trim, original)
    return np.geomspace(largest, ratio * largest, n_epsilons)


def _largest_epsilon(trim, original):
    """Where a walk begins: the smallest epsilon that leaves no weights."""
    # A network of constants is empty at any epsilon.
    return float(trim._emptying_epsilon(original) or np.finfo(np.float64).eps)


def walk(trim, original, epsilons, *, warn=True):
    """Prune `original` as `trim` would, at one epsilon after the other.

    The solutions are passed on with their dual points: the dual constraints of a layer do not
    contain epsilon, so that a dual point, once feasible, bounds the objective at every epsilon.

    Parameters
    ----------
    trim : NetTrim
        With the parameters to prune with; its epsilon does not count.
    original : Original
        What to prune.
    epsilons : iterable of float
        Warm starts are best where neighbours are close and, by a little, in decreasing order.
        The next value is taken when the next network is asked for, so it may depend on the last.
    warn : bool, default=True
        Whether to warn of layers that did not converge.

    Yields
    ------
    pruned : Pruned
    """
    solutions = {}
    for epsilon in epsilons:
        prefix = f"epsilon {epsilon:.3g}, "
        try:
            yield trim._prune(
                original,
                [epsilon] * original.network.n_layers,
                solutions=solutions,
                prefix=prefix,
                warn=warn,
            )
        except InfeasibleError as error:
            raise InfeasibleError(f"{prefix}{error}") from error


# To a density --------------------------------------------------------------------------------

# A density is close to the wanted one from this share of it on, but never above it.
_CLOSE = 0.97
# Where densities jump, the search ends when epsilon is known up to this share.
_NARROW = 0.01
# The smallest epsilon tried, as a share of that which empties the network. Solves get slower
# with smaller ones, and what is still left then is hardly less than at zero.
_SMALLEST = 1e-3
# Densities rise by about this much whenever epsilon falls by a factor of e: the first guess.
_RISE = 0.15


def prune_to_density(trim, original, target):
    """Look for the epsilon at which the wanted share of the weights is left.

    In practice the density falls as epsilon grows; a proof there is none, since it is the l1
    norm that falls. The search brackets the density by a guess and closes in on it by Brent's
    method on the logarithm of epsilon.

    Parameters
    ----------
    trim : NetTrim
        With the parameters to prune with; its epsilon does not count.
    original : Original
        What to prune.
    target : float
        The largest density allowed.

    Returns
    -------
    epsilon : float
    pruned : Pruned
        Of all networks that the search came across, the densest within `target`.

    Raises
    ------
    ValueError
        If more is left even where the layers need no weights, as can happen when intercepts
        are penalised.

    Warns
    -----
    UserWarning
        If there is no network close to `target`: even the smallest epsilon leaves less, or
        nothing but the empty network is small enough.
    """
    largest = _largest_epsilon(trim, original)
    wanted, visited = [], {}
    # `walk` takes its next epsilon from the end of `wanted`.
    walker = walk(trim, original, iter(wanted.pop, None))

    def excess(depth):
        """Density at ``largest * exp(-depth)``, less the wanted one; 0 where it is close."""
        if depth not in visited:
            wanted.append(largest * math.exp(-depth))
            visited[depth] = next(walker)
        density = visited[depth].density
        # Aimed at the middle of what is close, so that neither side is missed by a little.
        return 0.0 if _CLOSE * target <= density <= target else density - (1 + _CLOSE) / 2 * target

    if excess(0.0) > 0:
        raise ValueError(
            f"target_density={target:g} is out of reach: {visited[0.0].density:.2%} of the "
            f"weights are left at epsilon={largest:.3g}, where the layers need none"
        )
    deepest = -math.log(_SMALLEST)
    low, high = 0.0, min(target / _RISE, deepest)
    while excess(high) < 0 and high < deepest:
        low, high = high, min(2 * high, deepest)
    if excess(high) > 0:
        brentq(excess, low, high, xtol=_NARROW)
    density, depth = max((p.density, d) for d, p in visited.items() if p.density <= target)
    epsilon = largest * math.exp(-depth)
    if depth == deepest and density < _CLOSE * target:
        _warn(
            f"target_density={target:g} is more than what epsilon={epsilon:.3g} leaves, the "
            f"smallest that was tried: {density:.2%}. The network does not need more."
        )
    elif density == 0:
        _warn(
            f"target_density={target:g} leaves no weights: nothing between an empty network and "
            f"{min(p.density for p in visited.values() if p.density > 0):.2%} was found"
        )
    return epsilon, visited[depth]


def _warn(message):
    warnings.warn(message, UserWarning, stacklevel=4)  # the caller of fit

"""How time grows with rows, inputs and neurons."""

import numpy as np

from .._data import made_layer
from .._measure import interleave, timed
from .program import Program

SETTINGS = ("strict", "budget")
EPSILON = 0.2
KIND = "relu features"


def scaling(base, sizes, *, rounds):
    """Time against one of n, p, m at a time, the other two as in `base`.

    Parameters
    ----------
    base : dict of str to int
        The sizes ``n``, ``p`` and ``m``.
    sizes : dict of str to sequence of int
        The sizes that each of them takes.
    rounds : int
        Runs of each, of which the median counts.

    Returns
    -------
    dict
        Under "lines" one dict for each axis and setting, with sizes, seconds and the fitted power.
    """
    lines = []
    for axis, values in sizes.items():
        layers = {size: made_layer(KIND, **(base | {axis: size})) for size in values}
        for setting in SETTINGS:
            programs = {size: Program(*layer, EPSILON, setting) for size, layer in layers.items()}
            times, outcomes = interleave(
                {size: lambda run=program.trim: timed(run) for size, program in programs.items()},
                rounds=rounds,
            )
            seconds = [float(np.median(times[size])) for size in values]
            lines.append(
                {
                    "axis": axis,
                    "setting": setting,
                    "sizes": list(values),
                    "seconds": seconds,
                    "converged": [outcomes[size].converged for size in values],
                    "power": power(values, seconds),
                }
            )
    return {"data": KIND, "epsilon": EPSILON, "base": base, "lines": lines}


def power(sizes, seconds):
    """The exponent of the power law nearest to the times, by least squares of logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])

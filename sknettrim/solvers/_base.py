"""What every solver takes and returns, and what they know before they begin."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass
class Solution:
    """Weights, intercepts and a dual point of a :class:`~sknettrim._problem.LayerProblem`.

    A solver is a function ``solve(problem, *, tol, max_iter, start=None, verbose=0, **options)``
    that returns one of these. It need not know whether it succeeded: the problem certifies
    the solution from `U`, `c` and `Xi` alone. `penalties` are what the solver ended with, one for
    each neuron, in the units of the problem, and a ratio, for the next one that starts from here;
    `warm` says that this may skip its beginning.
    """

    U: np.ndarray
    c: np.ndarray
    Xi: np.ndarray
    n_iter: int
    penalties: tuple | None = None
    warm: bool = False

    def columns(self, neurons):
        """The solution of some neurons, by a boolean mask."""
        penalties = self.penalties
        if penalties is not None:
            of_neurons, ratio = penalties
            penalties = of_neurons[neurons], ratio
        return replace(
            self,
            U=self.U.compress(neurons, axis=1),
            c=self.c[neurons],
            Xi=self.Xi.compress(neurons, axis=1),
            penalties=penalties,
        )


def zero(problem):
    """The point from which a solver knows nothing."""
    p, m = problem.shape
    return Solution(np.zeros((p, m)), np.zeros(m), np.zeros(problem.active.shape), 0)


def spread(target, active):
    """Active targets less their mean: what weights, not intercepts, answer to.

    Less nearly all of it, so that constant targets are not rounding errors.
    """
    mean = np.einsum("ij,ij->j", target, active) / np.maximum(active.sum(axis=0), 1)
    return (target - (0.999 * mean).astype(target.dtype)) * active

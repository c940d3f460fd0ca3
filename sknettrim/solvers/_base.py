"""What every solver takes and returns, and what they know before they begin."""

from dataclasses import dataclass, replace

import numpy as np

from .._columns import column_means


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

    def among(self, inputs, neurons, constants):
        """The solution of more inputs, without weights, and more neurons, which are constant.

        This one's are where the boolean masks say.
        """
        U = np.zeros((len(inputs), len(neurons)))
        U[np.ix_(inputs, neurons)] = self.U
        c = constants.copy()
        c[neurons] = self.c
        Xi = np.zeros((len(self.Xi), len(neurons)), dtype=self.Xi.dtype)
        Xi[:, neurons] = self.Xi
        penalties = self.penalties
        if penalties is not None:
            some, ratio = penalties
            of_neurons = np.full(len(neurons), np.median(some), dtype=some.dtype)
            of_neurons[neurons] = some
            penalties = of_neurons, ratio
        return replace(self, U=U, c=c, Xi=Xi, penalties=penalties)


def zero(problem):
    """The point from which a solver knows nothing."""
    p, m = problem.shape
    return Solution(np.zeros((p, m)), np.zeros(m), np.zeros(problem.active.shape), 0)


def spread(target, active):
    """Active targets less their mean: what weights, not intercepts, answer to.

    Less nearly all of it, so that constant targets are not rounding errors.
    """
    mean = 0.999 * column_means(target, active)
    return (target - mean.astype(target.dtype)) * active

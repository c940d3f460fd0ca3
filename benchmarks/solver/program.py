"""The program of one layer, stated for this benchmark alone: nothing here believes the solver.

Objective, distances and bounds are computed from weights and dual points by the formulas of
docs/mathematics.md, without the package.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknettrim import trim_layer

SETTINGS = ("strict", "budget", "matched")


@dataclass(frozen=True)
class Program:
    """Sparsest weights, in the l1 sense, whose responses stay near `Z`.

    Parameters
    ----------
    A : ndarray of shape (n_samples, n_inputs)
        Inputs of the layer.
    Z : ndarray of shape (n_samples, n_neurons)
        Its original responses, before the activation.
    epsilon : float
        Relative to the norm of what is matched.
    setting : {"strict", "budget", "matched"}
        A relu layer with either rule for neurons that were off, or a linear layer.
    """

    A: np.ndarray
    Z: np.ndarray
    epsilon: float
    setting: str

    @cached_property
    def target(self):
        """What is matched."""
        return self.Z if self.setting == "matched" else np.maximum(self.Z, 0.0)

    @cached_property
    def active(self):
        """Where responses are matched; elsewhere they have to stay below zero."""
        return (
            np.ones(self.target.shape, dtype=bool) if self.setting == "matched" else self.target > 0
        )

    @cached_property
    def radius(self):
        """The absolute epsilon."""
        return self.epsilon * np.linalg.norm(self.target)

    def trim(self, **options):
        """Solve it with the package, whose warnings are kept in ``result.converged``."""
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return trim_layer(
                self.A,
                self.target,
                epsilon=self.epsilon,
                activation="identity" if self.setting == "matched" else "relu",
                inactive="strict" if self.setting == "strict" else "budget",
                **options,
            )

    def neuron(self, j, radius):
        """The program of one neuron, with its own absolute radius."""
        norm = np.linalg.norm(self.target[:, j])
        return Program(self.A, self.Z[:, [j]], radius / norm, self.setting)

    # Primal ----------------------------------------------------------------------------------

    def deviation(self, coef, intercept):
        """S - Y where matched, what S exceeds zero by elsewhere."""
        D = self.A @ coef + intercept - self.target
        return np.where(self.active, D, np.maximum(D, 0.0))

    def charged(self, D):
        """The part of a deviation, or of a dual point, that epsilon measures."""
        return np.where(self.active, D, 0.0) if self.setting == "strict" else D

    def measure(self, coef, intercept):
        """Objective, relative excess over epsilon, relative violation and non-zeros of weights."""
        D = self.deviation(coef, intercept)
        charged = self.charged(D)
        return {
            "objective": float(np.abs(coef).sum()),
            "excess": float(np.linalg.norm(charged) / self.radius - 1),
            "violation": float(np.linalg.norm(D - charged) / np.linalg.norm(self.target)),
            "nonzeros": int(np.count_nonzero(coef)),
        }

    # Dual ------------------------------------------------------------------------------------

    def bound(self, Xi):
        """A lower bound on the objective of any feasible weights, whatever `Xi` is.

        By weak duality, from the nearest dual point that is feasible.
        """
        Xi = np.where(self.active, Xi, np.maximum(Xi, 0.0))
        count = self.active.sum(axis=0)
        Xi = Xi - np.where(self.active, Xi.sum(axis=0) / np.maximum(count, 1), 0.0)
        Xi *= (count > 0) / np.maximum(1.0, np.abs(self.A.T @ Xi).max(axis=0))
        return float(-np.vdot(Xi, self.target) - self.radius * np.linalg.norm(self.charged(Xi)))

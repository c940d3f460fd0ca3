"""The convex program of one layer: objective, constraint set, dual, and the proof of optimality.

With inputs ``A`` (n x p), targets ``Y`` (n x m), weights ``U`` (p x m), intercepts ``c`` (m,) and
responses ``S = A U + 1 c'``::

    minimise    sum_ij R_ij |U_ij|   (+ sum_j |c_j| when the intercept is penalised)
    subject to  ||deviation(S)|| <= epsilon,   and, when strict,  S <= V where the neuron was off

A problem knows everything about its own optimality and nothing about how it is solved.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils import safe_mask
from sklearn.utils.extmath import safe_sparse_dot


@dataclass(frozen=True)
class Certificate:
    """What a pair of primal and dual points proves about a :class:`LayerProblem`.

    All values are recomputed from the weights in float64; nothing is taken from a solver.
    `price` is what the excess and the violation are worth in the objective, at the prices that
    the dual point puts on them, relative to the objective: a point slightly outside the set can
    be far below the optimum of a badly conditioned layer, with a gap of zero.
    """

    objective: float
    dual_objective: float
    gap: float
    residual: float | np.ndarray
    excess: float
    violation: float
    price: float

    def error(self):
        """Largest of the relative errors; at most ``tol`` means converged.

        A gap below zero and a price both say that the objective is below the optimum. They
        tend to come together, so each may use half of the tolerance.
        """
        return max(self.gap, -2 * self.gap, self.excess, self.violation, 2 * self.price)


class LayerProblem:
    """Sparsest weights, in the l1 sense, whose responses stay near the original ones.

    Parameters
    ----------
    A : {ndarray, sparse matrix} of shape (n_samples, n_inputs)
        Inputs of the layer.
    Y : ndarray of shape (n_samples, n_neurons)
        Targets: outputs of a relu layer, or the responses to match when `matched`.
    epsilon : float or ndarray of shape (n_neurons,)
        Absolute radius: one ball over the layer, or one for each neuron. A radius below
        what the data type resolves, ``sqrt(eps) * ||Y||``, is raised to that.
    matched : bool, default=False
        Match `Y` everywhere (linear layers) instead of only where ``Y > 0`` (relu).
    inactive : {"strict", "budget"}, default="strict"
        Where the neuron was off: it may not exceed `upper` ("strict"), or what exceeds it
        is charged to the same ball ("budget").
    upper : ndarray of shape (n_samples, n_neurons), default=None
        The bound V on the responses of inactive neurons; 0 by default.
    penalty_weights : ndarray of shape (n_inputs, n_neurons), default=None
        The weights R > 0 of the l1 norm; 1 by default.
    penalize_intercept : bool, default=False
        Whether the intercept counts in the l1 norm, as it does in the paper.
    """

    def __init__(
        self,
        A,
        Y,
        epsilon,
        *,
        matched=False,
        inactive="strict",
        upper=None,
        penalty_weights=None,
        penalize_intercept=False,
    ):
        self.A = A
        self.Y = Y
        self.matched = matched
        self.inactive = inactive
        self.upper = upper
        self.penalty_weights = penalty_weights
        self.penalize_intercept = penalize_intercept
        self.active = np.ones(Y.shape, dtype=bool) if matched else Y > 0
        self.per_neuron = np.ndim(epsilon) == 1
        resolution = np.sqrt(np.finfo(Y.dtype).eps) * self.norm(np.asarray(Y, dtype=np.float64))
        self.epsilon = np.maximum(np.asarray(epsilon, dtype=np.float64), resolution)

    @property
    def shape(self):
        """``(n_inputs, n_neurons)``, the shape of the weights."""
        return self.A.shape[1], self.Y.shape[1]

    @property
    def strict(self):
        """Whether inactive neurons have a constraint of their own."""
        return self.inactive == "strict" and not self.matched

    @property
    def target(self):
        """Y on Omega, V off it: the point from which responses deviate."""
        return np.where(self.active, self.Y, 0.0 if self.upper is None else self.upper)

    def columns(self, index):
        """The program of some neurons only; for one ball over the layer, of its whole radius."""
        return self.restrict(slice(None), index)

    def restrict(self, inputs, neurons):
        """The program on some inputs (a boolean mask or slice) and some neurons."""

        def pick(array):
            return None if array is None else array[:, neurons]

        weights = self.penalty_weights
        return LayerProblem(
            self.A if isinstance(inputs, slice) else self.A[:, safe_mask(self.A, inputs)],
            self.Y[:, neurons],
            self.epsilon[neurons] if self.per_neuron else self.epsilon,
            matched=self.matched,
            inactive=self.inactive,
            upper=pick(self.upper),
            penalty_weights=None if weights is None else weights[inputs][:, neurons],
            penalize_intercept=self.penalize_intercept,
        )

    # Primal -----------------------------------------------------------------------------------

    def responses(self, U, c):
        """S = A U + 1 c', in float64."""
        return safe_sparse_dot(self.A, np.asarray(U, dtype=np.float64)) + c

    def objective(self, U, c):
        """Weighted l1 norm of the weights."""
        weighted = np.abs(U, dtype=np.float64)
        if self.penalty_weights is not None:
            weighted *= self.penalty_weights
        return float(weighted.sum() + self.penalize_intercept * np.abs(c, dtype=np.float64).sum())

    def deviation(self, S):
        """S - Y on Omega, the part above V off it: zero exactly where nothing is wrong."""
        D = S - self.target
        np.maximum(D, 0.0, out=D, where=~self.active)
        return D

    def charged(self, D):
        """The part of a deviation (or a dual point) that the ball of radius epsilon measures."""
        return np.where(self.active, D, 0.0) if self.strict else D

    def norm(self, D):
        """Frobenius norm, or the norm of each column when each neuron has its own ball."""
        return np.linalg.norm(D, axis=0 if self.per_neuron else None)

    def residual(self, D):
        """What the ball of radius epsilon measures of a deviation: a float, or one per neuron."""
        return self.norm(self.charged(D))

    def excess(self, residual):
        """Largest relative excess of the residual over epsilon; not above 0 when inside."""
        outside = np.asarray(residual - self.epsilon)
        # A radius of zero is left only for neurons whose targets are all zero.
        scale = np.where(self.epsilon > 0, self.epsilon, 1.0)
        return float(np.max(outside / scale, initial=-1.0))

    def violation(self, D):
        """||max(S - V, 0)|| off Omega, relative to ||Y||; 0 unless strict."""
        if not self.strict:
            return 0.0
        scale = np.linalg.norm(np.asarray(self.Y, dtype=np.float64))
        return float(np.linalg.norm(np.where(self.active, 0.0, D)) / (scale if scale > 0 else 1.0))

    # Dual -------------------------------------------------------------------------------------

    def feasible_dual(self, Xi):
        """A point near `Xi` that satisfies every dual constraint.

        Off Omega the dual is non-negative; a free intercept wants columns of mean zero, a
        penalised one column sums within 1; then each column is scaled until
        ``|A' Xi| <= R`` holds. Columns meet only in the norm, so each has its own scale.
        """
        Xi = np.where(self.active, Xi, np.maximum(Xi, 0.0))
        if not self.penalize_intercept:
            count = self.active.sum(axis=0)
            shift = Xi.sum(axis=0) / np.maximum(count, 1)
            Xi -= np.where(self.active, shift, 0.0)
            Xi[:, count == 0] = 0.0
        correlation = self._correlation(Xi)
        scale = correlation.max(axis=0, initial=1.0)
        if self.penalize_intercept:
            scale = np.maximum(scale, np.abs(Xi.sum(axis=0)))
        return Xi / scale

    def _correlation(self, Xi):
        """|A' Xi| / R, at most 1 where dual feasible; below 1 only where weights are zero."""
        correlation = np.abs(safe_sparse_dot(self.A.T, Xi))
        return correlation if self.penalty_weights is None else correlation / self.penalty_weights

    def slack(self, Xi):
        """1 - |A' Xi| / R at the feasible point near `Xi`: complementary to the weights."""
        return 1 - self._correlation(self.feasible_dual(Xi))

    def dual_objective(self, Xi):
        """Lower bound on the optimum, for a dual point that is feasible."""
        support = self.epsilon * self.norm(self.charged(Xi))
        return float(-np.vdot(Xi, self.target) - np.sum(support))

    def _price(self, D, residual, Xi):
        """What leaving the constraint set saves in the objective, to first order."""
        outside = np.maximum(residual - self.epsilon, 0.0)
        price = np.sum(outside * self.norm(self.charged(Xi)))
        if self.strict:
            price += np.vdot(np.where(self.active, 0.0, D), Xi)
        return float(price)

    # Proof ------------------------------------------------------------------------------------

    def certify(self, U, c, Xi):
        """Measure a primal and a dual point, whatever solver they came from."""
        D = self.deviation(self.responses(U, c))
        residual = self.residual(D)
        objective = self.objective(U, c)
        # Xi = 0 is always dual feasible, so the bound is never below zero.
        Xi = self.feasible_dual(Xi)
        bound = max(self.dual_objective(Xi), 0.0)
        scale = objective or bound or 1.0
        return Certificate(
            objective=objective,
            dual_objective=bound,
            gap=(objective - bound) / scale,
            residual=residual if self.per_neuron else float(residual),
            excess=self.excess(residual),
            violation=self.violation(D),
            price=self._price(D, residual, Xi) / scale,
        )


def stack_intercept(A, dtype):
    """``[A, 1]`` in the given dtype; CSR stays CSR."""
    ones = np.ones((A.shape[0], 1), dtype=dtype)
    if sparse.issparse(A):
        return sparse.hstack([A.astype(dtype), sparse.csr_array(ones)], format="csr")
    return np.hstack([A, ones], dtype=dtype)


def column_norms(A):
    """Euclidean norms of the columns, in float64."""
    if sparse.issparse(A):
        return sparse.linalg.norm(A.astype(np.float64), axis=0)
    return np.sqrt(np.einsum("ij,ij->j", A, A, dtype=np.float64))

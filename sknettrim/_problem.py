"""The convex program of one layer: objective, constraint set, dual, and the proof of optimality.

With inputs ``A`` (n x p), targets ``Y`` (n x m), weights ``U`` (p x m), intercepts ``c`` (m,) and
responses ``S = A U + 1 c'``::

    minimise    sum_ij R_ij |U_ij|   (+ sum_j |c_j| when the intercept is penalised)
    subject to  ||deviation(S)|| <= epsilon,   and, when strict,  S <= V where the neuron was off

A problem knows everything about its own optimality and nothing about how it is solved.
"""

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot

from ._columns import norm, or_one
from ._proof import DualPoint


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
    original : ndarray of shape (n_inputs, n_neurons), default=None
        The weights before pruning, where they are known. Not a part of the program, but what
        reweighting starts from and a refit pulls to.
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
        original=None,
    ):
        self._whole, self._columns = A, None
        self._targets, self._neurons = Y, None
        self.matched = matched
        self.inactive = inactive
        self.upper = upper
        self.penalty_weights = penalty_weights
        self.penalize_intercept = penalize_intercept
        self.original = original
        self.active = np.ones(Y.shape, dtype=bool) if matched else Y > 0
        self.per_neuron = np.ndim(epsilon) == 1
        resolution = np.sqrt(np.finfo(Y.dtype).eps) * self.norm(Y)
        self.epsilon = np.maximum(np.asarray(epsilon, dtype=np.float64), resolution)

    @property
    def A(self):  # noqa: N802
        """Inputs of the layer; those of a program on some of the inputs are gathered anew.

        Kept, they would take nearly as much memory as the layer.
        """
        return self._whole if self._columns is None else _some_columns(self._whole, self._columns)

    @property
    def Y(self):  # noqa: N802
        """Targets of the layer; those of a program on some of the neurons are gathered anew."""
        targets, neurons = self._targets, self._neurons
        return targets if neurons is None else _some_columns(targets, neurons)

    def holds(self, targets):
        """Whether an array is in the memory of the targets, or a copy of them."""
        return np.may_share_memory(targets, self._targets)

    @property
    def sparse(self):
        """Whether the inputs are a sparse matrix."""
        return sparse.issparse(self._whole)

    @property
    def shape(self):
        """``(n_inputs, n_neurons)``, the shape of the weights."""
        columns = self._columns
        n_inputs = self._whole.shape[1] if columns is None else len(columns)
        return n_inputs, self.active.shape[1]

    @property
    def n_multiplications(self):
        """In a product of the inputs and the weights."""
        n_inputs, n_neurons = self.shape
        return len(self.active) * n_inputs * n_neurons

    @property
    def strict(self):
        """Whether inactive neurons have a constraint of their own."""
        return self.inactive == "strict" and not self.matched

    @property
    def target(self):
        """Y on Omega, V off it: the point from which responses deviate."""
        # What a relu puts out is zero off Omega. Products with masks take a tenth of the time that
        # `where` takes.
        return self.Y if self.upper is None else self.Y + self.upper * ~self.active

    def columns(self, index):
        """The program of some neurons only; for one ball over the layer, of its whole radius."""
        return self.restrict(slice(None), index)

    def rows(self, rows):
        """The program on some rows (a slice) only: views, unless neurons were left out."""
        targets = self._targets[rows]
        return self._alike(
            _whole=self._whole[rows],
            _targets=targets if self._neurons is None else _some_columns(targets, self._neurons),
            _neurons=None,
            active=self.active[rows],
            upper=None if self.upper is None else self.upper[rows],
        )

    def restrict(self, inputs, neurons):
        """The program on some inputs (a boolean mask or slice) and some neurons."""
        if not isinstance(neurons, slice):
            neurons = np.arange(self.shape[1])[neurons]
        part = self._alike()
        part._choose_inputs(inputs)
        part._choose_neurons(neurons)
        for name in ("penalty_weights", "original"):
            weights = getattr(self, name)
            if weights is not None:
                setattr(part, name, _some_columns(weights[inputs], neurons))
        return part

    def _choose_inputs(self, inputs):
        if isinstance(inputs, slice):
            return
        columns = np.flatnonzero(inputs) if self._columns is None else self._columns[inputs]
        if self.sparse:
            # A copy is small; to gather columns takes long.
            self._whole = self._whole[:, columns]
        else:
            self._columns = columns

    def _choose_neurons(self, neurons):
        if self._neurons is not None:
            self._neurons = self._neurons[neurons]
        elif isinstance(neurons, slice):
            self._targets = self._targets[:, neurons]
        else:
            self._neurons = neurons
        self.active = _some_columns(self.active, neurons)
        if self.upper is not None:
            self.upper = _some_columns(self.upper, neurons)
        if self.per_neuron:
            self.epsilon = self.epsilon[neurons]

    def with_penalty(self, weights):
        """The program with other weights of the l1 norm."""
        return self._alike(penalty_weights=weights)

    def _alike(self, **changes):
        """The same program but for some attributes."""
        other = object.__new__(LayerProblem)
        vars(other).update(vars(self), **changes)
        return other

    @property
    def penalty(self):
        """The weights of the l1 norm: an array, or one number for all."""
        return 1.0 if self.penalty_weights is None else self.penalty_weights

    def stacked_penalty(self):
        """The same, above what intercepts cost: of shape (n_inputs + 1, 1 or n_neurons)."""
        weights = np.ones((self.shape[0], 1)) * self.penalty
        return np.vstack([weights, np.full((1, weights.shape[1]), float(self.penalize_intercept))])

    # Primal -----------------------------------------------------------------------------------

    def responses(self, U, c):
        """S = A U + 1 c', in float64."""
        return safe_sparse_dot(self.A, np.asarray(U, dtype=np.float64)) + c

    def objective(self, U, c):
        """Weighted l1 norm of the weights."""
        return float(self.objectives(U, c).sum())

    def objectives(self, U, c):
        """Of each neuron."""
        weighted = np.abs(U, dtype=np.float64)
        weighted *= self.penalty
        return weighted.sum(axis=0) + self.penalize_intercept * np.abs(c, dtype=np.float64)

    def deviation(self, S):
        """S - Y on Omega, the part above V off it: zero exactly where nothing is wrong."""
        D = S - self.target
        D *= self.active | (D > 0)
        return D

    def charged(self, D):
        """The part of a deviation (or a dual point) that the ball of radius epsilon measures."""
        return D * self.active if self.strict else D

    def norm(self, D):
        """Frobenius norm, or the norm of each column when each neuron has its own ball."""
        return norm(D, self.per_neuron)

    def residual(self, D):
        """What the ball of radius epsilon measures of a deviation: a float, or one per neuron."""
        return self.norm(self.charged(D))

    def excess(self, residual):
        """Largest relative excess of the residual over epsilon; not above 0 when inside."""
        outside = np.asarray(residual - self.epsilon)
        return float(np.max(outside / or_one(self.epsilon), initial=-1.0))

    def leaks(self, D):
        """The part of a deviation that breaks the constraint on inactive neurons, when strict."""
        return D * ~self.active if self.strict else np.zeros(D.shape)

    # Dual and proof ---------------------------------------------------------------------------

    def dual_point(self, Xi):
        """The dual feasible point near `Xi`, with the bound it proves."""
        return DualPoint(self, Xi)

    def certify(self, U, c, Xi):
        """Measure a primal and a dual point, whatever solver they came from."""
        return self.dual_point(Xi).certify(U, c)


def _some_columns(array, index):
    """Some columns, by a slice or otherwise: then in order of rows, as everything beside them.

    What indexing gives is in order of columns, and takes several times as long to work with.
    """
    return array[:, index] if isinstance(index, slice) else array.take(index, axis=1)

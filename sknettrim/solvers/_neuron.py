"""A neuron of a strict layer, cut down to few inputs and rows, and its part of an interior point.

A step d of the weights changes half the square of the ball by ``gradient' d + d' gram d / 2``,
and what rows exceed their bounds by ``normals d``. Weights are split into p - q with p, q >= 0.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import get_lapack_funcs

# Complementarity of a new start: a share of what a neuron is worth in the objective and the ball.
FIRST_BARRIER = 0.02
# Of its diagonal, added to a Gram matrix, in units of its precision.
RIDGE = 100
# Relative to the mean weight, where a slope leaves all the room there is.
SUPPORT = 0.3


@dataclass
class Neuron:
    """One neuron, cut down to some inputs and rows of `A`, and its part of the interior point.

    `packed` is the upper triangle of its Gram matrix. `of_inputs` holds, for each input, penalty,
    gradient, weight, p, q and the dual slope, which stays within the penalty, and by how much
    weight and gradient fall with a larger multiplier of the ball; `of_rows` excess, slack and
    multiplier of each row, and the fall of the excess; `square` what the neuron adds to that of
    the ball; `worth` what it is worth in the objective, about. Of a neuron that has settled,
    `settled_at` is the multiplier of the ball at which it did; otherwise it is not a number.
    """

    A: np.ndarray
    inputs: np.ndarray
    rows: np.ndarray
    packed: np.ndarray
    square: float
    worth: float
    of_inputs: np.ndarray
    of_rows: np.ndarray
    settled_at: float = np.nan

    @classmethod
    def near(
        cls,
        A,
        inputs,
        rows,
        *,
        gram,
        square,
        penalty,
        gradient,
        weights,
        excess,
        row_multiplier,
        multiplier,
    ):
        """A neuron, with a point near weights and multipliers that are nearly optimal.

        Parameters
        ----------
        A : ndarray of shape (n_samples, n_all_inputs)
        inputs, rows : ndarray of int
            What is left of the layer.
        gram : ndarray of shape (n_inputs, n_inputs)
            Of the inputs, over the active rows.
        square : float
            What the neuron adds to the square of the ball.
        penalty, gradient, weights : ndarray of shape (n_inputs,)
            The gradient is that of half the square.
        excess, row_multiplier : ndarray of shape (n_rows,)
            What responses exceed their bound by, and its multiplier.
        multiplier : float
            Of half the square.
        """
        np.einsum("ii->i", gram)[...] *= 1 + RIDGE * np.finfo(gram.dtype).eps
        (pack,) = get_lapack_funcs(("trttp",), (gram,))
        # Of the transpose, as LAPACK counts by columns.
        packed, _ = pack(gram.T)
        neuron = cls(A, inputs, rows, packed, float(square), 0.0, None, None)
        normals = neuron.normals
        neuron.worth = float(np.dot(penalty, np.abs(weights)) + multiplier * square)
        barrier = FIRST_BARRIER * neuron.worth / (2 * len(inputs) + len(rows))
        slope = multiplier * gradient + row_multiplier @ normals
        p, q, slope = _split(penalty, weights, slope, barrier)
        slack, row_multiplier = _slacken(excess, row_multiplier, barrier)
        none = np.zeros_like(p)
        neuron.of_inputs = np.stack([penalty, gradient, weights, p, q, slope, none, none])
        neuron.of_rows = np.stack([excess, slack, row_multiplier, np.zeros_like(slack)])
        return neuron

    @property
    def normals(self):
        """The inputs of the rows: gathered when needed, as they would take too much memory."""
        return self.A.take(self.rows, axis=0).take(self.inputs, axis=1)

    @property
    def gram(self):
        """The upper triangle of the Gram matrix, as LAPACK would have it."""
        (unpack,) = get_lapack_funcs(("tpttr",), (self.packed,))
        matrix, _ = unpack(len(self.inputs), self.packed)
        return matrix

    @property
    def weights(self):
        """The weights, none of them exactly zero."""
        return self.of_inputs[2]

    @property
    def row_multiplier(self):
        """Multipliers of the rows."""
        return self.of_rows[2]

    @property
    def support(self):
        """Which weights are not zero: larger, relative to the mean, than their slope has room."""
        penalty, _, _, p, q, slope, _, _ = self.of_inputs
        size = np.maximum(p, q) * penalty
        room = 1 - np.abs(slope) / np.where(penalty > 0, penalty, 1.0)
        return (penalty == 0) | (size > SUPPORT * size.mean() * room)


def _split(penalty, weights, slope, barrier):
    """p, q and slopes of inputs, as central as their weights allow."""
    free = penalty == 0
    reach = np.where(free, 1.0, penalty)
    size = np.maximum(np.abs(weights), np.finfo(np.float32).tiny)
    edge = np.clip(reach - barrier / size, 0.0, 0.999 * reach)
    inside = np.clip(slope, -0.98 * reach, 0.98 * reach)
    slope = np.where(weights != 0, -np.sign(weights) * edge, inside)
    p = np.maximum(weights, barrier / (reach + slope))
    q = np.maximum(-weights, barrier / (reach - slope))
    return np.where(free, 1.0, p), np.where(free, 1.0, q), np.where(free, 0.0, slope)


def _slacken(excess, multiplier, barrier):
    """Slack and multipliers of rows: a wide slack is soon narrowed, a narrow one stops steps."""
    scale = max(np.sqrt(np.mean(excess**2)), np.finfo(np.float32).eps) if len(excess) else 1.0
    binding = multiplier > 0
    central = barrier / np.where(binding, multiplier, 1.0)
    slack = np.maximum(-excess, scale)
    slack = np.where(binding, np.clip(central, 1e-3 * scale, scale), slack)
    return slack, np.where(binding, np.maximum(multiplier, barrier / scale), barrier / slack)

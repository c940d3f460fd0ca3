"""A neuron of a layer, cut down to few inputs and rows, and its part of an interior point.

A step d of the weights changes half the square of the ball by ``gradient' d + d' gram d / 2``,
and what rows exceed their bounds by ``normals d``. Weights are split into p - q with p, q >= 0.
"""

from dataclasses import dataclass

import numpy as np

# Relative to the mean weight, where a slope leaves all the room there is.
SUPPORT = 0.3


@dataclass
class Neuron:
    """One neuron, cut down to some inputs and rows, and its part of the interior point.

    `of_inputs` holds, for each input, penalty, gradient, weight, p, q and the dual slope, which
    stays within the penalty, and by how much weight and gradient fall with a larger multiplier of
    the ball; `of_rows` excess, slack and multiplier of each row, and the fall of the excess;
    `square` what the neuron adds to that of the ball; `settled_at` the multiplier at which it was
    optimal, if it was, else not a number.
    """

    inputs: np.ndarray
    rows: np.ndarray
    square: float
    of_inputs: np.ndarray
    of_rows: np.ndarray
    settled_at: float = np.nan

    @classmethod
    def near(
        cls,
        inputs,
        rows,
        *,
        normals,
        square,
        complementarity,
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
        inputs, rows : ndarray of int
            What is left of the layer.
        normals : ndarray of shape (n_rows, n_inputs)
            What is left of the data.
        square : float
            What the neuron adds to the square of the ball.
        complementarity : float
            Of the point, about: the larger, the farther from its bounds.
        penalty, gradient, weights : ndarray of shape (n_inputs,)
            The gradient is that of half the square.
        excess, row_multiplier : ndarray of shape (n_rows,)
            What responses exceed their bound by, and its multiplier.
        multiplier : float
            Of half the square.
        """
        barrier = complementarity / (2 * len(inputs) + len(rows))
        slope = multiplier * gradient + row_multiplier @ normals
        p, q, slope = _split(penalty, weights, slope, barrier)
        slack, row_multiplier = _slacken(excess, row_multiplier, barrier)
        none = np.zeros_like(p)
        of_inputs = np.stack([penalty, gradient, weights, p, q, slope, none, none])
        of_rows = np.stack([excess, slack, row_multiplier, np.zeros_like(slack)])
        return cls(inputs, rows, float(square), of_inputs, of_rows)

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

"""Steps of deviations to the ball that bounds them, for all methods."""

import numpy as np

from .._columns import or_one


def step_to_the_ball(square, slope, curvature, epsilon):
    """The step at which ``square - 2 slope step + curvature step^2`` is ``epsilon^2``.

    The smaller of the two, or zero if the square does not fall. If none gets there, one that gets
    nearer.

    Parameters
    ----------
    square, slope, curvature, epsilon : float or ndarray
    """
    excess = square - epsilon**2
    root = np.sqrt(np.maximum(slope**2 - curvature * excess, 0.0))
    return excess / np.where(slope + root > 0, slope + root, np.inf)


def ball_error(square, epsilon):
    """Relative error of the radius."""
    return np.abs(np.sqrt(np.maximum(square, 0.0)) - epsilon) / or_one(epsilon)


def shares_of_a_ball(squares, rho, epsilon):
    """What to leave of deviations that share a ball, to move as little as possible.

    Parameters
    ----------
    squares, rho : ndarray of shape (m,)
        Of the deviation of each neuron, and the weight of its move.
    epsilon : float
        Radius of the ball.

    Returns
    -------
    shares : ndarray of shape (m,)
        ``rho / (rho + multiplier)``, with the multiplier of half the square of the radius.
    """
    squares, rho, epsilon = squares.astype(np.float64), rho.astype(np.float64), float(epsilon)
    multiplier = 0.0
    while True:
        weights = rho + multiplier
        shares = rho / weights
        parts = shares * shares * squares
        square = float(parts.sum())
        excess = np.sqrt(square) / epsilon - 1
        if not excess > 1e-7:
            return shares
        # The inverse of the radius is nearly linear, and exactly so if all weights are alike.
        multiplier += excess * square / float((parts / weights).sum())

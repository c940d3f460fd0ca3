"""Checks of parameters and data, each with an error that says what to do."""

import math
import numbers
import warnings

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import _num_samples


def in_order(X):
    """A sparse matrix whose indices are sorted and say each place once: a copy, if `X` is not so.

    Scipy does that in place as soon as it matters: to the user's own matrix, or it fails where that
    may not be written, as in a worker of joblib.
    """
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def per_layer(name, value, n_layers, *, minimum):
    """A parameter given as one number or as one per layer, as a list with one per layer.

    Parameters
    ----------
    name : str
        Of the parameter, for the message.
    value : number or sequence of numbers
        What the user gave.
    n_layers : int or None
        None if not known yet: the length of a sequence is then not checked.
    minimum : float
        Smallest value allowed.

    Returns
    -------
    values : list of float

    Raises
    ------
    TypeError
        If a value is not a number.
    ValueError
        If a value is not finite or below `minimum`, or there is not one per layer.
    """
    if not isinstance(value, (list, tuple, np.ndarray)):
        return [_number(name, value, minimum)] * (n_layers or 1)
    if np.ndim(value) != 1:
        raise ValueError(f"{name} must be a number or one number per layer, got {value!r}")
    values = [_number(name, entry, minimum) for entry in value]
    if n_layers is not None and len(values) != n_layers:
        raise ValueError(
            f"{name} has {len(values)} values but the network has {n_layers} layers "
            "(the output layer counts)"
        )
    return values


def _number(name, value, minimum, several="or one per layer"):
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number >= {minimum} {several}, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    if value < minimum:
        raise ValueError(f"{name} must be >= {minimum}, got {value}")
    return float(value)


def decreasing_epsilons(values):
    """Several values of epsilon for a path, checked and sorted.

    Parameters
    ----------
    values : array-like of shape (n_epsilons,)
        What the user gave.

    Returns
    -------
    epsilons : ndarray of shape (n_epsilons,)
        Largest first.

    Raises
    ------
    TypeError, ValueError
        If there are none, they are not in one dimension, or one is not a finite number >= 0.
    """
    if np.ndim(values) != 1 or len(values) == 0:
        raise ValueError(
            f"epsilons must be an int or a list of at least one value of epsilon, got {values!r}"
        )
    return np.sort([_number("epsilons", value, 0, "each") for value in values])[::-1]


def warn_unused_epsilon(epsilon):
    """Say that the cascade has no use for the epsilon of its later layers."""
    if len(set(epsilon)) > 1:
        warnings.warn(
            "in the cascade only the first value of epsilon counts: the other layers get theirs "
            "from the error they inherit, times gamma. Give one epsilon, and gamma (a factor >= 1, "
            "or one per layer) for the others.",
            UserWarning,
            stacklevel=3,  # the caller of fit
        )


def draw_rows(X, max_samples, random_state):
    """The calibration rows: all of X, or `max_samples` of them without replacement.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame with n_samples rows
    max_samples : int, float or None
        Number or share of the rows; None for all.
    random_state : int, RandomState instance or None
        Draws the rows, whose order is kept.

    Returns
    -------
    rows : like X

    Raises
    ------
    ValueError
        If there are fewer than two rows, or fewer than `max_samples`.
    """
    n_samples = _num_samples(X)
    n_rows = n_samples if max_samples is None else max_samples
    if isinstance(n_rows, numbers.Integral):
        if n_rows > n_samples:
            raise ValueError(f"max_samples={max_samples} is more than the {n_samples} rows of X")
    else:
        n_rows = math.ceil(max_samples * n_samples)
    if n_rows < 2:
        _refuse_few_rows(X, n_samples, n_rows)
    if n_rows == n_samples:
        return X
    chosen = sample_without_replacement(
        n_samples, n_rows, random_state=check_random_state(random_state)
    )
    return _safe_indexing(indexable(X)[0], np.sort(chosen))


def _refuse_few_rows(X, n_samples, n_rows):
    """One row says nothing of a network: intercepts alone reproduce its outputs."""
    if n_samples < 2:
        raise ValueError(
            f"Found array with {n_samples} sample(s) (shape={np.shape(X)}) while a minimum of 2 "
            "is required by NetTrim."
        )
    raise ValueError(
        f"max_samples leaves {n_rows} of the {n_samples} rows of X: at least 2 are needed"
    )

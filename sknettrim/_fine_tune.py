"""Masked fine-tuning: a few epochs of training on the weights that survived pruning.

The training is scikit-learn's own: ``partial_fit``, with the solver, the loss and the penalty of
the MLP. Ours is that weights which are zero have no gradient, and that the best epoch counts.
"""

import copy
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _check_sample_weight, has_fit_parameter

from ._network import Network, interruptible


class _Masked:
    """What makes an MLP class train given weights further, and leave those that are zero alone.

    It extends two private methods of scikit-learn. Setting weights back to zero after each epoch
    would do without, but is another training: within an epoch the pruned weights would come back,
    and the others, with the moments of the optimizer, adapt to them. With no gradient, the
    optimizer sees zeros, which leave its moments and the weights at exactly zero.
    """

    def train_from(self, network):
        self._start = network
        return self

    def _initialize(self, y, layer_units, dtype):
        super()._initialize(y, layer_units, dtype)
        self.coefs_ = [W.copy() for W in self._start.coefs]
        self.intercepts_ = [b.copy() for b in self._start.intercepts]
        self._kept = [W != 0 for W in self.coefs_]

    def _backprop(self, *args, **kwargs):
        loss, coef_grads, intercept_grads = super()._backprop(*args, **kwargs)
        for grad, kept in zip(coef_grads, self._kept, strict=True):
            grad *= kept
        return loss, coef_grads, intercept_grads


@validate_params(
    {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=False,
)
def fine_tune(
    mlp,
    X,
    y,
    sample_weight,
    *,
    max_iter,
    validation_fraction,
    n_iter_no_change,
    random_state,
    verbose,
):
    """Train the weights of a fitted MLP that are not zero; those that are stay so.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
        Fitted; not modified.
    X : {ndarray, CSR matrix} of shape (n_samples, n_inputs)
        As the MLP receives it, in the data type of the network.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : array-like of shape (n_samples,) or None
    max_iter, validation_fraction, n_iter_no_change
        As of ``NetTrim.fine_tune``.
    random_state : int, RandomState instance or None
        Draws the rows that are held out, and the batches.
    verbose : int
        From 1 on, a line per epoch.

    Returns
    -------
    network : Network
        With the weights of the epoch that did best on the rows held out.
    epoch : int
        Which one that was; 0 if none did better than `mlp`.
    scores : ndarray of shape (n_epochs + 1,)
        On the rows held out: of `mlp`, then after each epoch.
    """
    rng = check_random_state(random_state)
    rows, held_out = _hold_out(mlp, X, y, sample_weight, validation_fraction, rng)
    mlp = _without_names(mlp)
    learner, classes = _learner(mlp, rows["X"].shape[0], rng), _known_classes(mlp)
    network, kept, qualities = Network.of(mlp), 0, [_quality(mlp, **held_out)]
    for epoch in range(1, max_iter + 1):
        with interruptible():
            learner.partial_fit(**rows, **classes)
        quality = _quality(learner, **held_out)
        if verbose:
            print(f"fine-tuning: epoch {epoch}, held-out score {quality[0]:.4f}", flush=True)
        if quality > max(qualities):
            network, kept = copy.deepcopy(Network.of(learner)), epoch
        qualities.append(quality)
        if epoch - np.argmax(qualities, axis=0).max() >= n_iter_no_change:
            break
    _check_zeros(Network.of(mlp), network)
    return network, kept, np.array(qualities)[:, 0]


def _quality(mlp, X, y, sample_weight=None):
    """The score, and the negative squared error, by which to compare equal scores.

    Of a classifier it is the error of the probabilities (the Brier score). Few rows have few
    accuracies: measured on digits, that alone stopped before the first epoch that was better.
    """
    score = mlp.score(X, y, sample_weight=sample_weight)
    if is_classifier(mlp):
        predicted = mlp.predict_proba(X)
        y = y if y.ndim == 2 else y[:, np.newaxis] == mlp.classes_
    else:
        predicted = mlp.predict(X)
    return score, -mean_squared_error(y, predicted, sample_weight=sample_weight)


# Data ----------------------------------------------------------------------------------------


def _hold_out(mlp, X, y, sample_weight, fraction, rng):
    """Arguments for training and for scoring, of rows apart; drawn as an MLP draws them."""
    X, y = _check_targets(mlp, X, y)
    data = {"X": X, "y": y}
    if sample_weight is not None:
        data["sample_weight"] = _check_weights(mlp, X, sample_weight)
    stratify = y if is_classifier(mlp) and y.ndim == 1 else None
    split = train_test_split(
        *data.values(), test_size=fraction, random_state=rng, stratify=stratify
    )
    rows, held_out = (dict(zip(data, split[part::2], strict=True)) for part in (0, 1))
    if held_out["X"].shape[0] < 2:
        raise ValueError(
            f"validation_fraction={fraction} holds out {held_out['X'].shape[0]} of {X.shape[0]} "
            "rows to choose the best epoch by: at least 2 are needed"
        )
    return rows, held_out


def _check_targets(mlp, X, y):
    X, y = check_X_y(
        X, y, accept_sparse="csr", dtype=None, multi_output=True, y_numeric=not is_classifier(mlp)
    )
    y = y.toarray() if sparse.issparse(y) else y
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    n_columns, expected = 1 if y.ndim == 1 else y.shape[1], _n_columns(mlp)
    if n_columns != expected:
        raise ValueError(f"y has {n_columns} columns, but the network was trained on {expected}")
    if is_classifier(mlp):
        unknown = np.setdiff1d(unique_labels(y), mlp.classes_)
        if unknown.size:
            raise ValueError(
                f"y has labels that the network was not trained on: {unknown}; "
                f"it knows {mlp.classes_}"
            )
    return X, y


def _n_columns(mlp):
    """Of y: a label for one softmax, else a value for each output."""
    return 1 if mlp.out_activation_ == "softmax" else mlp.n_outputs_


def _check_weights(mlp, X, sample_weight):
    if not has_fit_parameter(mlp, "sample_weight"):
        raise ValueError(
            f"sample_weight: the {type(mlp).__name__} of this scikit-learn trains without; "
            "version 1.7 or newer takes it"
        )
    return _check_sample_weight(sample_weight, X)


# The learner ---------------------------------------------------------------------------------


def _without_names(mlp):
    """The MLP for arrays: X is checked and has lost the names of its columns."""
    mlp = copy.copy(mlp)
    vars(mlp).pop("feature_names_in_", None)
    return mlp


def _learner(mlp, n_rows, rng):
    """An MLP like `mlp`, still to be trained, whose training will start from its weights."""
    kind = type(mlp)
    learner = type(kind.__name__, (_Masked, kind), {})(**mlp.get_params())
    learner.set_params(
        # lbfgs has no epochs.
        solver="adam" if mlp.solver == "lbfgs" else mlp.solver,
        # Which may be all the rows that the MLP was trained on: fewer are left here.
        batch_size=mlp.batch_size if mlp.batch_size == "auto" else min(mlp.batch_size, n_rows),
        # One generator for all epochs: an integer would shuffle each of them alike.
        random_state=rng,
        # Both are done here, and refused or misunderstood by partial_fit.
        early_stopping=False,
        warm_start=False,
        verbose=False,
    )
    return learner.train_from(Network.of(mlp))


def _known_classes(mlp):
    """What partial_fit of a classifier wants to know beforehand."""
    return {"classes": mlp.classes_} if is_classifier(mlp) else {}


def _check_zeros(before, after):
    """Hold to the promise even if a future scikit-learn trains by other methods."""
    if any((W[old == 0] != 0).any() for old, W in zip(before.coefs, after.coefs, strict=True)):
        raise RuntimeError(
            "fine-tuning brought pruned weights back: this version of scikit-learn trains in a way "
            "that sknettrim does not know; please report it"
        )

"""The only file that knows the inside of scikit-learn's MLPs, and of what users wrap around them.

A supported estimator is a chain of levels: wrappers, each holding the next, down to one MLP.
"""

import copy
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import _check_feature_names_in, validate_data

from ._validation import in_order

MLP = (MLPClassifier, MLPRegressor)

# Where a wrapper holds the next level: the parameter given by the user, the attribute once fitted.
_HOLDERS = (
    (FrozenEstimator, "estimator", "estimator"),
    (TransformedTargetRegressor, "regressor", "regressor_"),
    (BaseSearchCV, "estimator", "best_estimator_"),
)

# What training leaves in an MLP and prediction does not need: three quarters of its size.
_TRAINING_STATE = {
    "_optimizer",
    "_best_coefs",
    "_best_intercepts",
    "_random_state",
    "_coef_indptr",
    "_intercept_indptr",
}

# Name of the step of a Pipeline that selects the inputs the network uses.
_SELECTOR = "used_inputs"

# Weights of a layer below which a sparse array is no faster, however sparse.
_LEAST_SPARSE = 10_000

# Each hidden activation with its Lipschitz constant.
_ACTIVATIONS = {
    "identity": (lambda Z: Z, 1.0),
    "relu": (lambda Z: np.maximum(Z, 0), 1.0),
    "tanh": (np.tanh, 1.0),
    "logistic": (expit, 0.25),
}


# Levels --------------------------------------------------------------------------------------


def levels(estimator):
    """Yield `estimator`, what it wraps, and so on to the innermost; fitted parts where they are."""
    yield estimator
    inside = _next_level(estimator)
    if inside is not None:
        yield from levels(inside)


def _next_level(estimator):
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1] if estimator.steps else None
    for kind, parameter, fitted in _HOLDERS:
        if isinstance(estimator, kind):
            return getattr(estimator, fitted, getattr(estimator, parameter))
    return None


def innermost(estimator):
    """The estimator at the end of the chain: the MLP, if `estimator` is supported."""
    *_, last = levels(estimator)
    return last


def is_fitted(estimator):
    """Whether the MLP inside is trained, and every wrapper holds what its own fit leaves."""
    mlp = innermost(estimator)
    trained = isinstance(mlp, MLP) and hasattr(mlp, "coefs_")
    return trained and all(map(_holds_fitted, levels(estimator)))


def _holds_fitted(level):
    return all(hasattr(level, fitted) for kind, _, fitted in _HOLDERS if isinstance(level, kind))


def check_prunable(estimator):
    """Refuse what can neither be pruned as it is nor trained and then pruned.

    Raises
    ------
    TypeError
        If there is no MLP at the end of the chain.
    NotFittedError
        If an MLP that is not trained is frozen, so that nothing may train it.
    ValueError
        If a search that is still to be run would keep no best estimator.
    """
    mlp = innermost(estimator)
    if not isinstance(mlp, MLP):
        found = f"the class {mlp.__name__}" if isinstance(mlp, type) else repr(mlp)[:200]
        raise TypeError(
            "expected an MLPClassifier or an MLPRegressor, on its own, as the last step of a "
            "Pipeline, or inside a FrozenEstimator, a TransformedTargetRegressor or a search such "
            f"as GridSearchCV; got {found}"
        )
    for level in levels(estimator):
        if isinstance(level, FrozenEstimator) and not is_fitted(level.estimator):
            raise NotFittedError(
                f"the FrozenEstimator holds a {type(mlp).__name__} that is not fitted: fit it "
                "before freezing it, or pass it without FrozenEstimator to have it trained"
            )
        if isinstance(level, BaseSearchCV) and not (_holds_fitted(level) or level.refit):
            raise ValueError(
                f"{type(level).__name__} with refit=False keeps no best estimator to prune: "
                "set refit=True"
            )


def count_layers(estimator):
    """Number of weight layers; None as long as a search may still change it."""
    mlp = innermost(estimator)
    if is_fitted(estimator):
        return len(mlp.coefs_)
    if any(isinstance(level, BaseSearchCV) for level in levels(estimator)):
        return None
    return np.size(mlp.hidden_layer_sizes) + 1


@contextmanager
def interruptible():
    """Training in here stops at Ctrl-C: an MLP turns it into a warning and poses as trained."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Training interrupted by user", UserWarning)
        try:
            yield
        except UserWarning as stop:
            if "Training interrupted by user" in str(stop):
                raise KeyboardInterrupt from stop
            raise


def train(estimator, X, y):
    """A clone of `estimator`, trained on (X, y)."""
    with interruptible():
        return clone(estimator).fit(X, y)


def network_inputs(estimator, X):
    """X as the MLP inside `estimator` receives it, checked the way its ``predict`` checks it.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
        Whatever the first step of `estimator` accepts.

    Returns
    -------
    A : {ndarray, CSR matrix} of shape (n_samples, n_inputs)
        In the data type of the network.
    """
    *wrappers, mlp = levels(estimator)
    for wrapper in wrappers:
        if isinstance(wrapper, Pipeline):
            for _, step in wrapper.steps[:-1]:
                if step is not None and step != "passthrough":
                    X = step.transform(X)
    return in_order(validate_data(mlp, X, accept_sparse="csr", dtype=_data_type(mlp), reset=False))


def network_targets(estimator, y):
    """Targets as the MLP inside `estimator` is trained on them."""
    if y is None:
        raise ValueError(
            f"training {type(estimator).__name__} requires y to be passed, but the target y is None"
        )
    for level in levels(estimator):
        if isinstance(level, TransformedTargetRegressor):
            y = check_array(y, input_name="y", ensure_2d=False, dtype="numeric")
            y = level.transformer_.transform(y.reshape(len(y), -1))
            y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    return y


def _data_type(mlp):
    kept = np.result_type(*[W.dtype for W in mlp.coefs_])
    return kept if kept in (np.float32, np.float64) else np.dtype(np.float64)


def rebuild(estimator, network, selector=None):
    """An estimator like `estimator`, fitted, with the weights of `network` and no shared arrays.

    FrozenEstimator is left out on the way to the MLP, and a search becomes its best estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    network : Network
        As many layers as the old one; hidden layers may be narrower.
    selector : ColumnTransformer, default=None
        Where `network` has fewer inputs than the old one: what selects these, fitted. It becomes
        the last step before the MLP, in a Pipeline, and must pass on arrays without names.

    Returns
    -------
    rebuilt : estimator
    """
    if isinstance(estimator, MLP):
        rebuilt = _rebuild_mlp(estimator, network)
        return rebuilt if selector is None else _behind(selector, rebuilt)
    inside = _next_level(estimator)
    rebuilt = rebuild(inside, network, selector)
    if isinstance(estimator, (FrozenEstimator, BaseSearchCV)):
        return rebuilt
    copied = copy.deepcopy(estimator, {id(inside): rebuilt})
    if isinstance(copied, TransformedTargetRegressor):
        # The parameter may hold a trained network as well, wrapped for its training only.
        copied.regressor = clone(rebuilt)
    if isinstance(copied, Pipeline) and isinstance(rebuilt, Pipeline) and rebuilt[0] is selector:
        _splice(copied)
    return copied


def _rebuild_mlp(mlp, network):
    kept = {name: value for name, value in vars(mlp).items() if name not in _TRAINING_STATE}
    del kept["coefs_"], kept["intercepts_"]
    rebuilt = type(mlp).__new__(type(mlp))
    vars(rebuilt).update(copy.deepcopy(kept))
    rebuilt.coefs_ = [_stored_as(old, W) for W, old in zip(network.coefs, mlp.coefs_, strict=True)]
    rebuilt.intercepts_ = [
        np.array(b, dtype=old.dtype)
        for b, old in zip(network.intercepts, mlp.intercepts_, strict=True)
    ]
    if getattr(mlp, "best_validation_score_", None) is not None:
        # A warm start must find it exceeded once, to have best weights to go back to.
        rebuilt.best_validation_score_ = -np.inf
    hidden = tuple(len(b) for b in rebuilt.intercepts_[:-1])
    if hidden != tuple(np.ravel(mlp.hidden_layer_sizes)):
        # Training further, or a clone, would trust the parameter.
        rebuilt.hidden_layer_sizes = hidden
    return rebuilt


def _behind(selector, mlp):
    """A Pipeline of the selector and the MLP, which now sees fewer inputs, without names."""
    mlp.n_features_in_ = mlp.coefs_[0].shape[0]
    vars(mlp).pop("feature_names_in_", None)
    return Pipeline([(_SELECTOR, selector), (type(mlp).__name__.lower(), mlp)])


def _splice(pipeline):
    """Make one pipeline of two, where the inner one holds only the selector and the MLP."""
    name, inner = pipeline.steps[-1]
    # Taken if the estimator has been through this before.
    taken = _SELECTOR in dict(pipeline.steps)
    label = f"{_SELECTOR}-{len(pipeline.steps)}" if taken else _SELECTOR
    pipeline.steps[-1:] = [(label, inner[0]), (name, inner[-1])]


def sparsify_weights(estimator, max_density):
    """Store the weights of the MLP inside `estimator` in sparse arrays where that pays, in place.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    max_density : float
        Layers with a larger share of non-zero weights, and small ones, are stored dense.
    """
    densify_weights(estimator)
    mlp = innermost(estimator)
    # CSR arrays, not matrices: with those, no scikit-learn predicts on sparse data.
    mlp.coefs_ = [
        sparse.csr_array(W)
        if W.size >= _LEAST_SPARSE and np.count_nonzero(W) <= max_density * W.size
        else W
        for W in mlp.coefs_
    ]


def densify_weights(estimator):
    """Store all weights of the MLP inside `estimator` in dense arrays, in place."""
    mlp = innermost(estimator)
    mlp.coefs_ = [_dense(W) for W in mlp.coefs_]


def _stored_as(old, W):
    """A copy of W in the data type of `old`, and sparse if that is."""
    copied = np.array(W, dtype=old.dtype, order="C")
    return sparse.csr_array(copied) if sparse.issparse(old) else copied


def _dense(W):
    return W.toarray() if sparse.issparse(W) else W


def input_names(estimator, input_features=None):
    """Names of what the MLP inside `estimator` receives, as the steps before it name them.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    input_features : array-like of str, default=None
        Names of what `estimator` receives, where it was not trained on a data frame.

    Returns
    -------
    names : ndarray of str of shape (n_inputs,)
        ``x0``, ``x1``, ... if there are none to go by.
    """
    *wrappers, mlp = levels(estimator)
    names = input_features
    for wrapper in wrappers:
        if isinstance(wrapper, Pipeline) and len(wrapper.steps) > 1:
            names = wrapper[:-1].get_feature_names_out(names)
    return _check_feature_names_in(mlp, names)


# Arithmetic ----------------------------------------------------------------------------------


def affine(A, W, b):
    """``A W + 1 b'``, dense whatever A is."""
    return safe_sparse_dot(A, W, dense_output=True) + b


@dataclass(frozen=True)
class Network:
    """Weights and activation of an MLP; layers are numbered from 0, the last is the output layer.

    Attributes
    ----------
    coefs : list of ndarray of shape (n_inputs, n_neurons)
        The weights of each layer.
    intercepts : list of ndarray of shape (n_neurons,)
        The intercepts of each layer.
    activation : {"relu", "tanh", "logistic", "identity"}
        The activation of the hidden layers.
    """

    coefs: list
    intercepts: list
    activation: str

    @classmethod
    def of(cls, estimator):
        """The network inside a fitted estimator; its arrays are shared unless types differ."""
        mlp = innermost(estimator)
        dtype = _data_type(mlp)
        coefs = [np.asarray(_dense(W), dtype=dtype) for W in mlp.coefs_]
        intercepts = [np.asarray(b, dtype=dtype) for b in mlp.intercepts_]
        for number, (W, b) in enumerate(zip(coefs, intercepts, strict=True), start=1):
            if not (np.isfinite(W).all() and np.isfinite(b).all()):
                raise ValueError(
                    f"layer {number} of {len(coefs)}: the weights of the network hold NaN or "
                    "infinite values"
                )
        return cls(coefs, intercepts, mlp.activation)

    @property
    def n_layers(self):
        """Number of weight layers."""
        return len(self.coefs)

    @property
    def density(self):
        """Share of the weights that are not zero."""
        return float(sum(map(np.count_nonzero, self.coefs)) / sum(W.size for W in self.coefs))

    def is_output(self, layer):
        """Whether `layer` is the output layer, which is matched before its activation."""
        return layer == self.n_layers - 1

    def is_relu(self, layer):
        """Whether the outputs of `layer` are cut at zero."""
        return self.activation == "relu" and not self.is_output(layer)

    def lipschitz(self, layer):
        """The Lipschitz constant of the activation of `layer`."""
        return 1.0 if self.is_output(layer) else _ACTIVATIONS[self.activation][1]

    def respond(self, layer, A):
        """``A W + 1 b'`` of one layer."""
        return affine(A, self.coefs[layer], self.intercepts[layer])

    def activate(self, layer, Z):
        """What a layer passes on; the output layer passes on its responses."""
        return Z if self.is_output(layer) else _ACTIVATIONS[self.activation][0](Z)

    def outputs(self, X):
        """X and what each layer passes on: n_layers + 1 arrays with the rows of X."""
        outputs = [X]
        for layer in range(self.n_layers):
            Z = self.respond(layer, outputs[-1])
            if not np.isfinite(Z).all():
                raise ValueError(
                    f"layer {layer + 1} of {self.n_layers}: its responses to X overflow "
                    f"{Z.dtype}; are the scales of X those the network was trained on?"
                )
            outputs.append(self.activate(layer, Z))
        return outputs

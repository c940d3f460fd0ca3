"""The same outputs from fewer neurons: what pruning has left without effect is taken out."""

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import validate_params

from ._network import Network, check_prunable, innermost, is_fitted, rebuild


@validate_params({"drop_inputs": ["boolean"]}, prefer_skip_nested_validation=True)
def compact(estimator, *, drop_inputs=False):
    """The same predictions from a smaller, dense network.

    Hidden neurons go that cannot matter: those with no outgoing weight, and those whose output is
    the same for every input, which move into the intercepts of the next layer. A neuron is
    constant if it has no incoming weight, or if its activation cannot leave one value: a relu
    neuron, say, that no output of the layer before it can turn on, or a tanh neuron that none can
    bring out of saturation. The outputs stay the same, up to rounding, for any input, not only
    for the calibration data.

    Parameters
    ----------
    estimator : estimator
        Fitted: an :class:`~sklearn.neural_network.MLPClassifier` or
        :class:`~sklearn.neural_network.MLPRegressor`, pruned or not, on its own or wrapped as
        :class:`NetTrim` takes it. Of a fitted NetTrim give its ``estimator_``, or use
        :meth:`NetTrim.compact`. It is not changed.
    drop_inputs : bool, default=False
        Whether to drop the inputs too from which nothing leads to an output. The MLP then comes
        behind a step that selects the inputs used, in a
        :class:`~sklearn.pipeline.Pipeline` (the one it is in, if it is in one). That step is a
        :class:`~sklearn.compose.ColumnTransformer`, which takes the columns of a data frame by
        their names, so that dropped ones need not be there. Sparse data comes out of it dense.

    Returns
    -------
    compacted : estimator
        Fitted, plain scikit-learn of the structure given, less FrozenEstimator around the MLP
        and with a search replaced by its best estimator. Its ``hidden_layer_sizes`` are the new
        ones, at least one neuron per layer. Weights are dense arrays, but where
        :meth:`NetTrim.sparsify` has made them sparse they are sparse again. What only training
        needs (the state of the optimizer) is left out.

    Raises
    ------
    TypeError
        If there is no MLP in `estimator`.
    NotFittedError
        If it is not fitted.
    ValueError
        If its weights are not finite.

    See Also
    --------
    NetTrim.sparsify : Keep the shapes, and store the weights in sparse arrays.

    Notes
    -----
    What an activation can be is found by interval arithmetic: inputs of the network can be
    anything, and a response lies between the sums of the smallest and of the largest terms.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import NetTrim, compact
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier(solver="lbfgs", alpha=1, max_iter=5000, random_state=0).fit(X, y)
    >>> pruned = NetTrim(mlp, epsilon=0.05).fit(X).estimator_
    >>> smaller = compact(pruned)
    >>> mlp.hidden_layer_sizes, bool(smaller.hidden_layer_sizes[0] < 50)
    ((100,), True)
    >>> np.allclose(smaller.predict_proba(X), pruned.predict_proba(X), rtol=1e-9)
    True
    """
    check_prunable(estimator)
    if not is_fitted(estimator):
        raise NotFittedError(
            f"this {type(estimator).__name__} is not fitted: compact takes a trained network"
        )
    network = shrink(Network.of(estimator))
    if not drop_inputs:
        return rebuild(estimator, network)
    inputs = np.flatnonzero(used_inputs(network))
    if not inputs.size:
        inputs = np.array([0])  # scikit-learn refuses data without columns
    network.coefs[0] = network.coefs[0][inputs]
    return rebuild(estimator, network, _input_selector(estimator, inputs))


def _input_selector(estimator, inputs):
    """A fitted step that passes on some of the inputs of the MLP inside `estimator`."""
    mlp = innermost(estimator)
    selector = ColumnTransformer(
        [("used", "passthrough", inputs.tolist())], verbose_feature_names_out=False
    )
    # Arrays, whatever the configuration: the MLP behind it has no names to compare.
    selector.set_output(transform="default").fit(np.zeros((1, mlp.n_features_in_)))
    if hasattr(mlp, "feature_names_in_"):
        # As if fitted on a data frame, which would take a library of data frames.
        selector.feature_names_in_ = mlp.feature_names_in_.copy()
    return selector


def used_inputs(network):
    """Which inputs have a weight: in a network from :func:`shrink`, those that matter.

    Parameters
    ----------
    network : Network

    Returns
    -------
    used : ndarray of bool of shape (n_inputs,)
    """
    return network.coefs[0].any(axis=1)


def shrink(network):
    """The network without the hidden neurons that cannot matter.

    Neither step makes work for the other: constants are folded from the first layer to the last,
    and taking a neuron out leaves others without outgoing weights only before it.

    Parameters
    ----------
    network : Network

    Returns
    -------
    smaller : Network
        In double precision, its arrays its own. A layer of which nothing is left keeps one
        neuron without weights.
    """
    coefs = [np.array(W, dtype=np.float64) for W in network.coefs]
    intercepts = [np.array(b, dtype=np.float64) for b in network.intercepts]
    smaller = Network(coefs, intercepts, network.activation)
    _fold_constants(smaller)
    _drop_unused(smaller)
    return smaller


def _fold_constants(network):
    """Move what constant neurons pass on into the next intercepts, and cut them off."""
    n_inputs = len(network.coefs[0])
    low, high = np.full(n_inputs, -np.inf), np.full(n_inputs, np.inf)
    for layer in range(network.n_layers - 1):
        smallest, largest = _response_range(
            network.coefs[layer], network.intercepts[layer], low, high
        )
        # Activations never decrease.
        low, high = network.activate(layer, smallest), network.activate(layer, largest)
        constant = low == high
        onward = network.coefs[layer + 1]
        network.intercepts[layer + 1] += low[constant] @ onward[constant]
        onward[constant] = 0


def _response_range(W, b, low, high):
    """Bounds of the responses to inputs between `low` and `high`."""
    positive, negative = np.maximum(W, 0), np.minimum(W, 0)
    smallest = _weighted(low, positive) + _weighted(high, negative) + b
    largest = _weighted(high, positive) + _weighted(low, negative) + b
    return smallest, largest


def _weighted(bound, W):
    """``bound W``, where a zero weight passes nothing on, not even what has no bound."""
    return np.multiply(W, bound[:, None], out=np.zeros_like(W), where=W != 0).sum(axis=0)


def _drop_unused(network):
    """Take out the neurons without outgoing weights, from the last hidden layer to the first."""
    coefs, intercepts = network.coefs, network.intercepts
    for layer in reversed(range(network.n_layers - 1)):
        used = coefs[layer + 1].any(axis=1)
        coefs[layer][:, ~used] = 0
        intercepts[layer][~used] = 0
        used[0] |= not used.any()  # scikit-learn's layers have a neuron at least
        coefs[layer], intercepts[layer] = coefs[layer][:, used], intercepts[layer][used]
        coefs[layer + 1] = coefs[layer + 1][used]

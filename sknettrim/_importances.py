"""Which inputs matter to a network, read from its weights."""

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis


def importances(network, spread):
    """Share of each input in what the network's outputs respond to.

    A signal reaches an output along paths, and is multiplied by the weights on its way. The sum
    of these products over all paths from one input to one output, with their signs, is the
    connection weight of the two (Olden and Jackson 2002, "Illuminating the black box",
    Ecological Modelling 154): an entry of the product of all weight matrices, and the derivative
    of the output where activations have slope one. The importance of an input is the sum of the
    absolute values of its connection weights times its spread, so that it does not depend on the
    unit of the input.

    Parameters
    ----------
    network : Network
    spread : ndarray of shape (n_inputs,)
        How far each input varies, in its own unit.

    Returns
    -------
    shares : ndarray of shape (n_inputs,)
        Not negative, with sum 1; all zero if no signal arrives.
    """
    connections = np.eye(network.coefs[-1].shape[1])
    for W in reversed(network.coefs):
        connections = W @ connections
        # Only ratios count; deep networks would leave the range of numbers.
        connections /= np.abs(connections).max(initial=0) or 1
    shares = np.abs(connections).sum(axis=1) * spread
    return shares / (shares.sum() or 1)


def column_spread(A):
    """Standard deviation of each column.

    Parameters
    ----------
    A : {ndarray, CSR matrix} of shape (n_samples, n_inputs)

    Returns
    -------
    spread : ndarray of shape (n_inputs,)
    """
    if sparse.issparse(A):
        return np.sqrt(mean_variance_axis(A, axis=0)[1])
    return A.std(axis=0, dtype=np.float64)

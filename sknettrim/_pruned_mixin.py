"""What a pruned estimator can be turned into, and which inputs it uses."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._compact import compact, shrink, used_inputs
from ._importances import importances
from ._network import Network, densify_weights, input_names, sparsify_weights


def _is_fitted(estimator):
    """Whether a method is there yet.

    Of an estimator that has ``sparsify`` before it is fitted, scikit-learn's check_estimator
    expects a ``coef_``.
    """
    check_is_fitted(estimator)
    return True


class PrunedMixin:
    """Methods of an estimator that holds, once fitted, a pruned one in ``estimator_``.

    It also has ``_input_spread``, the standard deviation of each input of the network on the
    calibration data.
    """

    def compact(self, *, drop_inputs=False):
        """The pruned estimator without the neurons that cannot matter, see :func:`compact`.

        Parameters
        ----------
        drop_inputs : bool, default=False
            Whether to drop unused inputs too, behind a step that selects the others.

        Returns
        -------
        compacted : estimator
            Same predictions as `estimator_`, which is not changed. Layers that `sparsify` has
            made sparse are sparse again.
        """
        check_is_fitted(self)
        return compact(self.estimator_, drop_inputs=drop_inputs)

    @available_if(_is_fitted)
    @validate_params(
        {"max_density": [Interval(Real, 0, 1, closed="both")]}, prefer_skip_nested_validation=True
    )
    def sparsify(self, max_density=0.1):
        """Store the weights of sparse layers as scipy sparse arrays, in place.

        The file becomes smaller, and predicting many rows at a time faster, if few weights are
        left. `estimator_` predicts the same as before.

        Parameters
        ----------
        max_density : float, default=0.1
            Layers with a larger share of non-zero weights stay dense, and so do layers of fewer
            than 10,000 weights. About there, products with sparse arrays stop being faster,
            measured with one thread (``benchmarks.latency``). More threads make only dense
            products faster, so give a smaller share where they are used.

        Returns
        -------
        self : NetTrim
            Fitted.

        See Also
        --------
        compact : Fewer neurons; after `sparsify`, fewer neurons and sparse arrays.

        Notes
        -----
        On sparse data the first layer is faster dense. To train `estimator_` further, or to
        export it, call `densify` first.
        """
        sparsify_weights(self.estimator_, max_density)
        return self

    @available_if(_is_fitted)
    def densify(self):
        """Store all weights as dense arrays again, in place.

        Returns
        -------
        self : NetTrim
            Fitted.
        """
        densify_weights(self.estimator_)
        return self

    @property
    def feature_importances_(self):
        """Share of each input of the network in what its outputs respond to.

        The weights along a path from an input to an output multiply; their products, summed over
        all paths with their signs, are the connection weights of the input (Olden and Jackson
        2002). Its importance is the sum of their absolute values over the outputs, times the
        standard deviation of the input on the calibration data, as a share of the total. All
        zero if nothing of the network is left. Inputs of the network are columns of X unless
        steps of a Pipeline come before it.

        Returns
        -------
        importances : ndarray of shape (n_inputs,)
        """
        check_is_fitted(self)
        return importances(self._smallest_network(), self._input_spread)

    def get_support(self, indices=False):
        """Which inputs the pruned network uses: those from which something leads to an output.

        Parameters
        ----------
        indices : bool, default=False
            Whether to return their numbers instead of a mask.

        Returns
        -------
        support : ndarray of bool of shape (n_inputs,), or ndarray of int
            Of the inputs of the network, as in `feature_importances_`.
        """
        check_is_fitted(self)
        support = used_inputs(self._smallest_network())
        return np.flatnonzero(support) if indices else support

    def get_feature_names_out(self, input_features=None):
        """Names of the inputs that the pruned network uses.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features of X. None: those of the data frame that the estimator was
            trained on, else ``x0``, ``x1``, ...

        Returns
        -------
        names : ndarray of str
            As the steps of a Pipeline before the network name them, if there are any.
        """
        check_is_fitted(self)
        return input_names(self.estimator_, input_features)[self.get_support()]

    def _smallest_network(self):
        return shrink(Network.of(self.estimator_))

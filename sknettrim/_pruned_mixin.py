"""What a pruned estimator can be turned into, and which inputs it uses."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from . import _guarantee
from ._compact import compact, shrink, used_inputs
from ._fine_tune import fine_tune
from ._importances import importances
from ._network import (
    Network,
    densify_weights,
    innermost,
    input_names,
    network_inputs,
    network_targets,
    rebuild,
    sparsify_weights,
)


def _is_fitted(estimator):
    """Whether a method is there yet.

    Of an estimator that has ``sparsify`` before it is fitted, scikit-learn's check_estimator
    expects a ``coef_``.
    """
    check_is_fitted(estimator)
    return True


class PrunedMixin:
    """Methods of an estimator that holds, once fitted, a pruned one in ``estimator_``.

    It has the attributes of a fitted NetTrim, and ``_original``, the Network before pruning;
    ``_summary``, the table about it; ``_input_spread``, the standard deviation of each input of
    the network on the calibration data.
    """

    def fine_tune(
        self,
        X,
        y,
        sample_weight=None,
        *,
        max_iter=100,
        validation_fraction=0.1,
        n_iter_no_change=10,
    ):
        """Train the weights that are left for a few epochs; those that are zero stay zero.

        After heavy pruning this wins back most of the score [1]_. It is scikit-learn's training,
        with the parameters of the MLP (`solver`, `alpha`, `learning_rate_init`, ...; "adam" for one
        trained by "lbfgs", which has no epochs) but no gradient for weights that are zero. Rows
        are held out, and the epoch that scores best on them is kept, which may be none; of equal
        scores the one with the smaller squared error, for a classifier that of its probabilities.

        What Net-Trim guarantees does not hold for trained weights: where an epoch is kept,
        `discrepancy_bound_` becomes infinite, `discrepancy_` is measured anew, on `X`, and
        `summary()` says so. `layers_` stays the record of the pruning.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Training data, as `estimator` takes it. Steps of a pipeline before the MLP transform
            it and are not trained.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets. Labels must be among those that the network knows.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, where the MLP of this scikit-learn takes them (1.7 or newer).
        max_iter : int, default=100
            Largest number of epochs.
        validation_fraction : float, default=0.1
            Share of the rows to hold out, stratified by label; drawn by `random_state`, as the
            batches are.
        n_iter_no_change : int, default=10
            Stop after as many epochs with neither a better score nor a smaller squared error on
            the rows held out.

        Returns
        -------
        self : NetTrim
            With a new `estimator_`. Called again, it trains that further.

        Raises
        ------
        ValueError, TypeError
            If X, y or a parameter is not valid.

        References
        ----------
        .. [1] Aghasi, Abdi, Romberg, "Fast Convex Pruning of Deep Neural Networks", SIAM Journal
           on Mathematics of Data Science, 2020.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.neural_network import MLPClassifier
        >>> from sknettrim import NetTrim
        >>> X, y = load_digits(return_X_y=True)
        >>> mlp = MLPClassifier((20,), learning_rate_init=0.01, random_state=0).fit(X / 16, y)
        >>> trim = NetTrim(mlp, epsilon=0.3, random_state=0).fit(X / 16)
        >>> pruned, score = trim.estimator_, trim.score(X / 16, y)
        >>> trim.fine_tune(X / 16, y).score(X / 16, y) > score
        True
        >>> zeros = pruned.coefs_[0] == 0
        >>> bool((trim.estimator_.coefs_[0][zeros] == 0).all())
        True
        """
        check_is_fitted(self)
        inputs = network_inputs(self.estimator_, X)
        network, epoch, scores = fine_tune(
            innermost(self.estimator_),
            inputs,
            network_targets(self.estimator_, y),
            sample_weight,
            max_iter=max_iter,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            random_state=self.random_state,
            verbose=self.verbose,
        )
        if epoch > 0:
            self.estimator_ = rebuild(self.estimator_, network)
            self.density_ = network.density
            self.discrepancy_ = _guarantee.discrepancies(
                self._original.outputs(inputs), network.outputs(inputs)
            )
            self.discrepancy_bound_ = np.full(network.n_layers, np.inf)
        self.validation_scores_ = scores
        self._summary = _guarantee.with_tuning(self._summary, epoch, scores)
        return self

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
        On sparse data the first layer is faster dense. `fine_tune` and `export_c` take sparse
        weights; for other training or exports, call `densify` first.
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

"""What a pruned estimator can be turned into."""

from numbers import Real

from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._compact import compact
from ._network import densify_weights, sparsify_weights


def _is_fitted(estimator):
    """Whether a method is there yet.

    Of an estimator that has ``sparsify`` before it is fitted, scikit-learn's check_estimator
    expects a ``coef_``.
    """
    check_is_fitted(estimator)
    return True


class PrunedMixin:
    """Methods of an estimator that holds, once fitted, a pruned one in ``estimator_``."""

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
            measured with one thread (``benchmarks/latency.py``). More threads make only dense
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

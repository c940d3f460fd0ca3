"""The weights of a network before and after pruning as a picture."""

import math

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from ._network import Network


class LayerWeightsDisplay:
    """Weights of all layers, before and after pruning; zeros are white.

    Make one with :meth:`from_estimator`, or from weights, as of two estimators of a
    :class:`TrimPath`. Parameters are stored as attributes of the same names.

    Parameters
    ----------
    before, after : list of ndarray of shape (n_inputs, n_neurons)
        The weights of each layer.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_layers, 2)
        A row for each layer.
    images_ : ndarray of matplotlib AxesImage of shape (n_layers, 2)
        What is in them.
    figure_ : matplotlib Figure
        What they are in.

    See Also
    --------
    TrimPathDisplay : The trade-off between score and density.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import LayerWeightsDisplay, NetTrim
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier((10,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
    >>> display = LayerWeightsDisplay.from_estimator(NetTrim(mlp, epsilon=0.1).fit(X))
    >>> display.axes_.shape
    (2, 2)
    """

    def __init__(self, *, before, after):
        self.before = before
        self.after = after

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, image_shape=None, **kwargs):
        """Plot what became of the weights of a network.

        Parameters
        ----------
        estimator : NetTrim or NetTrimCV
            Fitted.
        ax, image_shape, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : LayerWeightsDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        display = cls(
            before=estimator._original.coefs, after=Network.of(estimator.estimator_).coefs
        )
        return display.plot(ax, image_shape=image_shape, **kwargs)

    def plot(self, ax=None, *, image_shape=None, **kwargs):
        """Plot.

        The colour is the weight as a share of the 99th percentile of the sizes in its layer
        before pruning.

        Parameters
        ----------
        ax : array-like of matplotlib Axes of shape (n_layers, 2), default=None
            Where to plot; None for a new figure.
        image_shape : (int, int), default=None
            Height and width of the images that the inputs of the network are. Each neuron of the
            first layer is then shown as one, instead of as a row.
        **kwargs
            Passed on to matplotlib's ``imshow``.

        Returns
        -------
        display : LayerWeightsDisplay
            This one.

        Raises
        ------
        ValueError
            If `ax` has another shape, or the inputs are no images of `image_shape`.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        n_layers = len(self.before)
        if image_shape is not None and math.prod(image_shape) != len(self.before[0]):
            raise ValueError(
                f"image_shape={image_shape!r} does not hold the {len(self.before[0])} inputs of "
                "the network"
            )
        new = ax is None
        self.axes_ = self._new_axes() if new else np.asarray(ax)
        if self.axes_.shape != (n_layers, 2):
            raise ValueError(
                f"ax must be an array of matplotlib Axes of shape {(n_layers, 2)}, a row for each "
                f"layer, got {self.axes_.shape}"
            )
        self.figure_ = self.axes_[0, 0].figure
        options = {
            "cmap": _colours(), "vmin": -1, "vmax": 1, "interpolation": "nearest", **kwargs
        }  # fmt: skip
        self.images_ = np.array(
            [
                self._plot_layer(layer, image_shape if layer == 0 else None, options)
                for layer in range(n_layers)
            ]
        )
        if new:
            bar = self.figure_.colorbar(
                self.images_[0, 0],
                ax=self.axes_,
                location="bottom",
                shrink=0.5,
                aspect=40,
                extend="both",
                ticks=(-1, 0, 1),
            )
            bar.set_label(
                "weight / 99th percentile of the sizes in its layer before; white is zero"
            )
        return self

    def _new_axes(self):
        import matplotlib.pyplot as plt

        n_layers = len(self.before)
        _, axes = plt.subplots(
            n_layers, 2, squeeze=False, layout="constrained", figsize=(9, 1 + 2.5 * n_layers)
        )
        return axes

    def _plot_layer(self, layer, image_shape, options):
        before, after = self.before[layer], self.after[layer]
        scale = np.quantile(np.abs(before), 0.99) or np.abs(before).max() or 1.0
        kept = np.count_nonzero(after) / after.size
        titles = f"layer {layer + 1} before", f"after: {kept:.1%} kept"
        images = []
        for axis, W, title in zip(self.axes_[layer], (before, after), titles, strict=True):
            if image_shape is None:
                picture = _show(axis, W.T / scale, {"aspect": "auto", **options})
                axis.set_xlabel(f"{W.shape[0]} inputs")
            else:
                picture = _show_tiles(axis, W / scale, image_shape, options)
                axis.set_xlabel(f"inputs: {image_shape[0]} x {image_shape[1]}, for each neuron")
            axis.set_ylabel(f"{W.shape[1]} neurons")
            axis.set_title(title, fontsize="medium")
            axis.set(xticks=[], yticks=[])
            images.append(picture)
        return images


def _show(axis, weights, options):
    return axis.imshow(np.ma.masked_equal(weights, 0), **options)


def _show_tiles(axis, W, shape, options):
    """The columns of W as images, side by side with a line between them."""
    height, width = shape
    n_neurons = W.shape[1]
    n_columns = math.ceil(math.sqrt(1.5 * n_neurons * height / width))
    n_rows = math.ceil(n_neurons / n_columns)
    sheet = np.zeros((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1))
    for neuron, column in enumerate(W.T):
        top, left = neuron // n_columns * (height + 1), neuron % n_columns * (width + 1)
        sheet[top : top + height, left : left + width] = column.reshape(shape)
    picture = _show(axis, sheet, options)
    between = {"color": "lightgrey", "linewidth": 0.7}
    axis.hlines(np.arange(1, n_rows) * (height + 1) - 1, -0.5, sheet.shape[1] - 0.5, **between)
    axis.vlines(np.arange(1, n_columns) * (width + 1) - 1, -0.5, sheet.shape[0] - 0.5, **between)
    return picture


def _colours():
    """Blue and red with a step in the middle: what is kept, however small, is not white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    ends = np.concatenate([np.linspace(0.03, 0.40, 128), np.linspace(0.60, 0.97, 128)])
    return ListedColormap(colormaps["RdBu_r"](ends)).with_extremes(bad="white")

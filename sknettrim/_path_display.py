"""The trade-off between score and density as a picture."""

import inspect
import math

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._net_trim import NetTrim
from ._net_trim_cv import NetTrimCV


class TrimPathDisplay:
    """Score and discrepancy of pruned networks against their density.

    Make one with :meth:`from_estimator` or :meth:`from_path`. Parameters are stored as attributes
    of the same names. Where there are folds, their means are plotted.

    Parameters
    ----------
    epsilons : ndarray of shape (n_epsilons,)
        Where the network was pruned.
    densities : ndarray of shape (n_epsilons,) or (n_epsilons, n_folds)
        Share of the weights that are left.
    scores : ndarray of shape (n_epsilons,) or (n_epsilons, n_folds)
        Scores of the pruned networks.
    discrepancies : ndarray of shape (n_epsilons,) or (n_epsilons, n_folds)
        Change in the outputs of the network, relative to their norm.
    unpruned_score : float, default=None
        Score of the network before pruning.
    chosen_epsilon : float, default=None
        The one of `epsilons` to mark.
    score_name : str, default=None
        What the scores are, for the axis. None for "score".

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the score.
    discrepancy_ax_ : matplotlib Axes or None
        The same place with the axis of the discrepancy, on the right.
    figure_ : matplotlib Figure
        What both are in.
    line_ : matplotlib Line2D
        The score.
    band_ : matplotlib PolyCollection or None
        One standard error to either side, if there are several folds.
    discrepancy_line_, unpruned_line_, chosen_point_ : matplotlib Line2D or None
        The other parts of the picture.

    See Also
    --------
    NetTrimCV : Choose epsilon by cross-validation.
    net_trim_path : Prune at many values of epsilon.
    LayerWeightsDisplay : The weights before and after pruning.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import TrimPathDisplay, net_trim_path
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier((10,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
    >>> path = net_trim_path(mlp, X, epsilons=5)
    >>> display = TrimPathDisplay.from_path(path, X, y)
    >>> display.ax_.get_ylabel()
    'accuracy'
    """

    def __init__(
        self,
        *,
        epsilons,
        densities,
        scores,
        discrepancies,
        unpruned_score=None,
        chosen_epsilon=None,
        score_name=None,
    ):
        self.epsilons = epsilons
        self.densities = densities
        self.scores = scores
        self.discrepancies = discrepancies
        self.unpruned_score = unpruned_score
        self.chosen_epsilon = chosen_epsilon
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, ax=None, **kwargs):
        """Plot what a NetTrimCV found, or cross-validate a path of epsilons and plot that.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`NetTrimCV`, without `X` and `y`. Or, with `X` and `y`, a
            :class:`NetTrimCV` that is not fitted, of which a clone is; or a :class:`NetTrim` or
            whatever it can prune, for which a :class:`NetTrimCV` is made, with the parameters
            that both have.
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features), default=None
            Data to prune and to score on, as in :meth:`NetTrimCV.fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets to score against.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        **kwargs
            Passed on to :meth:`plot`.

        Returns
        -------
        display : TrimPathDisplay

        Raises
        ------
        ValueError
            If there is nothing to plot without `X` and `y`, or nothing to do with them.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        search = _search(estimator, X, y)
        display = cls(
            epsilons=search.epsilons_,
            densities=search.densities_,
            scores=search.scores_,
            discrepancies=search.discrepancies_,
            unpruned_score=search.unpruned_scores_.mean(),
            chosen_epsilon=search.epsilon_,
            score_name=f"{_score_name(search.scoring, search)}, cross-validated",
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_path(cls, path, X, y, *, scoring=None, chosen_epsilon=None, ax=None, **kwargs):
        """Score the networks of a path, and plot.

        Parameters
        ----------
        path : TrimPath
            From :func:`net_trim_path`.
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Data to score on, best ones that the network has not seen.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets to score against.
        scoring : str or callable, default=None
            A scorer of scikit-learn, by its name, or ``scorer(estimator, X, y)``. None for
            accuracy or R^2.
        chosen_epsilon : float, default=None
            The one of ``path.epsilons`` to mark.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        **kwargs
            Passed on to :meth:`plot`.

        Returns
        -------
        display : TrimPathDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_path")
        score = check_scoring(path.unpruned, scoring)
        display = cls(
            epsilons=path.epsilons,
            densities=path.densities,
            scores=np.array([score(estimator, X, y) for estimator in path.estimators]),
            discrepancies=path.discrepancies[:, -1] / (path.output_norms[-1] or 1.0),
            unpruned_score=score(path.unpruned, X, y),
            chosen_epsilon=chosen_epsilon,
            score_name=_score_name(scoring, path.unpruned),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, *, name=None, plot_discrepancy=True, plot_unpruned=True, **kwargs):
        """Plot.

        The axis of the density is logarithmic: an epsilon that leaves no weights, be it in one
        fold, is left out.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure. Several displays can share one.
        name : str, default=None
            Of the curve, for the legend. None for "pruned".
        plot_discrepancy : bool, default=True
            Whether to show how far the outputs have moved, with an axis on the right.
        plot_unpruned : bool, default=True
            Whether to show the score before pruning, if it is known.
        **kwargs
            Passed on to matplotlib's ``plot`` for the line of the score.

        Returns
        -------
        display : TrimPathDisplay
            This one.

        Raises
        ------
        ValueError
            If `chosen_epsilon` is none of `epsilons`.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        chosen = self._chosen_index()
        if ax is None:
            _, ax = plt.subplots()
        self.ax_, self.figure_ = ax, ax.figure
        densities, scores, discrepancies = (
            np.reshape(values, (len(self.epsilons), -1))
            for values in (self.densities, self.scores, self.discrepancies)
        )
        shown = (densities > 0).all(axis=1)
        densities = densities.mean(axis=1)
        self._plot_score(densities[shown], scores[shown], name, kwargs)
        self._plot_unpruned(plot_unpruned and self.unpruned_score is not None)
        self._plot_chosen(densities, scores.mean(axis=1), chosen)
        _label_densities(ax, densities[shown])
        self._plot_discrepancy(
            plot_discrepancy, densities[shown], discrepancies.mean(axis=1)[shown]
        )
        ax.set_ylabel(self.score_name or "score")
        # Both curves have gone from left to right at half their height.
        ax.legend(loc="center right" if plot_discrepancy else "lower right")
        return self

    def _chosen_index(self):
        if self.chosen_epsilon is None:
            return None
        (matches,) = np.nonzero(np.isclose(self.epsilons, self.chosen_epsilon, rtol=1e-6, atol=0))
        if not len(matches):
            raise ValueError(
                f"chosen_epsilon={self.chosen_epsilon!r} is none of the epsilons of the path, "
                f"which are {np.array2string(np.asarray(self.epsilons), precision=3)}"
            )
        return matches[0]

    def _plot_score(self, densities, scores, name, options):
        means, n_folds = scores.mean(axis=1), scores.shape[1]
        options = {"label": name or "pruned", "marker": ".", **options}
        (self.line_,) = self.ax_.plot(densities, means, **options)
        self.band_ = None
        if n_folds > 1:
            error = scores.std(axis=1, ddof=1) / math.sqrt(n_folds)
            self.band_ = self.ax_.fill_between(
                densities,
                means - error,
                means + error,
                color=self.line_.get_color(),
                alpha=0.2,
                linewidth=0,
                label="one standard error",
            )

    def _plot_unpruned(self, wanted):
        self.unpruned_line_ = None
        if wanted:
            self.unpruned_line_ = self.ax_.axhline(
                self.unpruned_score,
                color="black",
                linewidth=1,
                linestyle=":",
                label=f"unpruned: {self.unpruned_score:.3f}",
            )

    def _plot_chosen(self, densities, means, chosen):
        self.chosen_point_ = None
        if chosen is not None:
            density, epsilon = densities[chosen], self.epsilons[chosen]
            (self.chosen_point_,) = self.ax_.plot(
                density,
                means[chosen],
                marker="o",
                markersize=10,
                markerfacecolor="none",
                markeredgewidth=2,
                color=self.line_.get_color(),
                linestyle="none",
                label=f"chosen: epsilon {epsilon:.3g}, {density:.1%} kept",
            )

    def _plot_discrepancy(self, wanted, densities, discrepancies):
        self.discrepancy_ax_ = self.discrepancy_line_ = None
        if wanted:
            axis = self.discrepancy_ax_ = self.ax_.twinx()
            (self.discrepancy_line_,) = axis.plot(densities, discrepancies, "--", color="grey")
            axis.set_ylim(bottom=0)
            # The score, and the legend, in front.
            self.ax_.set_zorder(axis.get_zorder() + 1)
            self.ax_.patch.set_visible(False)
            axis.set_ylabel("relative change of the outputs (dashed)", color="grey")
            axis.tick_params(axis="y", colors="grey")


def _search(estimator, X, y):
    """A fitted NetTrimCV."""
    given = X is not None or y is not None
    if isinstance(estimator, NetTrimCV):
        if hasattr(estimator, "scores_") and not given:
            return estimator
        if hasattr(estimator, "scores_"):
            raise ValueError(
                "the NetTrimCV is fitted, and its own scores are plotted: leave X and y out, or "
                "pass sklearn.base.clone(estimator) to have it fitted to them"
            )
        search = clone(estimator)
    else:
        search = NetTrimCV(**_shared_parameters(estimator))
    if X is None or y is None:
        raise ValueError(
            f"from_estimator needs X and y to prune and to score on, unless it is given a fitted "
            f"NetTrimCV; got a {type(estimator).__name__}"
        )
    return search.fit(X, y)


def _shared_parameters(estimator):
    if not isinstance(estimator, NetTrim):
        return {"estimator": estimator}
    names = inspect.signature(NetTrimCV).parameters
    return {k: v for k, v in estimator.get_params(deep=False).items() if k in names}


def _score_name(scoring, estimator):
    if scoring is None:
        return "accuracy" if is_classifier(estimator) else "coefficient of determination R²"
    if callable(scoring):
        return "score"
    return scoring.replace("neg_", "negative ").replace("_", " ")


def _label_densities(ax, densities):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    wide = len(densities) and densities.max() > 200 * densities.min()
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("density: share of the weights that are kept")

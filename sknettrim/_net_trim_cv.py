"""The estimator that chooses epsilon itself, by cross-validation."""

import inspect
import math
import time
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_array, indexable
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, check_is_fitted

from . import _guarantee
from ._net_trim import NetTrim
from ._network import check_prunable
from ._validation import decreasing_epsilons
from ._walk import epsilon_grid, walk


class NetTrimCV(NetTrim):
    """Net-Trim with the epsilon chosen by cross-validation.

    The network is pruned at many values of epsilon in every fold, as by :func:`net_trim_path`,
    on the training part, and scored on the rest. With the epsilon that `selection` picks it is
    then pruned on all of the data, as by :class:`NetTrim`.

    Parameters
    ----------
    estimator : estimator
        What to prune, as in :class:`NetTrim`.

        Fitted: the same network is pruned in every fold; it is never trained again and never
        modified. The folds then rank values of epsilon. They do not estimate how well the
        network generalises: where it was trained on rows of X, all its scores are too high.
        Not fitted: a clone is trained in every fold, and one on all of the data, so the scores
        are those of training and pruning as one procedure.
    epsilons : int or array-like of shape (n_epsilons,), default=20
        The values of epsilon, all layers having the same, or the length of a geometric grid from
        the smallest epsilon that empties the network downwards; see :func:`net_trim_path`. A
        grid is laid by all of the data, and is the same in every fold.
    epsilon_ratio : float, default=1e-2
        The smallest epsilon of a grid over the largest, between 0 and 1.
    selection : {"within", "best", "1se"}, default="within"
        Which epsilon to choose by the scores, averaged over the folds: the one with the sparsest
        networks whose score is

        - "within": at most `max_drop` below the score of the unpruned network;
        - "best": the highest of all;
        - "1se": at most one standard error below the highest.
    max_drop : float, default=0.01
        For ``selection="within"``, in units of the score: a hundredth is one point of accuracy,
        or of the coefficient of determination R^2. At least 0.
    cv : int, cross-validation generator or iterable, default=None
        The folds: None for 5, an int for that many (stratified for a classifier), a splitter, or
        pairs of row numbers to prune on and to score on.
    scoring : str or callable, default=None
        A scorer of scikit-learn, by its name, or ``scorer(estimator, X, y)``. None for the
        ``score`` of the estimator: accuracy or R^2.
    scheme, inactive, epsilon_per, gamma, kappa, n_reweights, refit, penalize_intercept, solver, \
solver_options, tol, max_iter, random_state
        As in :class:`NetTrim`, with the same defaults.
    max_samples : int or float, default=None
        Rows to calibrate on, as in :class:`NetTrim`: of all the data, and of the training part
        of a fold, which is used in full if it has fewer. All rows serve for training, and for
        scoring.
    n_jobs : int, default=None
        Processes: over the folds, then as in :class:`NetTrim`. None means 1 unless in a
        :func:`joblib.parallel_config` context.
    verbose : int, default=0
        From 1 on, a line per fold; from 2 on, what :class:`NetTrim` prints from 1 on.

    Attributes
    ----------
    epsilon_ : float
        The epsilon chosen.
    epsilons_ : ndarray of shape (n_epsilons,)
        All that were tried, in decreasing order.
    scores_ : ndarray of shape (n_epsilons, n_folds)
        Score of the pruned networks on the rows left out.
    unpruned_scores_ : ndarray of shape (n_folds,)
        Score of the unpruned network on these rows.
    densities_ : ndarray of shape (n_epsilons, n_folds)
        Share of the weights that are not zero; intercepts do not count.
    discrepancies_ : ndarray of shape (n_epsilons, n_folds)
        Frobenius norm of the change in the outputs of the network, before the activation of the
        output layer, on the rows it was pruned on; relative to their norm.
    scorer_ : callable
        What scored.
    estimator_, layers_, density_, discrepancy_, discrepancy_bound_, n_iter_, classes_, \
n_features_in_, feature_names_in_
        As in :class:`NetTrim`, from pruning with `epsilon_` on all of the data.

    See Also
    --------
    NetTrim : Prune at one epsilon, or to one density.
    net_trim_path : The networks at all values of epsilon.
    TrimPathDisplay : A picture of the scores.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import NetTrimCV
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier(solver="lbfgs", alpha=1, max_iter=5000, random_state=0).fit(X, y)
    >>> trim = NetTrimCV(mlp, epsilons=[0.1, 0.05, 0.01], max_drop=0.05, cv=3).fit(X, y)
    >>> trim.epsilon_
    0.05
    >>> trim.scores_.shape
    (3, 3)
    >>> bool(trim.scores_[1].mean() >= trim.unpruned_scores_.mean() - 0.05)
    True
    >>> bool(trim.density_ < 0.2)
    True
    """

    _parameter_constraints = {
        **NetTrim._parameter_constraints,
        "epsilons": [Interval(Integral, 2, None, closed="left"), "array-like"],
        "epsilon_ratio": [Interval(Real, 0, 1, closed="neither")],
        "selection": [StrOptions({"within", "best", "1se"})],
        "max_drop": [Interval(Real, 0, None, closed="left")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
    }
    del _parameter_constraints["target_density"]

    def __init__(
        self,
        estimator,
        *,
        epsilons=20,
        epsilon_ratio=1e-2,
        selection="within",
        max_drop=0.01,
        cv=None,
        scoring=None,
        scheme="parallel",
        inactive="strict",
        epsilon_per="layer",
        gamma=1.1,
        kappa=1.0,
        n_reweights=0,
        refit=False,
        penalize_intercept=False,
        solver="admm",
        solver_options=None,
        tol=1e-3,
        max_iter=2000,
        max_samples=None,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.epsilons = epsilons
        self.epsilon_ratio = epsilon_ratio
        self.selection = selection
        self.max_drop = max_drop
        self.cv = cv
        self.scoring = scoring
        self.scheme = scheme
        self.inactive = inactive
        self.epsilon_per = epsilon_per
        self.gamma = gamma
        self.kappa = kappa
        self.n_reweights = n_reweights
        self.refit = refit
        self.penalize_intercept = penalize_intercept
        self.solver = solver
        self.solver_options = solver_options
        self.tol = tol
        self.max_iter = max_iter
        self.max_samples = max_samples
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X, y, *, groups=None):
        """Choose epsilon by cross-validation, and prune with it on all of the data.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Data to prune and to score on, as `estimator` takes it.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets to score against, and to train on if `estimator` is not fitted.
        groups : array-like of shape (n_samples,), default=None
            Which rows belong together, for a `cv` that asks for it.

        Returns
        -------
        self : NetTrimCV
            Fitted. If anything is raised, it is left not fitted.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is not valid, the weights of the network are not finite, or a
            score is not.
        InfeasibleError
            If `kappa` asks for more than the output layer can do at one of the values of
            epsilon, most likely at a large one.

        Warns
        -----
        UserWarning
            If no epsilon keeps the score within `max_drop`. The smallest is chosen then.
        ConvergenceWarning
            If layers were not solved to `tol` within `max_iter` iterations: once for all folds,
            and once per layer of the network chosen.
        """
        self._forget()
        self._validate_params()
        check_prunable(self.estimator)
        epsilons = self.epsilons
        if not isinstance(epsilons, Integral):
            epsilons = decreasing_epsilons(epsilons)
        scorer = check_scoring(self.estimator, self.scoring)
        splits = self._splits(X, y, groups)

        trim = self._net_trim(verbose=max(0, self.verbose - 1))
        original = trim._prepare(X, y)
        if isinstance(epsilons, Integral):
            epsilons = epsilon_grid(trim, original, epsilons, self.epsilon_ratio)
        folds = self._cross_validate(epsilons, scorer, X, y, splits)
        epsilon = float(epsilons[self._choose(epsilons, **folds)])
        self._remember(epsilon, trim._prune(original, [epsilon] * original.network.n_layers))
        vars(self).update(
            epsilons_=epsilons,
            scorer_=scorer,
            **{f"{name}_": values for name, values in folds.items()},
        )
        return self

    def _splits(self, X, y, groups):
        """Row numbers of the training part and of the rest, for each fold."""
        if y is None:
            raise ValueError(
                "NetTrimCV scores against y: it requires y to be passed, but the target y is None"
            )
        check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y")
        _num_samples(X)
        X, y, groups = indexable(X, y, groups)
        splits = list(check_cv(self.cv, y, classifier=is_classifier(self)).split(X, y, groups))
        if self.selection == "1se" and len(splits) < 2:
            raise ValueError(
                f"selection='1se' needs the scores of at least two folds, but cv={self.cv!r} has "
                f"{len(splits)}"
            )
        return splits

    def _net_trim(self, **changes):
        """A NetTrim with the parameters that it shares with this estimator."""
        names = inspect.signature(NetTrim).parameters
        shared = {k: v for k, v in self.get_params(deep=False).items() if k in names}
        return NetTrim(**{**shared, **changes})

    def _cross_validate(self, epsilons, scorer, X, y, splits):
        """What the attributes of the same names, plus an underscore, hold."""
        X, y = indexable(X, y)
        results = Parallel(n_jobs=self.n_jobs)(
            delayed(_walk_fold)(
                self._net_trim(
                    max_samples=self._max_samples(train),
                    n_jobs=None,
                    verbose=max(0, self.verbose - 1),
                ),
                epsilons,
                scorer,
                *(_safe_indexing(data, rows) for rows in (train, test) for data in (X, y)),
                name=f"fold {number} of {len(splits)}" if self.verbose else None,
            )
            for number, (train, test) in enumerate(splits, start=1)
        )
        unpruned_scores, points, missed = zip(*results, strict=True)
        if sum(missed):
            warnings.warn(
                f"{sum(missed)} of the networks pruned in cross-validation hold layers that did "
                "not converge; their scores count as they are. Raise tol, or max_iter.",
                ConvergenceWarning,
                stacklevel=3,  # the caller of fit
            )
        scores, densities, discrepancies = np.array(points).T
        for number, fold in enumerate(np.vstack([unpruned_scores, scores]).T, start=1):
            if not np.isfinite(fold).all():
                raise ValueError(
                    f"fold {number} of {len(splits)}: the score is not finite, so no epsilon can "
                    "be chosen; are there enough rows in it for this scoring?"
                )
        return {
            "scores": scores,
            "unpruned_scores": np.array(unpruned_scores),
            "densities": densities,
            "discrepancies": discrepancies,
        }

    def _max_samples(self, rows):
        """No more than there are."""
        if isinstance(self.max_samples, Integral):
            return min(self.max_samples, len(rows))
        return self.max_samples

    def _choose(self, epsilons, scores, unpruned_scores, densities, **_):
        """The index of the sparsest networks whose score is good enough."""
        means = scores.mean(axis=1)
        if self.selection == "within":
            lowest = unpruned_scores.mean() - self.max_drop
        else:
            lowest = means.max()
        if self.selection == "1se":
            lowest -= scores[means.argmax()].std(ddof=1) / math.sqrt(scores.shape[1])
        # A score of 0.97 is within 0.01 of 0.98, whatever the last digit of the difference.
        good = means >= lowest - 1e-12 * max(1.0, abs(lowest))
        if not good.any():
            warnings.warn(
                f"no epsilon keeps the score within max_drop={self.max_drop:g} of the unpruned "
                f"network's, which is {unpruned_scores.mean():.4g}: the smallest, "
                f"{epsilons[-1]:.3g}, is chosen, with a score of {means[-1]:.4g}. Allow a larger "
                "max_drop, or give smaller epsilons (a smaller epsilon_ratio).",
                UserWarning,
                stacklevel=3,  # the caller of fit
            )
            return len(epsilons) - 1
        return np.where(good, densities.mean(axis=1), np.inf).argmin()

    def score(self, X, y, sample_weight=None):
        """Score of the pruned estimator, by `scoring`.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            Accuracy or R^2 unless `scoring` is given.
        """
        check_is_fitted(self)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.scorer_(self.estimator_, X, y, **weights)

    def __sklearn_tags__(self):
        """Tags of the estimator inside; y is needed, if only to score against."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _walk_fold(trim, epsilons, scorer, X, y, X_left_out, y_left_out, *, name):
    """Prune along epsilon on one part of the rows, and score on the other.

    Returns
    -------
    unpruned_score : float
    points : list of n_epsilons tuples
        Score, density and relative discrepancy of the outputs.
    missed : int
        Number of networks in which not all layers converged.
    """
    begin = time.perf_counter()
    original = trim._prepare(X, y)
    size = _guarantee.output_norms(original.outputs)[-1] or 1.0
    unpruned_score = scorer(original.unpruned(), X_left_out, y_left_out)
    points, missed = [], 0
    # Layers that miss are counted: a warning would stay in the worker process.
    for pruned in walk(trim, original, epsilons, warn=False):
        score = scorer(pruned.estimator, X_left_out, y_left_out)
        points.append((score, pruned.density, pruned.discrepancy[-1] / size))
        missed += not all(layer.converged for layer in pruned.layers)
    if name:
        print(
            f"[NetTrimCV] {name}: score {unpruned_score:.4g} unpruned, at best "
            f"{max(point[0] for point in points):.4g} pruned, {time.perf_counter() - begin:.1f} s",
            flush=True,
        )
    return unpruned_score, points, missed

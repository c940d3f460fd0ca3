"""The estimator: parameters, their checks, and what is learned."""

import inspect
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._network import check_prunable, count_layers, is_fitted, train
from ._prune import Original, emptying_epsilon, prune
from ._pruned_mixin import PrunedMixin
from ._validation import draw_rows, per_layer, warn_unused_epsilon
from ._walk import prune_to_density
from .solvers import SOLVERS


def _estimator_has(method):
    """Whether the pruned estimator, or before fit the given one, has a method."""

    def check(self):
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    return check


class NetTrim(PrunedMixin, MetaEstimatorMixin, BaseEstimator):
    """Prune a trained MLP by Net-Trim: one convex program per layer, with a guarantee.

    Each layer gets the sparsest weights, in the l1 sense, that keep its outputs on the
    calibration data within `epsilon` of the original ones [1]_ [2]_. There is nothing to
    initialise and nothing random in it, so the same network and data give the same answer.

    Parameters
    ----------
    estimator : estimator
        An :class:`~sklearn.neural_network.MLPClassifier` or
        :class:`~sklearn.neural_network.MLPRegressor`, on its own, as the last step of a
        :class:`~sklearn.pipeline.Pipeline`, or inside a
        :class:`~sklearn.frozen.FrozenEstimator`, a
        :class:`~sklearn.compose.TransformedTargetRegressor` or a search such as
        :class:`~sklearn.model_selection.GridSearchCV` (whose best estimator it is then),
        nested in any way.

        Fitted: pruned as it is, never trained again and never modified; `fit` needs no `y`,
        and clones of the NetTrim, such as a grid search makes, prune the same network.
        Not fitted: `fit` trains a clone and prunes that.
    epsilon : float or sequence of n_layers floats, default=0.05
        How far the outputs of a layer may move, relative to their Frobenius norm: the only
        number that trades accuracy for sparsity. In the cascade only the first layer takes it;
        `gamma` rules the others.
    target_density : float, default=None
        Instead of `epsilon`: the share of the weights to keep, in (0, 1], intercepts not
        counted. `fit` looks for the epsilon, the same for all layers, which takes the time of a
        few fits. It keeps the densest network found that is not above this share; it is below by
        at most 3 % of it, except where the density jumps, or where no epsilon above a thousandth
        of the one that empties the network leaves that much. Exactly one of the two may be
        given: `epsilon` has to stay at its default, which is not used then, or be None.
    scheme : {"parallel", "cascade"}, default="parallel"
        "parallel" prunes every layer with the inputs it has in the original network, so the
        layers are independent. "cascade" prunes it with the inputs that the pruned layers before
        it give, so it can repair their errors.
    inactive : {"strict", "budget"}, default="strict"
        What holds for a relu neuron on rows where it was off: "strict", it stays off, as published;
        "budget", it may leak, and its leak is charged to the same epsilon, which is sparser.
    epsilon_per : {"layer", "neuron"}, default="layer"
        One epsilon over the whole layer, which is sparser, or one for each neuron.
    gamma : float or sequence of n_layers floats, default=1.1
        The cascade only, from the second layer on: the squared error a layer may make is `gamma`
        times what the original weights would make on the same inputs. At least 1.
    kappa : float, default=1.0
        The cascade only, output layer: factor in (0, 1] on its radius. Below 1 it has to make
        up for errors before it, and there may be no solution.
    n_reweights : int, default=0
        Rounds in which each layer is solved with a weighted l1 norm, under the same constraints
        [3]_: penalties ``1 / (|U| + delta)``, first with the original weights as U, then with
        those of the round before. Two or three are sparser at the same epsilon.
    refit : bool, default=False
        Whether to minimise the error on the support found instead of the l1 norm, and to remove
        further weights, by exact optimal brain surgeon [4]_, for as long as the constraints still
        hold: sparser, with the same guarantee. Best with ``scheme="cascade"`` and
        ``inactive="budget"``.
    penalize_intercept : bool, default=False
        Whether intercepts count in the l1 norm, as published.
    solver : {"admm", "cvxpy"}, default="admm"
        "admm" for all neurons at once by matrix products; "cvxpy" for a general conic solver,
        slow and precise.
    solver_options : dict, default=None
        Passed on to the solver, as in :func:`trim_layer`.
    tol : float, default=1e-3
        Relative tolerance on the duality gap and on both constraints.
    max_iter : int, default=2000
        Iterations of the solver, per layer.
    max_samples : int or float, default=None
        Rows of X to calibrate on, a number or a share, drawn without replacement; None for all.
        The time grows with them. Several times as many as the widest layer has inputs usually
        suffice; fewer leave the pruned network free between them. At least 2 rows.
    random_state : int, RandomState instance or None, default=None
        Draws those rows.
    n_jobs : int, default=None
        Tasks at a time: layers in the parallel scheme, and blocks of neurons with
        ``epsilon_per="neuron"``. On this machine, one at a time with all cores for each, if that
        is faster, as where one layer has most of the weights. None means 1 unless in a
        :func:`joblib.parallel_config` context, which may also name threads or a cluster to run
        them on instead of processes.
    verbose : int, default=0
        From 1 on, a line per layer; from 2 on, the progress inside long solves.

    Attributes
    ----------
    estimator_ : estimator
        The pruned estimator, with weights that are exactly zero. Plain scikit-learn of the
        structure given, less FrozenEstimator around the MLP and with a search replaced by its
        best estimator: it predicts, pickles and converts without this package. Training it
        further would fill the zeros; `fine_tune` does not.
    epsilon_ : float or ndarray of shape (n_layers,)
        The epsilon that was used: `epsilon`, or what `target_density` came to.
    layers_ : list of LayerResult
        What was found for each layer, with the proof of its optimality.
    density_ : float
        Share of the weights that are not zero; intercepts do not count.
    discrepancy_ : ndarray of shape (n_layers,)
        Frobenius norm of the change in what each layer passes on, hidden layers after and the
        output layer before its activation, measured with the whole pruned network on the
        calibration data (after `fine_tune`, on its data). Absolute.
    discrepancy_bound_ : ndarray of shape (n_layers,)
        What `discrepancy_` could not exceed, by Theorems 1 and 2 of [1]_, without their
        assumption that weights are normalised. Infinite after `fine_tune`.
    n_iter_ : ndarray of shape (n_layers,)
        Iterations of the solver.
    feature_importances_ : ndarray of shape (n_inputs,)
        Share of each input of the network in what its outputs respond to.
    validation_scores_ : ndarray of shape (n_epochs + 1,)
        Only after `fine_tune`: scores on the rows that its last call held out, before the first
        epoch and after each.
    classes_ : ndarray of shape (n_classes,)
        Class labels of a classifier.
    n_features_in_ : int
        Number of features, where the estimator knows it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where the estimator was trained on a data frame.

    See Also
    --------
    compact : The same predictions from fewer neurons.
    net_trim_path : Many values of epsilon in one go.
    trim_layer : One layer of any network, given as arrays.

    References
    ----------
    .. [1] Aghasi, Abdi, Nguyen, Romberg, "Net-Trim: Convex Pruning of Deep Neural Networks with
       Performance Guarantee", NIPS 2017.
    .. [2] Aghasi, Abdi, Romberg, "Fast Convex Pruning of Deep Neural Networks", SIAM Journal on
       Mathematics of Data Science, 2020.
    .. [3] Candes, Wakin, Boyd, "Enhancing Sparsity by Reweighted l1 Minimization", Journal of
       Fourier Analysis and Applications, 2008.
    .. [4] Frantar, Alistarh, "Optimal Brain Compression", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import NetTrim
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier(solver="lbfgs", alpha=1, max_iter=5000, random_state=0).fit(X, y)
    >>> trim = NetTrim(mlp, epsilon=0.02).fit(X)
    >>> bool(trim.density_ < 0.5)
    True
    >>> bool((trim.discrepancy_ <= trim.discrepancy_bound_).all())
    True
    >>> bool((trim.predict(X) == mlp.predict(X)).mean() > 0.95)
    True
    """

    _parameter_constraints = {
        # estimator, epsilon and gamma have checks of their own
        "target_density": [Interval(Real, 0, 1, closed="right"), None],
        "scheme": [StrOptions({"parallel", "cascade"})],
        "inactive": [StrOptions({"strict", "budget"})],
        "epsilon_per": [StrOptions({"layer", "neuron"})],
        "kappa": [Interval(Real, 0, 1, closed="right")],
        "n_reweights": [Interval(Integral, 0, None, closed="left")],
        "refit": ["boolean"],
        "penalize_intercept": ["boolean"],
        "solver": [StrOptions(set(SOLVERS))],
        "solver_options": [dict, None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [
            Interval(Integral, 2, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
            None,
        ],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator,
        *,
        epsilon=0.05,
        target_density=None,
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
        self.epsilon = epsilon
        self.target_density = target_density
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

    def fit(self, X, y=None):
        """Prune the estimator; train a clone of it first if it is not fitted.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Calibration data, as `estimator` takes it: a sample of what it will predict on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets to train on; not used when `estimator` is fitted.

        Returns
        -------
        self : NetTrim
            Fitted. If anything is raised, it is left not fitted.

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not valid, or the weights of the network are not finite.
        InfeasibleError
            If `kappa` asks for more than the output layer can do.

        Warns
        -----
        ConvergenceWarning
            Once per layer that is not solved to `tol` within `max_iter` iterations; with
            `target_density`, at every epsilon that is tried.
        UserWarning
            If no network is close to `target_density`.
        """
        self._forget()
        original = self._prepare(X, y)
        epsilons = self._given_epsilon(original.network.n_layers)
        if epsilons is None:
            epsilon, pruned = prune_to_density(self, original, self.target_density)
        else:
            if self.scheme == "cascade":
                warn_unused_epsilon(epsilons)
            epsilon = epsilons[0] if np.ndim(self.epsilon) == 0 else np.array(epsilons)
            pruned = self._prune(original, epsilons)
        self._remember(epsilon, pruned)
        return self

    def _prepare(self, X, y):
        """Check all parameters, and run the network on the calibration data."""
        self._validate_params()
        check_prunable(self.estimator)
        n_layers = count_layers(self.estimator)
        self._given_epsilon(n_layers)
        self._given_gamma(n_layers)
        rows = draw_rows(X, self.max_samples, self.random_state)
        return Original.of(self._trained(X, y), rows)

    def _given_epsilon(self, n_layers):
        """`epsilon`, one for each layer; None if `target_density` is given. Both are checked."""
        if self.target_density is None:
            return per_layer("epsilon", self.epsilon, n_layers, minimum=0)
        default = inspect.signature(NetTrim).parameters["epsilon"].default
        if self.epsilon is not None and np.any(self.epsilon != default):
            raise ValueError(
                "exactly one of epsilon and target_density may be given, got "
                f"epsilon={self.epsilon!r} and target_density={self.target_density!r}: leave "
                "epsilon out, or set it to None"
            )
        return None

    def _given_gamma(self, n_layers):
        """`gamma`, checked, one for each layer."""
        return per_layer("gamma", self.gamma, n_layers, minimum=1)

    def _trained(self, X, y):
        """The given estimator if it is fitted, else a clone trained on (X, y)."""
        if is_fitted(self.estimator):
            return self.estimator
        if y is None:
            raise ValueError(
                f"{type(self.estimator).__name__} is not fitted: to train it, NetTrim requires y "
                "to be passed, but the target y is None"
            )
        return train(self.estimator, X, y)

    def _prune(self, original, epsilon, **solving):
        """The network pruned with these parameters, but `epsilon`, one for each layer."""
        return prune(
            original,
            epsilon,
            scheme=self.scheme,
            gamma=self._given_gamma(original.network.n_layers),
            kappa=self.kappa,
            program=self._program(),
            n_reweights=self.n_reweights,
            refit=self.refit,
            solver=self.solver,
            solver_options=self.solver_options,
            tol=self.tol,
            max_iter=self.max_iter,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            **solving,
        )

    def _emptying_epsilon(self, original):
        """The smallest epsilon that leaves no weights."""
        return emptying_epsilon(original, scheme=self.scheme, program=self._program())

    def _program(self):
        """What the programs of all layers have in common."""
        return {
            "per_neuron": self.epsilon_per == "neuron",
            "inactive": self.inactive,
            "penalize_intercept": self.penalize_intercept,
        }

    def _forget(self):
        """Drop what an earlier fit learned, so that an interrupted one leaves nothing behind."""
        for name in [name for name in vars(self) if name.endswith("_") and name[0] != "_"]:
            delattr(self, name)

    def _remember(self, epsilon, pruned):
        """Set all that is learned, in one step."""
        learned = {
            name: getattr(pruned.estimator, name)
            for name in ("classes_", "n_features_in_", "feature_names_in_")
            if hasattr(pruned.estimator, name)
        }
        vars(self).update(
            learned,
            epsilon_=epsilon,
            estimator_=pruned.estimator,
            layers_=pruned.layers,
            density_=pruned.density,
            discrepancy_=pruned.discrepancy,
            discrepancy_bound_=pruned.discrepancy_bound,
            n_iter_=np.array([result.n_iter for result in pruned.layers]),
            _summary=pruned.summary,
            _input_spread=pruned.input_spread,
            _original=pruned.original,
        )

    def summary(self):
        """What was pruned, layer by layer, as a table to read.

        Returns
        -------
        table : str
            Per layer: its non-zero weights before and after, their density, epsilon, the
            discrepancy and its bound (absolute, and relative to what the layer passes on), the
            relative duality gap, whether it converged, and the seconds its solve took; then
            the totals.
        """
        check_is_fitted(self)
        return self._summary

    @available_if(_estimator_has("predict"))
    def predict(self, X):
        """Predict with the pruned estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Class probabilities from the pruned estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Logarithms of the class probabilities from the pruned estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_estimator_has("score"))
    def score(self, X, y, sample_weight=None):
        """Accuracy or R^2 of the pruned estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        return self.estimator_.score(X, y, sample_weight=sample_weight)

    def set_params(self, **params):
        """Set parameters of the NetTrim, or of the estimator inside while it is not fitted.

        Parameters
        ----------
        **params : dict
            As ``epsilon=0.1`` or, for an estimator that is not fitted, ``estimator__alpha=0.1``.

        Returns
        -------
        self : NetTrim

        Raises
        ------
        ValueError
            If a parameter of a fitted estimator would change: it is not trained again, so that
            the change would have no effect but to falsify the user's model.
        """
        estimator = params.get("estimator", self.estimator)
        inner = [name for name in params if name.startswith("estimator__")]
        if inner and is_fitted(estimator):
            current = estimator.get_params()
            for name in inner:
                key, value = name.removeprefix("estimator__"), params.pop(name)
                # set_params(**get_params()) changes nothing, and passes.
                if key not in current or value is not current[key]:
                    raise ValueError(
                        f"{name} cannot be set: the estimator given to NetTrim is fitted, and is "
                        "pruned as it is, never trained again. To have it trained with other "
                        "parameters, give NetTrim one that is not fitted, such as "
                        "sklearn.base.clone(estimator)."
                    )
        return super().set_params(**params)

    def __sklearn_clone__(self):
        """Clone, and keep a fitted estimator fitted: the clones share it, frozen."""
        params = self.get_params(deep=False)
        estimator = params.pop("estimator")
        if is_fitted(estimator) and not isinstance(estimator, FrozenEstimator):
            estimator = FrozenEstimator(estimator)
        params = {name: clone(value, safe=False) for name, value in params.items()}
        twin = type(self)(clone(estimator, safe=False), **params)
        if hasattr(self, "_metadata_request"):
            twin._metadata_request = clone(self._metadata_request, safe=False)
        return twin

    def __sklearn_tags__(self):
        """Tags of the estimator inside, which decide on stratification and scorers."""
        tags = super().__sklearn_tags__()
        if isinstance(self.estimator, BaseEstimator):
            inner = deepcopy(get_tags(self.estimator))
            tags.estimator_type = inner.estimator_type
            tags.classifier_tags = inner.classifier_tags
            tags.regressor_tags = inner.regressor_tags
            tags.target_tags = inner.target_tags
            tags.input_tags = inner.input_tags
            tags.target_tags.required = not is_fitted(self.estimator)
        return tags

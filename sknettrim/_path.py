"""Prune a network at many values of epsilon, each solve starting from the one before."""

import inspect
from dataclasses import dataclass, fields
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params

from . import _guarantee
from ._net_trim import NetTrim
from ._validation import decreasing_epsilons
from ._walk import epsilon_grid, walk


@dataclass(frozen=True, eq=False, repr=False)
class TrimPath:
    """A network pruned at many values of epsilon, see :func:`net_trim_path`.

    All arrays run along `epsilons`, and those with a second axis over the layers.

    Attributes
    ----------
    epsilons : ndarray of shape (n_epsilons,)
        In decreasing order, so that densities tend to increase.
    estimators : list of n_epsilons estimators
        The pruned estimators, plain scikit-learn, as ``NetTrim.estimator_``.
    unpruned : estimator
        The estimator before pruning, in the same form: a copy.
    densities : ndarray of shape (n_epsilons,)
        Share of the weights that are not zero; intercepts do not count.
    layer_densities : ndarray of shape (n_epsilons, n_layers)
        The same of each layer.
    discrepancies : ndarray of shape (n_epsilons, n_layers)
        Frobenius norm of the change in what each layer passes on, as ``NetTrim.discrepancy_``.
        Absolute.
    discrepancy_bounds : ndarray of shape (n_epsilons, n_layers)
        What `discrepancies` could not exceed.
    output_norms : ndarray of shape (n_layers,)
        Frobenius norm of what each layer of the original network passes on:
        ``discrepancies / output_norms`` is relative.
    gaps : ndarray of shape (n_epsilons, n_layers)
        Relative duality gaps.
    converged : ndarray of shape (n_epsilons, n_layers), of bool
        Whether the layer was solved to the tolerance.
    n_iters : ndarray of shape (n_epsilons, n_layers)
        Iterations of the solver.
    seconds : ndarray of shape (n_epsilons, n_layers)
        Time that each solve took.
    """

    epsilons: np.ndarray
    estimators: list
    unpruned: object
    densities: np.ndarray
    layer_densities: np.ndarray
    discrepancies: np.ndarray
    discrepancy_bounds: np.ndarray
    output_norms: np.ndarray
    gaps: np.ndarray
    converged: np.ndarray
    n_iters: np.ndarray
    seconds: np.ndarray

    def __repr__(self):
        """The two ranges; the fields are too long to print."""
        e, d = self.epsilons, self.densities
        return (
            f"{type(self).__name__}({len(e)} epsilons from {e[0]:.3g} to {e[-1]:.3g}, "
            f"densities from {d[0]:.3g} to {d[-1]:.3g}; {', '.join(f.name for f in fields(self))})"
        )

    def summary(self):
        """The path as a table to read, one line for each epsilon.

        Returns
        -------
        table : str
            The density, the discrepancy of the output layer and its bound (absolute, and
            relative to the outputs), the largest relative duality gap of the layers, whether
            all of them converged, and the seconds the solves took; then the totals.
        """
        head = (
            "epsilon",
            "density",
            "output discrepancy (rel.)",
            "bound (rel.)",
            "largest gap",
            "converged",
            "seconds",
        )
        lines = [
            (
                f"{self.epsilons[i]:.3g}",
                f"{self.densities[i]:.1%}",
                _guarantee.with_relative(self.discrepancies[i, -1], self.output_norms[-1]),
                _guarantee.with_relative(self.discrepancy_bounds[i, -1], self.output_norms[-1]),
                f"{self.gaps[i].max():.1e}",
                "yes" if self.converged[i].all() else "NO",
                f"{self.seconds[i].sum():.2f}",
            )
            for i in range(len(self.epsilons))
        ]
        converged, seconds = self.converged.all(), self.seconds.sum()
        total = ("total", *[""] * 4, "yes" if converged else "NO", f"{seconds:.2f}")
        return _guarantee.table([head, *lines, total])


@validate_params(
    {
        "epsilons": [Interval(Integral, 2, None, closed="left"), "array-like"],
        "epsilon_ratio": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=False,  # NetTrim checks the options
)
def net_trim_path(estimator, X, y=None, *, epsilons=20, epsilon_ratio=1e-2, **options):
    """Prune a network at many values of epsilon in one go.

    At each epsilon the network is the one that ``NetTrim(estimator, epsilon=...).fit(X)`` finds,
    to the tolerance of the solver, with the same guarantee [1]_. It takes less time than as many
    fits, because the data pass through the network once, and each solve starts from the weights
    and the dual point that the layer had at the epsilon before, the next larger one.

    Parameters
    ----------
    estimator : estimator
        What to prune, as in :class:`NetTrim`. It is not modified. If it is not fitted, a clone
        of it is trained once.
    X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
        Calibration data, as in :meth:`NetTrim.fit`.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Targets to train on; not used when `estimator` is fitted.
    epsilons : int or array-like of shape (n_epsilons,), default=20
        The values of epsilon, all layers having the same, in any order. An int, at least 2, is
        the length of a geometric grid, which starts at the smallest epsilon that leaves no
        weight in the network, and ends at `epsilon_ratio` times that. In the cascade only the
        first layer takes epsilon: there the grid starts where that layer has no weight left.
        Later layers, whose inputs are then constant, have none either, unless intercepts are
        penalised, which can make a constant input the cheaper intercept.
    epsilon_ratio : float, default=1e-2
        The smallest epsilon of a grid over the largest, between 0 and 1. Where a grid ends by
        default, many weights are gone already, but hardly any accuracy.
    **options
        The other parameters of :class:`NetTrim`, under the same names, with the same defaults:
        `scheme`, `inactive`, `epsilon_per`, `gamma`, `kappa`, `n_reweights`, `refit`,
        `penalize_intercept`, `solver`, `solver_options`, `tol`, `max_iter`, `max_samples`,
        `random_state`, `n_jobs` and `verbose`. All values of epsilon use the same rows of X, also
        with `max_samples`.

    Returns
    -------
    path : TrimPath
        Pruned estimators, densities, discrepancies and the proofs, in decreasing order of
        epsilon.

    Raises
    ------
    ValueError, TypeError
        If a parameter or X is not valid, or the weights of the network are not finite.
    InfeasibleError
        If `kappa` asks for more than the output layer can do at one of the values of epsilon,
        most likely at a large one, as a grid has: then give smaller ones.

    Warns
    -----
    ConvergenceWarning
        Once per layer and epsilon that is not solved to `tol` within `max_iter` iterations.

    See Also
    --------
    NetTrim : One value of epsilon, or one for each layer.

    References
    ----------
    .. [1] Aghasi, Abdi, Nguyen, Romberg, "Net-Trim: Convex Pruning of Deep Neural Networks with
       Performance Guarantee", NIPS 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import net_trim_path
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier(solver="lbfgs", alpha=1, max_iter=5000, random_state=0).fit(X, y)
    >>> path = net_trim_path(mlp, X, epsilons=5)
    >>> path.densities.shape, path.discrepancies.shape
    ((5,), (5, 2))
    >>> float(path.densities[0])  # the largest epsilon leaves nothing
    0.0
    >>> scores = [estimator.score(X, y) for estimator in path.estimators]
    >>> scores[0] < 0.5 < 0.9 < scores[-1]
    True
    """
    trim = NetTrim(estimator, **_checked_names(options))
    if not isinstance(epsilons, Integral):
        epsilons = decreasing_epsilons(epsilons)
    original = trim._prepare(X, y)
    if isinstance(epsilons, Integral):
        epsilons = epsilon_grid(trim, original, epsilons, epsilon_ratio)
    return _collect(original, epsilons, list(walk(trim, original, epsilons)))


# The parameters of NetTrim that are parameters of the path.
_OPTIONS = {
    name: parameter
    for name, parameter in inspect.signature(NetTrim).parameters.items()
    if name not in ("estimator", "epsilon", "target_density")
}


def _full_signature(function):
    """The signature of `function` with the options spelled out: what help and editors show."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    return signature.replace(parameters=[*own, *_OPTIONS.values()])


net_trim_path.__signature__ = _full_signature(net_trim_path)


def _checked_names(options):
    for name in options:
        if name in ("epsilon", "target_density"):
            raise TypeError(f"net_trim_path takes epsilons, such as epsilons=[0.1], not {name}")
        if name not in _OPTIONS:
            raise TypeError(
                f"net_trim_path() got an unexpected keyword argument {name!r}: besides its own "
                f"parameters it takes those of NetTrim, {', '.join(_OPTIONS)}"
            )
    return options


def _collect(original, epsilons, points):
    """The points of a path as arrays over epsilons and layers."""

    def over_layers(value):
        return np.array([[value(layer) for layer in point.layers] for point in points])

    return TrimPath(
        epsilons=epsilons,
        estimators=[point.estimator for point in points],
        unpruned=original.unpruned(),
        densities=np.array([point.density for point in points]),
        layer_densities=over_layers(lambda layer: np.count_nonzero(layer.coef) / layer.coef.size),
        discrepancies=np.array([point.discrepancy for point in points]),
        discrepancy_bounds=np.array([point.discrepancy_bound for point in points]),
        output_norms=_guarantee.output_norms(original.outputs),
        gaps=over_layers(lambda layer: layer.gap),
        converged=over_layers(lambda layer: layer.converged),
        n_iters=over_layers(lambda layer: layer.n_iter),
        seconds=over_layers(lambda layer: layer.seconds),
    )

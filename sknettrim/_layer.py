"""Prune one layer, given as arrays: the door for any framework."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ._columns import norm
from ._problem import LayerProblem
from ._solve import LayerResult, as_start, warn_unless_converged
from ._threads import own_threads
from ._trim import trim
from ._validation import in_order
from .solvers import SOLVERS


@validate_params(
    {
        "A": ["array-like", "sparse matrix"],
        "Y": ["array-like"],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "activation": [StrOptions({"relu", "identity", "tanh", "logistic"})],
        "inactive": [StrOptions({"strict", "budget"})],
        "epsilon_per": [StrOptions({"layer", "neuron"})],
        "n_reweights": [Interval(Integral, 0, None, closed="left")],
        "refit": ["boolean"],
        "upper": ["array-like", None],
        "penalty_weights": ["array-like", None],
        "penalize_intercept": ["boolean"],
        "original_coef": ["array-like", None],
        "solver": [StrOptions(set(SOLVERS))],
        "solver_options": [dict, None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": [LayerResult, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def trim_layer(
    A,
    Y,
    *,
    epsilon,
    activation="relu",
    inactive="strict",
    epsilon_per="layer",
    n_reweights=0,
    refit=False,
    upper=None,
    penalty_weights=None,
    penalize_intercept=False,
    original_coef=None,
    solver="admm",
    solver_options=None,
    tol=1e-3,
    max_iter=2000,
    warm_start=None,
    verbose=0,
):
    """Find the sparsest weights of one dense layer that keep its responses.

    Minimises the l1 norm of the weights U under constraints on the responses
    ``S = A U + 1 c'`` [1]_. For a relu layer, with Omega where ``Y > 0``:

    - ``inactive="strict"``, as published: ``||(S - Y)_Omega||_F <= epsilon ||Y||_F``, and
      ``S <= upper`` elsewhere, so that a neuron that was off stays off;
    - ``inactive="budget"``: what exceeds `upper` elsewhere is charged to the same epsilon.

    Either implies ``||relu(S) - Y||_F <= epsilon ||Y||_F`` when `upper` is 0. For other
    activations, ``||S - Y||_F <= epsilon ||Y||_F`` with Y the responses before the activation.

    Parameters
    ----------
    A : {array-like, sparse matrix} of shape (n_samples, n_inputs)
        Inputs of the layer.
    Y : array-like of shape (n_samples, n_neurons)
        Outputs of a relu layer; of any other layer the responses before the activation.
    epsilon : float
        Radius relative to the Frobenius norm of `Y`. One below the square root of the machine
        epsilon of the data type is taken as that.
    activation : {"relu", "identity", "tanh", "logistic"}, default="relu"
        Activation of the layer.
    inactive : {"strict", "budget"}, default="strict"
        What holds where a relu neuron was off, see above.
    epsilon_per : {"layer", "neuron"}, default="layer"
        One ball for the layer, or for each neuron one relative to the norm of its own column.
    n_reweights : int, default=0
        Rounds in which the program is solved again under the same constraints, with an l1 norm
        that is weighted by ``1 / (|U| + delta)``, U the weights of the round before [2]_ and
        delta a tenth of the mean magnitude of those that are not zero. The first round takes
        `original_coef`, or without it the solution of the plain program, solved before.
    refit : bool, default=False
        Whether to minimise the error on the support found instead of the l1 norm, and to remove
        further weights, by exact optimal brain surgeon [3]_, for as long as the constraints still
        hold. Sparser, and as close to the targets as epsilon asks for.
    upper : array-like of shape (n_samples, n_neurons), default=None
        Upper bound on the responses where a relu neuron was off; 0 by default.
    penalty_weights : array-like of shape (n_inputs, n_neurons), default=None
        Positive weights of the l1 norm; 1 by default.
    penalize_intercept : bool, default=False
        Whether intercepts count in the l1 norm, as published.
    original_coef : array-like of shape (n_inputs, n_neurons), default=None
        The weights before pruning: with `refit` those that are left are pulled towards them a
        little, so that they do not overfit few rows. Without, towards the solution of the program.
    solver : {"admm", "cvxpy"}, default="admm"
        "admm" solves all neurons at once by matrix products; "cvxpy" hands the program to a
        conic solver.
    solver_options : dict, default=None
        For "cvxpy": arguments of ``cvxpy.Problem.solve``, such as ``{"solver": "SCS"}``;
        Clarabel is the default; `max_iter` and `verbose` are parameters of their own. "admm"
        has none.
    tol : float, default=1e-3
        Relative tolerance on gap, residual, violation and price.
    max_iter : int, default=2000
        Most iterations.
    warm_start : LayerResult, default=None
        Where to begin, for instance the result at another epsilon. A result has no dual point, so
        that little time is saved, if any; :func:`net_trim_path` passes dual points on.
    verbose : int, default=0
        Above 1, progress is printed.

    Returns
    -------
    result : LayerResult
        Weights in float32 if both `A` and `Y` are, else in float64.

    Raises
    ------
    ValueError
        If an argument is not valid.

    Warns
    -----
    ConvergenceWarning
        If the result is not within `tol`. The message says so if no weights of any sensible size
        satisfy the constraints, as with a `Y` that is far from what any weights give on `A`.

    References
    ----------
    .. [1] Aghasi, Abdi, Nguyen, Romberg, "Net-Trim: Convex Pruning of Deep Neural Networks with
       Performance Guarantee", NIPS 2017, equation (4).
    .. [2] Candes, Wakin, Boyd, "Enhancing Sparsity by Reweighted l1 Minimization", Journal of
       Fourier Analysis and Applications, 2008.
    .. [3] Frantar, Alistarh, "Optimal Brain Compression", NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sknettrim import trim_layer
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((200, 30))
    >>> W = np.where(rng.random((30, 5)) < 0.2, 1.0, 0.0)  # few weights matter ...
    >>> noise = 0.01 * rng.standard_normal((30, 5))  # ... but none is zero
    >>> Y = np.maximum(A @ (W + noise), 0)
    >>> result = trim_layer(A, Y, epsilon=0.05)
    >>> result.converged
    True
    >>> bool(np.count_nonzero(result.coef) < 50)  # of 150
    True
    >>> outputs = np.maximum(A @ result.coef + result.intercept, 0)
    >>> bool(np.linalg.norm(outputs - Y) <= 1.001 * result.epsilon)
    True
    >>> sparser = trim_layer(A, Y, epsilon=0.05, inactive="budget", refit=True)
    >>> bool(np.count_nonzero(sparser.coef) < np.count_nonzero(result.coef))
    True
    """
    with own_threads():
        A, Y = _check_layer(A, Y, activation)
        per_neuron = epsilon_per == "neuron"
        radius = epsilon * norm(Y, per_neuron)
        problem = LayerProblem(
            A,
            Y,
            radius,
            matched=activation != "relu",
            inactive=inactive,
            upper=_check_like("upper", upper, Y.shape),
            penalty_weights=_check_like(
                "penalty_weights", penalty_weights, (A.shape[1], Y.shape[1]), positive=True
            ),
            penalize_intercept=penalize_intercept,
            original=_check_like("original_coef", original_coef, (A.shape[1], Y.shape[1])),
        )
        _check_warm_start(warm_start, problem.shape)
    result = trim(
        problem,
        n_reweights=n_reweights,
        refit=refit,
        solver=solver,
        solver_options=solver_options,
        tol=tol,
        max_iter=max_iter,
        start=None if warm_start is None else as_start(problem, warm_start),
        verbose=verbose,
    )
    warn_unless_converged(problem, result)
    return result


def _check_layer(A, Y, activation):
    A = check_array(A, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="A")
    A = in_order(A)
    Y = check_array(Y, dtype=[np.float64, np.float32], input_name="Y")
    check_consistent_length(A, Y)
    if activation == "relu" and np.any(Y < 0):
        raise ValueError(
            "Y has negative values, which no relu layer puts out: give Y = relu(responses), or "
            "activation='identity' to match the responses themselves"
        )
    dtype = np.result_type(A.dtype, Y.dtype)
    return A.astype(dtype, copy=False), Y.astype(dtype, copy=False)


def _check_warm_start(result, shape):
    if result is None:
        return
    if result.coef.shape != shape:
        raise ValueError(
            f"warm_start is for a layer of shape {result.coef.shape}, this one has shape {shape}"
        )
    if not (np.all(np.isfinite(result.coef)) and np.all(np.isfinite(result.intercept))):
        raise ValueError("warm_start has weights or intercepts that are not finite: leave it out")


def _check_like(name, values, shape, *, positive=False):
    if values is None:
        return None
    values = check_array(values, dtype=np.float64, input_name=name)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    if positive and np.any(values <= 0):
        raise ValueError(f"{name} must be positive, got a smallest value of {values.min()}")
    return values

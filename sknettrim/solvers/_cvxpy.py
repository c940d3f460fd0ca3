"""The reference solver: the layer program handed to a conic solver, through cvxpy."""

import warnings

import numpy as np
from sklearn.utils.extmath import safe_sparse_dot

from .._columns import column_norms
from ._base import Solution

# Solvers of cvxpy do not agree on a name for their limit on iterations.
ITERATION_LIMIT = {"CLARABEL": "max_iter", "SCS": "max_iters", "ECOS": "max_iters"}


def solve(problem, *, tol, max_iter, start=None, verbose=0, **options):
    """Solve a :class:`~sknettrim._problem.LayerProblem` with any installed conic solver.

    Neurons that have their own balls are solved one after the other. `tol` and `start` are not
    used: conic solvers have tolerances of their own, which `options` can set.

    Parameters
    ----------
    problem : LayerProblem
        What to solve.
    tol, start
        Accepted as by every solver.
    max_iter : int
        Most iterations, for the solvers whose option of that meaning is known.
    verbose : int, default=0
        Above 1, the conic solver prints.
    **options
        Passed to ``cvxpy.Problem.solve``: ``solver="CLARABEL"`` by default, and whatever that
        solver takes.

    Returns
    -------
    Solution
        With ``n_iter`` the iterations of the conic solver, added up.

    Raises
    ------
    ValueError
        If the conic solver is not installed, or finds no solution.
    """
    options = {"solver": "CLARABEL", "verbose": verbose > 1, **options}
    limit = ITERATION_LIMIT.get(str(options["solver"]).upper())
    if limit is not None:
        options.setdefault(limit, max_iter)
    m = problem.shape[1]
    parts = [[j] for j in range(m)] if problem.per_neuron else [slice(None)]
    solutions = [_solve_jointly(problem.columns(part), options) for part in parts]
    return Solution(
        np.hstack([s.U for s in solutions]),
        np.hstack([s.c for s in solutions]),
        np.hstack([s.Xi for s in solutions]),
        sum(s.n_iter for s in solutions),
    )


def _solve_jointly(problem, options):
    import cvxpy as cp

    p, m = problem.shape
    # Conic solvers work best on data of order one; the program scales with its targets.
    scale = np.sqrt(np.mean(problem.target**2)) or 1.0
    target = problem.target / scale
    U, c = cp.Variable((p, m)), cp.Variable(m)
    S = cp.Variable(target.shape)
    responses = problem.A @ U + np.ones((len(target), 1)) @ cp.reshape(c, (1, m), order="C")
    # The multiplier of this definition is the dual point Xi.
    definition = responses - S == 0
    deviation = cp.vec(S - target, order="C")
    on, off = np.flatnonzero(problem.active), np.flatnonzero(~problem.active)
    constraints, charged = [definition], [deviation[on]]
    if len(off):
        leak = 0 if problem.strict else cp.Variable(len(off), nonneg=True)
        constraints.append(deviation[off] <= leak)
        if not problem.strict:
            charged.append(leak)
    radius = float(np.max(problem.epsilon)) / scale
    constraints.append(cp.norm(cp.hstack(charged)) <= radius)
    objective = cp.sum(cp.multiply(problem.penalty, cp.abs(U)))
    if problem.penalize_intercept:
        objective += cp.norm1(c)
    program = cp.Problem(cp.Minimize(objective), constraints)
    try:
        with warnings.catch_warnings():
            # The certificate of the layer says it in numbers.
            warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
            program.solve(**options)
    except cp.SolverError as error:
        raise ValueError(
            f"solver='cvxpy' failed with solver_options={options}: {error} "
            f"Installed conic solvers: {', '.join(cp.installed_solvers())}."
        ) from error
    if U.value is None:
        raise ValueError(
            f"solver='cvxpy' found no solution with solver_options={options}: the conic solver "
            f"says '{program.status}'. A larger epsilon may help."
        )
    n_iter = program.solver_stats.num_iters or 0
    weights, Xi = U.value * scale, definition.dual_value
    return Solution(_exact_zeros(problem, weights, Xi), c.value * scale, Xi, n_iter)


def _exact_zeros(problem, U, Xi):
    """Set to zero the weights that an interior point method leaves near it.

    On the central path the product of a weight and its dual slack is constant: where the slack
    is the larger of the two, each on its own scale, the weight is on its way to zero. It also
    has to be too small for the constraints to notice.
    """
    slack = 1 - np.abs(safe_sparse_dot(problem.A.T, Xi)) / problem.penalty
    effect = np.abs(U) * column_norms(problem.A)[:, None]
    share = effect / np.max(effect, initial=np.finfo(float).tiny)
    return np.where((share < slack) & (effect < 1e-5 * np.max(problem.epsilon)), 0.0, U)

"""The program of a layer handed to Clarabel through cvxpy, in its textbook form."""

import warnings

import numpy as np


def solve(program, *, rescale=False, **options):
    """Optimum and dual point of a :class:`~benchmarks.solver.program.Program`.

    Inputs that are always zero are left out.

    Parameters
    ----------
    program : Program
        Best small, or of one neuron.
    rescale : bool, default=False
        Bring inputs and targets to order one first. That changes neither optimum nor dual point:
        more digits where scales are bad, but slower on pixels.
    **options
        Of Clarabel.

    Returns
    -------
    optimum : float
    Xi : ndarray of shape (n_samples, n_neurons)
        The multipliers of the responses.
    """
    import cvxpy as cp

    A = program.A[:, program.A.any(axis=0)]
    norms = np.sqrt(np.mean(A**2, axis=0)) if rescale else np.ones(A.shape[1])
    scale = np.sqrt(np.mean(program.target**2)) if rescale else 1.0
    A = A / norms
    U, c = cp.Variable((A.shape[1], program.target.shape[1])), cp.Variable(program.target.shape[1])
    errors, leaks, below = [], [], []
    for j, (on, y) in enumerate(zip(program.active.T, program.target.T / scale, strict=True)):
        errors.append(A[on] @ U[:, j] + c[j] - y[on])
        if not on.all():
            leak = cp.Variable((~on).sum()) if program.setting == "budget" else 0.0
            leaks += [leak] if program.setting == "budget" else []
            below.append(A[~on] @ U[:, j] + c[j] <= leak)
    ball = cp.SOC(cp.Constant(program.radius / scale), cp.hstack(errors + leaks))
    problem = cp.Problem(cp.Minimize(cp.sum((1 / norms) @ cp.abs(U))), [ball, *below])
    with warnings.catch_warnings():
        # How accurate it is, the bound from its dual point says.
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        problem.solve(solver="CLARABEL", **options)

    # Row j of the transpose belongs to neuron j, as the constraints do.
    Xi, active = np.zeros(program.target.T.shape), program.active.T
    Xi[active] = -ball.dual_value[1].ravel()[: active.sum()]
    Xi[~active] = np.concatenate([np.zeros(0), *(part.dual_value for part in below)])
    return problem.value * scale, Xi.T

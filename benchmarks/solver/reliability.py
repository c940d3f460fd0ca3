"""How often a tight tolerance is reached, and whether "converged" is ever wrong."""

import numpy as np

from .._data import KINDS, made_layer
from .program import SETTINGS, Program

EPSILONS = (0.02, 0.1, 0.3)
VERDICTS = ("confirmed", "warned", "undecided", "false")


def reliability(count, *, tol=1e-6, largest=(400, 60, 8)):
    """Solve random layers of every kind, good and bad, and check every answer by a conic solver.

    Clarabel's dual point gives a lower bound on the optimum that owes nothing to this package.
    What is claimed to be converged is "confirmed" if the gap to that bound is within `tol` as well,
    "false" if it is not or a constraint is broken, and "undecided" where the bound itself is too
    far from Clarabel's optimum to tell.

    Parameters
    ----------
    count : int
        How many layers.
    tol : float, default=1e-6
        Asked of the solver.
    largest : tuple of int, default=(400, 60, 8)
        Largest n, p and m; a quarter of the layers have fewer rows than inputs.

    Returns
    -------
    dict
        Counts for each kind, and the layers that were not confirmed.
    """
    rng = np.random.default_rng(0)
    kinds = list(KINDS)
    counts = {kind: dict.fromkeys(("layers", *VERDICTS), 0) for kind in kinds}
    exceptions = []
    for seed in range(count):
        kind = kinds[seed % len(kinds)]
        n, p, m = (
            int(rng.integers(low, high + 1)) for low, high in zip((50, 5, 1), largest, strict=True)
        )
        if rng.random() < 0.25:
            n, p = p, n
        A, Z = made_layer(kind, n, p, m, random_state=seed)
        program = Program(A, Z, float(rng.choice(EPSILONS)), str(rng.choice(SETTINGS)))
        result = program.trim(tol=tol)
        verdict, errors = judge(program, result, tol)
        counts[kind]["layers"] += 1
        counts[kind][verdict] += 1
        if verdict != "confirmed":
            layer = {"kind": kind, "n": n, "p": p, "m": m, "seed": seed, "verdict": verdict}
            exceptions.append(
                layer | {"epsilon": program.epsilon, "setting": program.setting} | errors
            )
    return {"tol": tol, "counts": counts, "exceptions": exceptions}


def judge(program, result, tol):
    """(verdict, errors) of one result."""
    optimum, Xi = program.conic()
    measured = program.measure(result.coef, result.intercept)
    scale = measured["objective"] or optimum
    gap, doubt = (float(v - program.bound(Xi)) / scale for v in (measured["objective"], optimum))
    errors = {"gap": gap, "excess": measured["excess"], "violation": measured["violation"]}
    if not result.converged:
        verdict = "warned"
    elif max(abs(gap), errors["excess"], errors["violation"]) <= tol:
        verdict = "confirmed"
    elif max(errors["excess"], errors["violation"]) <= tol and -tol <= gap <= tol + doubt:
        verdict = "undecided"
    else:
        verdict = "false"
    return verdict, errors | {"gap_of_conic_solver": doubt}

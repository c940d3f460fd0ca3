"""How often a tolerance is reached, and whether "converged" is ever wrong."""

import numpy as np

from .._data import KINDS, made_layer
from . import conic
from .program import SETTINGS, Program

EPSILONS = (0.02, 0.1, 0.3)
TOLERANCES = (1e-3, 1e-6)
# Rows, inputs and neurons of the layers; a quarter of them have rows and inputs exchanged.
SMALLEST, LARGEST = (50, 5, 1), (400, 60, 8)
ACCURATE = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
VERDICTS = ("confirmed", "undecided", "false", "warned")


def reliability(count):
    """Solve random layers of every kind, good and bad, and check every answer.

    Parameters
    ----------
    count : int
        How many layers.

    Returns
    -------
    dict
        Under "counts" how many layers of each kind got which verdict (see :func:`judge`) at each
        tolerance, and under "exceptions" those that were not confirmed.
    """
    rng = np.random.default_rng(0)
    kinds = list(KINDS)
    counts = {
        (tol, kind): {"tol": tol, "kind": kind, "layers": 0, **dict.fromkeys(VERDICTS, 0)}
        for tol in TOLERANCES
        for kind in kinds
    }
    exceptions = []
    for seed in range(count):
        kind = kinds[seed % len(kinds)]
        program = _random_program(kind, rng, seed)
        optimum, Xi = conic.solve(program, rescale=True, **ACCURATE)
        bound = program.bound(Xi)
        for tol in TOLERANCES:
            verdict, errors = judge(program, program.trim(tol=tol), optimum, bound, tol)
            counts[tol, kind]["layers"] += 1
            counts[tol, kind][verdict] += 1
            if verdict != "confirmed":
                n, p = program.A.shape
                layer = {"kind": kind, "seed": seed, "n": n, "p": p, "m": program.Z.shape[1]}
                layer |= {"epsilon": program.epsilon, "setting": program.setting}
                exceptions.append(layer | {"tol": tol, "verdict": verdict} | errors)
    return {"counts": list(counts.values()), "exceptions": exceptions}


def _random_program(kind, rng, seed):
    n, p, m = rng.integers(SMALLEST, LARGEST, endpoint=True).tolist()
    if rng.random() < 0.25:
        n, p = p, n
    layer = made_layer(kind, n, p, m, random_state=seed)
    return Program(*layer, float(rng.choice(EPSILONS)), str(rng.choice(SETTINGS)))


def judge(program, result, optimum, bound, tol):
    """What a result is worth, by the optimum and the lower bound of a conic solver.

    The bound is a proof that owes nothing to this package. A result that claims to have converged
    is "confirmed" if its gap to the bound and what it exceeds the constraints by are within `tol`
    as well, "undecided" if that fails only as far as the bound misses the conic optimum, and else
    "false". One that claims nothing is "warned".

    Returns
    -------
    verdict : str
    errors : dict of str to float
    """
    measured = program.measure(result.coef, result.intercept)
    scale = measured["objective"] or optimum
    gap, doubt = (measured["objective"] - bound) / scale, (optimum - bound) / scale
    broken = max(measured["excess"], measured["violation"])
    if not result.converged:
        verdict = "warned"
    elif max(abs(gap), broken) <= tol:
        verdict = "confirmed"
    elif broken <= tol and -tol <= gap <= tol + doubt:
        verdict = "undecided"
    else:
        verdict = "false"
    errors = {"gap": gap, "gap_of_conic_solver": doubt}
    return verdict, errors | {name: measured[name] for name in ("excess", "violation")}

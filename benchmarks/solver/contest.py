"""One layer, all solvers: time, passes, memory, and what the returned weights are worth."""

import numpy as np

from .._measure import Pass, interleave, peak_memory, timed
from . import authors_admm, conic
from .program import SETTINGS, Program

# The memory of the authors' ADMM is taken in its first iterations, it never changes.
FEW = 3


def contest(name, A, Z, epsilon, *, rounds, neurons):
    """All solvers on one layer at one epsilon, in turn.

    Parameters
    ----------
    name : str
        Of the data.
    A, Z : ndarray
        Inputs and responses of the layer.
    epsilon : float
        Relative.
    rounds : int
        Runs of each solver, of which the median counts.
    neurons : int
        How many the conic solver gets.

    Returns
    -------
    dict
        Shape, seconds of a pass, and under "solves" a dict for each solver.
    """
    programs = {setting: Program(A, Z, epsilon, setting) for setting in SETTINGS}
    unit = Pass(A, Z.shape[1])
    authors = {setting: BestRho(programs[setting]) for setting in ("strict", "matched")}
    contestants = {("sknettrim", s): _timed_trim(program) for s, program in programs.items()}
    contestants |= {("authors", setting): run for setting, run in authors.items()}
    times, outcomes = interleave(contestants, rounds=rounds, before=unit.tick)

    solves = []
    for (solver, setting), seconds in times.items():
        program, outcome = programs[setting], outcomes[solver, setting]
        ours = outcomes["sknettrim", setting]
        measured = program.measure(outcome.coef, outcome.intercept)
        objective = measured["objective"]
        solve = {
            "solver": solver,
            "setting": setting,
            "seconds": float(np.median(seconds)),
            "times": seconds,
            "n_iter": outcome.n_iter,
            **measured,
            "gap": (objective - ours.dual_objective) / (objective or 1.0),
        }
        if solver == "sknettrim":
            solve["converged"] = outcome.converged
            solve["memory"] = peak_memory(program.trim)
        else:
            solve["rho"] = authors[setting].rho
            solve["converged"] = outcome.stopped
            solve["memory"] = peak_memory(lambda run=authors[setting]: run.few_iterations(FEW))
        solves.append(solve)
    for setting, program in programs.items():
        ours = outcomes["sknettrim", setting]
        solves.append(conic_sample(program, ours, neurons, unit.tick))
    for solve in solves:
        solve["passes"] = solve["seconds"] / unit.seconds
    n, p = A.shape
    return {
        "data": name,
        "n": n,
        "p": p,
        "m": Z.shape[1],
        "epsilon": epsilon,
        "pass_seconds": unit.seconds,
        "solves": solves,
    }


def _timed_trim(program):
    return lambda: timed(program.trim)


class BestRho:
    """The authors' ADMM with the better of their two rhos: the first call runs both."""

    def __init__(self, program):
        self._program = program
        self._arguments = {"matched": program.setting == "matched", "penalize_intercept": False}
        self.rho = None

    def __call__(self):
        """(seconds, solution) of the faster; the slower is given up once that is clear."""
        if self.rho is not None:
            return self._run(self.rho)
        best = (np.inf, None)
        for rho in authors_admm.RHOS:
            seconds, solution = self._run(rho, seconds=best[0])
            if seconds < best[0]:
                self.rho, best = rho, (seconds, solution)
        return best

    def few_iterations(self, number):
        """The same, cut short."""
        return self._run(self.rho, max_iter=number)

    def _run(self, rho, **limits):
        program = self._program
        return timed(
            lambda: authors_admm.solve(
                program.A, program.target, program.radius, rho=rho, **self._arguments, **limits
            )
        )


def conic_sample(program, ours, neurons, before):
    """Clarabel on some neurons, each with the share of epsilon that it has in our solution.

    A part of an optimum is optimal for its share: the sample also says, on its own authority,
    how far our weights are from it.
    """
    shares = np.linalg.norm(program.charged(program.deviation(ours.coef, ours.intercept)), axis=0)
    # A neuron whose weights all went has no l1 norm to compare.
    kept = np.flatnonzero(ours.coef.any(axis=0))
    rng = np.random.default_rng(0)
    sample = rng.choice(kept, min(neurons, len(kept)), replace=False)
    times, optima = [], []
    for j in sample:
        before()
        part = program.neuron(j, shares[j])
        seconds, (optimum, _) = timed(lambda part=part: conic.solve(part))
        times.append(seconds)
        optima.append(optimum)
    return {
        "solver": "cvxpy",
        "setting": program.setting,
        "seconds": float(np.mean(times) * np.count_nonzero(program.active.any(axis=0))),
        "times": times,
        "neurons": len(sample),
        "objective_of_sample": float(np.sum(optima)),
        "ours_above_sample": float(np.abs(ours.coef[:, sample]).sum() / np.sum(optima) - 1),
    }

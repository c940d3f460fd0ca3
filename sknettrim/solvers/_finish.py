"""The end of a layer, on the few inputs and rows of each neuron that matter.

Where a neuron was off, few rows hold it back, and few inputs have weights: ADMM knows most
of them after some dozens of iterations, and takes hundreds for the last ones and for their
multipliers. An interior-point method solves the program that is left in a few steps; what that
program misses is found by one pass over the data, and joins it.
"""

from typing import NamedTuple

import numpy as np

from ._base import Solution
from ._reduced import Reduced

# Late rounds are for a few neurons; the price of all rounds, relative to that of the first.
MAX_ROUNDS = 10
MAX_WORK = 8
MAX_STEPS = 25
# Relative error of the ball after a round, beyond which the rounds do not get anywhere.
OFF_TRACK = 0.1
# Share of the error that a round may leave where nothing has joined: beyond it, what is missing are
# digits.
STALLED = 0.5
# Share of the neurons to solve again, each with its own ball, that miss nothing: beyond it, proofs
# may know better.
RESTING = 0.5
# Share of neurons with balls of their own that may be left over, and the error of all where they
# do not lack too much; and the share where more rounds do not help.
FEW, NEARLY, MOST = 0.05, 2.0, 0.5
# Accuracy of what is left of the layer, relative to the tolerance: in the first round, which shows
# what is missing, and after it; and by what it falls where nothing is missing but the proof.
FIRST_GOAL = 0.3
GOAL = 0.05
SHARPER = 0.1


class Finish(NamedTuple):
    """What came of it: a solution or None, all iterations, and whether digits are what it lacks."""

    solution: Solution | None
    n_iter: int
    lacks_digits: bool = False


def finish(iterate, tol, n_iter, max_iter, verbose=0):
    """Solve the problem of `iterate` from where it is, after so many iterations.

    The iterate is left folded, unless this fails. Of neurons that have a ball each, some may still
    not be optimal.

    Returns
    -------
    Finish
    """
    layer = Reduced(iterate)
    if not np.any(layer.multiplier > 0):
        # A ball that nothing touches yet tells nothing of what matters.
        return Finish(None, n_iter)
    iterate.fold()
    layer.begin()
    found = _in_rounds(layer, tol, n_iter, max_iter, verbose)
    if found.solution is not None:
        return found
    iterate.unfold()
    # Few rows of a neuron that has its own ball can be nearly alike.
    return found._replace(lacks_digits=found.lacks_digits or layer.separate)


def _in_rounds(layer, tol, n_iter, max_iter, verbose):
    """Solve what is left of the layer, until nothing else matters."""
    changed = np.arange(layer.n_neurons)
    affordable, goal = MAX_WORK * layer.price(changed), FIRST_GOAL * tol
    last, stalled = np.inf, False
    for _ in range(MAX_ROUNDS):
        affordable -= layer.price(changed)
        if affordable < 0:
            break
        with layer.iterate.workers.at_work():
            steps, error = layer.solve(changed, goal, min(MAX_STEPS, max_iter - n_iter))
        n_iter += steps
        if n_iter >= max_iter or not error <= OFF_TRACK:
            return Finish(None, n_iter)
        goal = min(goal, GOAL * tol)
        changed, error = layer.extend(tol, goal)
        if verbose > 1:
            print(f"  interior point {n_iter:4d}: {len(changed)} neurons are not optimal")
        most = FEW * layer.n_neurons if layer.separate and error <= NEARLY * tol else 0
        if error <= tol or len(changed) <= most or _mostly_at_rest(layer, changed):
            solution, changed, few = _prove(layer, changed, most, tol, n_iter)
            if solution is not None:
                return Finish(solution, n_iter)
            if few:
                # Weights that ought to be zero, and are not small enough to be left out; or
                # rounding errors of their matrices: those of the next count from the point reached.
                goal = SHARPER * goal
                continue
        if layer.resting(changed).all() and error > STALLED * last:
            stalled = True
            break
        last = error
    return Finish(_left_over(layer, tol, n_iter), n_iter, stalled)


def _mostly_at_rest(layer, neurons):
    """Whether most of some neurons, each with its own ball, miss nothing but a proof."""
    resting = np.count_nonzero(layer.resting(neurons))
    return layer.separate and resting > RESTING * len(neurons)


def _prove(layer, changed, most, tol, n_iter):
    """The solution, if all but so many neurons are proven.

    Returns it or None, the neurons to solve again, and whether of the `changed` ones few are not
    proven.
    """
    solution = layer.solution(n_iter)
    unproven = _unproven(layer.iterate.problem, solution, tol)
    if len(unproven) <= most:
        return solution, unproven, True
    few = len(np.intersect1d(changed, unproven)) <= most
    if few or layer.separate:
        # Estimates know no more digits than the iterate; whom something has joined is to be
        # solved in any case.
        changed = np.union1d(changed[~layer.resting(changed)], unproven)
    return None, changed, few


def _left_over(layer, tol, n_iter):
    """Where more rounds do not help: a solution with few enough neurons left over, or None."""
    # One that has not settled may have run away, and is no start for another method.
    if not layer.separate or np.isnan(layer.point.settled_at).any():
        return None
    solution = layer.solution(n_iter)
    unproven = _unproven(layer.iterate.problem, solution, tol)
    return solution if len(unproven) <= MOST * len(solution.c) else None


def _unproven(problem, solution, tol):
    """The neurons without a proof: all or none, if they share a ball."""
    if problem.per_neuron:
        dual = problem.dual_point(solution.Xi)
        return np.flatnonzero(dual.unproven(solution.U, solution.c, tol))
    proven = problem.certify(solution.U, solution.c, solution.Xi).error() <= tol
    return np.arange(0 if proven else len(solution.c))

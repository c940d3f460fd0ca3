"""Clocks, memory, and what a figure depends on besides the code."""

import os
import platform
import time
import tracemalloc
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_info

LIBRARIES = ("sknettrim", "scikit-learn", "numpy", "scipy", "cvxpy", "clarabel")
# Seconds for which the threads of BLAS spin after a product, about.
SPIN = 0.2


class Pass:
    """The pair of products A U and A' Xi in float32, by which solves are counted.

    No solver can check a solution for less, whatever the machine.
    """

    def __init__(self, A, m):
        rng = np.random.default_rng(0)
        n, p = A.shape
        self._A = A.astype(np.float32)
        self._U, self._Xi = (rng.standard_normal((k, m), dtype=np.float32) for k in (p, n))
        self._S, self._slopes = np.empty_like(self._Xi), np.empty_like(self._U)
        self._times = []
        self._run()  # the first one also wakes the threads

    def _run(self):
        np.matmul(self._A, self._U, out=self._S)
        np.matmul(self._A.T, self._Xi, out=self._slopes)

    def tick(self, times=5):
        """Time a few passes."""
        for _ in range(times):
            seconds, _ = timed(self._run)
            self._times.append(seconds)
        # What comes next should not pay.
        time.sleep(SPIN)

    @property
    def seconds(self):
        """The median of all passes so far."""
        return float(np.median(self._times))


def timed(function):
    """(seconds, what the function returns)."""
    begin = time.perf_counter()
    outcome = function()
    return time.perf_counter() - begin, outcome


def interleave(contestants, *, rounds, before=lambda: None):
    """Run every contestant in turn, round after round, so that all see the same machine.

    Parameters
    ----------
    contestants : dict of str to callable
        Each returns its seconds and an outcome.
    rounds : int
        How often.
    before : callable
        Called before each.

    Returns
    -------
    times : dict of str to list of float
    outcomes : dict of str to the outcome of the last round
    """
    times, outcomes = {name: [] for name in contestants}, {}
    for _ in range(rounds):
        for name, run in contestants.items():
            before()
            seconds, outcomes[name] = run()
            times[name].append(seconds)
    return times, outcomes


def peak_memory(function):
    """Most bytes that numpy and Python held at a time during a call, above those held before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        outcome = function()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del outcome
    return peak - before


def environment():
    """What the figures of this run depend on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "blas": [
            {key: pool[key] for key in ("internal_api", "version", "architecture", "num_threads")}
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ],
    }

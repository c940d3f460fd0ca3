"""What the residuals of ADMM say: when to try a proof, how far it is, and when to give up."""

import numpy as np

# Residuals, relative to the tolerance, that mostly make a proof: of strict layers, and of others.
PROMISING = 0.7, 2.0
# What is proven falls faster than residuals do, by about this factor until it suffices.
HASTE = 1.2
# A proof is tried again once residuals have fallen by this factor since the last, at the latest.
RETRY = 0.2
# Residuals below the tolerance and this, in units of the precision, can be rounding errors: if they
# are at rest over so many checks ...
ROUNDING = 1e4
REST = 6
# ... or what is proven does not fall with them: if the ratio of the two is this many times the
# smallest so far. It may triple where a dual point could be mended before, and cannot be.
DIGITS_LOST = 4.0
# Residuals this many times the smallest so far do not come back, as where no weights satisfy the
# constraints and multipliers grow without end.
DIVERGED = 1e3
# The first iterations find the scale of rho; their rate says nothing.
WARM_UP = 100
# ADMM is left when its rate of convergence promises more iterations than this in all.
PATIENCE = 600
# Checks over which that rate is measured.
WINDOW = 16
# Checks that tell the present rate of convergence; it slows down by this factor, and that of a
# strict layer again with each proof that fails where that rate promised one.
RECENT = 4
SLOWING = 2.0
# All iterations that a strict layer usually takes, over the root of rows per input. But who knows:
# it may take more, relative to those it has.
USUAL_ITERATIONS = 50
MORE = 1.3
# Share of them before which a layer is hardly known, unless it has a start: the end takes more
# rounds then, and is worth no more than what may be left at least.
EARLY = 0.25


class Progress:
    """Of a run of ADMM towards a proof.

    Parameters
    ----------
    tol : float
        Error to prove.
    strict : bool
        Whether the layer is.
    dtype : dtype
        Precision of the iterations.
    """

    def __init__(self, tol, strict, dtype):
        self.tol, self.strict, self.goal = tol, strict, PROMISING[not strict] * tol
        self._errors, self._steps = [], [0]
        self._failures, self._retry, self._least_ratio = 0, 0.0, np.inf
        self._rounding = min(tol, ROUNDING * np.finfo(dtype).eps)

    def add(self, n_iter, error):
        """Note the largest relative residual after so many more iterations."""
        self._errors.append(error)
        self._steps.append(self.n_iter + n_iter)

    @property
    def n_iter(self):
        """Iterations of this run."""
        return self._steps[-1]

    @property
    def error(self):
        """The last residual."""
        return self._errors[-1]

    @property
    def best(self):
        """The smallest residual so far."""
        return min(self._errors)

    @property
    def diverged(self):
        """Whether residuals grow without end, or are no numbers."""
        return not self.error <= DIVERGED * max(self.best, self.tol)

    @property
    def promising(self):
        """Whether residuals are small enough to try a proof."""
        return self.error <= max(self.goal, self._retry)

    def note_failure(self, proven):
        """Note the error that a proof left; returns whether rounding errors are to blame."""
        self._failures += 1
        ratio = proven / max(self.error, np.finfo(float).tiny)
        lost = self.error <= self._rounding and ratio > DIGITS_LOST * self._least_ratio
        self._least_ratio = min(ratio, self._least_ratio)
        self.goal = self.error * min(0.9, HASTE * self.tol / proven)
        self._retry = self.error * RETRY
        return lost

    def hopeless(self, n_iter):
        """Whether to give up, after so many iterations in all."""
        if self.best <= self._rounding:
            # The scale of rho was found long ago.
            return n_iter + self._to_go(REST) > PATIENCE
        return self.n_iter >= WARM_UP and n_iter + self._to_go(WINDOW) > PATIENCE

    def left(self, shape, warm):
        """How many more iterations the layer may take, with inputs of this shape."""
        if not self.strict:
            # Their rate is a good guide, and a proof not far from it.
            return min(SLOWING * self._to_go(RECENT), MORE * self.n_iter)
        n_rows, n_inputs = shape
        usual, expected = USUAL_ITERATIONS * np.sqrt(n_rows / n_inputs), MORE * self.n_iter
        if warm or self.n_iter >= EARLY * usual:
            expected = max(expected, usual - self.n_iter)
        if self._failures > 0:
            # A proof has told how far it is.
            expected = min(expected, SLOWING**self._failures * self._to_go(RECENT))
        return expected

    def _to_go(self, window):
        """Extrapolation of the residuals to the goal, at the rate of the last few checks."""
        if self.error == 0:
            # A fixed point in this precision, that is not good enough.
            return np.inf
        first = max(0, len(self._errors) - 1 - window)
        n_iter = self.n_iter - self._steps[first + 1]
        fallen = np.log(self._errors[first] / self.error)
        missing = np.log(self.error / self.goal)
        return 0.0 if missing <= 0 else missing * n_iter / fallen if fallen > 0 else np.inf

"""The weights of an iteration of ADMM: least squares for all neurons at once.

They minimise ``|A X - (S - a)|^2 + shift |X - (Z - b)|^2``. A, S, a, Z and b are those of an
iterate, which holds X, and A X where the next iteration wants it; threads share the work by blocks
of inputs and of rows.
"""

from functools import partial

import numpy as np


def least_squares(iterate):
    """By the inverse that the iterate has."""
    return (_ByRows if iterate.inverse.wide else _ByInputs)(iterate)


class _ByInputs:
    """``X + (A'A + shift I)^-1 (A'(S - a - A X) + shift (Z - b - X))``, with the last X, or zero.

    In single precision, sums of all responses leave errors that correlated inputs magnify; those of
    what has changed leave smaller ones, the less changes. So A X is kept there.
    """

    def __init__(self, iterate):
        self.iterate, self.known = iterate, iterate.AX is not None
        self.right = iterate.inverse.value * self._pull()
        for part in iterate.workers.map(self._correlate, iterate.rows):
            self.right += part
        if not self.known and iterate.S.dtype == np.float32:
            iterate.AX = np.empty_like(iterate.S)

    def _pull(self):
        """Z - b - X."""
        pull = self.iterate.Z - self.iterate.b
        if self.known:
            pull -= self.iterate.X
        return pull

    def _correlate(self, blocks):
        """A'(S - a - A X) over some rows."""
        iterate, total = self.iterate, 0
        for rows in blocks:
            missing = iterate.S[rows] - iterate.a[rows]
            if self.known:
                missing -= iterate.AX[rows]
            total += iterate.A[rows].T @ missing
        return total

    def weights(self, inputs, out):
        """Some rows of the new X, in place of the last."""
        step = self.iterate.inverse.matrix[inputs] @ self.right
        np.add(step, out if self.known else 0, out=out)

    def responses(self, rows):
        """Some rows of A X, once all of X is known."""
        iterate = self.iterate
        responses = iterate.A[rows] @ iterate.X
        if iterate.AX is None:
            return responses
        iterate.AX[rows] = responses
        return iterate.AX[rows]

    def responses_again(self, rows):
        """The same a second time."""
        return self.responses(rows) if self.iterate.AX is None else self.iterate.AX[rows]


class _ByRows:
    """``X = Z - b + A' forces``, with ``forces = (A A' + shift I)^-1 (S - a - A (Z - b))``.

    Then ``A X = S - a - shift forces``: two products less than from the right hand side of
    :class:`_ByInputs`, multiplied by ``(I - A'(A A' + shift I)^-1 A) / shift``; which differs from
    this in its rounding errors, and is not accurate enough in single precision.
    """

    def __init__(self, iterate):
        self.iterate = iterate
        missing, self.forces = np.empty_like(iterate.S), np.empty_like(iterate.S)
        iterate.workers.map(partial(self._miss, iterate.Z - iterate.b, missing), iterate.rows)
        iterate.workers.map(partial(self._force, missing), iterate.rows)

    def _miss(self, weights, missing, blocks):
        """What Z - b misses of S - a, in `missing`."""
        iterate = self.iterate
        for rows in blocks:
            np.subtract(iterate.S[rows], iterate.a[rows], out=missing[rows])
            missing[rows] -= iterate.A[rows] @ weights

    def _force(self, missing, blocks):
        for rows in blocks:
            np.matmul(self.iterate.inverse.matrix[rows], missing, out=self.forces[rows])

    def weights(self, inputs, out):
        """Some rows of X, in `out`."""
        iterate = self.iterate
        out[...] = iterate.A[:, inputs].T @ self.forces
        out += iterate.Z[inputs]
        out -= iterate.b[inputs]

    def responses(self, rows):
        """Some rows of A X, while S and a are the old ones."""
        iterate = self.iterate
        responses = self.forces[rows] * -iterate.inverse.value
        responses += iterate.S[rows]
        responses -= iterate.a[rows]
        return responses

    responses_again = responses

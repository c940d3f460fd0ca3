"""The weights of an iteration of ADMM: least squares for all neurons at once.

They minimise ``|A X - (S - a)|^2 + shift |X - (Z - b)|^2``, and come over-relaxed, as their
responses do: times RELAXATION. A, S, a, Z and b are read from an iterate; threads share the work by
blocks of inputs and of rows.
"""

from functools import partial

import numpy as np

RELAXATION = 1.8


def least_squares(iterate, twice):
    """By the inverse that the iterate has; with `twice`, for responses to be asked for again."""
    return _ByRows(iterate) if iterate.inverse.wide else _ByInputs(iterate, twice)


class _ByInputs:
    """``X = (A'A + shift I)^-1 (A'(S - a) + shift (Z - b))``."""

    def __init__(self, iterate, twice):
        self.iterate = iterate
        self.right = sum(iterate.workers.map(self._correlate, iterate.rows))
        self.right += iterate.inverse.value * (iterate.Z - iterate.b)
        # As large as the responses: in double precision, there is no room for them.
        keep = twice and iterate.S.dtype == np.float32
        self.kept = np.empty_like(iterate.S) if keep else None

    def _correlate(self, blocks):
        """A'(S - a) over some rows."""
        iterate, total = self.iterate, 0
        for rows in blocks:
            total = total + iterate.A[rows].T @ (iterate.S[rows] - iterate.a[rows])
        return total

    def weights(self, inputs, out):
        """Some rows of X, in `out`."""
        np.matmul(self.iterate.inverse.matrix[inputs], self.right, out=out)
        out *= RELAXATION

    def responses(self, rows):
        """Some rows of A X, once all of X is known."""
        responses = self.iterate.A[rows] @ self.iterate.X
        if self.kept is not None:
            self.kept[rows] = responses
        return responses

    def responses_again(self, rows):
        """The same a second time."""
        return self.responses(rows) if self.kept is None else self.kept[rows]


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
        out *= RELAXATION

    def responses(self, rows):
        """Some rows of A X, while S and a are the old ones."""
        iterate = self.iterate
        responses = self.forces[rows] * -iterate.inverse.value
        responses += iterate.S[rows]
        responses -= iterate.a[rows]
        responses *= RELAXATION
        return responses

    responses_again = responses

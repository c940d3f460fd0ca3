"""Solvers of the layer program, by name.

A solver is one module with a function ``solve(problem, *, tol, max_iter, start, verbose,
**options)`` that returns a :class:`Solution`, and one line here.
"""

from . import _admm, _cvxpy
from ._base import Solution, zero

__all__ = ["SOLVERS", "Solution", "zero"]

SOLVERS = {"admm": _admm.solve, "cvxpy": _cvxpy.solve}

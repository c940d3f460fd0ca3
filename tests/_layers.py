"""Random layers, and the layer program written down a second time.

`Layer` states objective, constraints and dual as design and paper do, neuron by neuron in plain
numpy, and once more for a conic solver. It shares no code with the package: what agrees with it
is right for two reasons.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from sknettrim._problem import LayerProblem

STORAGE = {"dense": np.asarray, "csr": sparse.csr_array}
FLAGS = ["matched", "strict", "per_neuron", "weighted", "cascade", "penalize_intercept"]


@dataclass(frozen=True)
class Proof:
    """What `Layer.prove` finds, the relative errors that a solver promises to keep small."""

    objective: float
    dual_objective: float
    gap: float
    excess: float
    violation: float
    price: float

    @property
    def error(self):
        return max(abs(self.gap), self.excess, self.violation, self.price)


@dataclass(frozen=True)
class Layer:
    """One layer program; `radius` is absolute, a float or one per neuron."""

    A: np.ndarray
    Y: np.ndarray
    radius: float | np.ndarray
    matched: bool = False
    strict: bool = True
    V: np.ndarray | None = None
    R: np.ndarray | None = None
    penalize_intercept: bool = False
    W: np.ndarray | None = None
    b: np.ndarray | None = None

    @property
    def per_neuron(self):
        return np.ndim(self.radius) == 1

    @property
    def shape(self):
        return self.A.shape[1], self.Y.shape[1]

    def problem(self, storage="dense", dtype=np.float64):
        return LayerProblem(
            STORAGE[storage](self.A.astype(dtype)),
            self.Y.astype(dtype),
            self.radius,
            matched=self.matched,
            inactive="strict" if self.strict else "budget",
            upper=self.V,
            penalty_weights=self.R,
            penalize_intercept=self.penalize_intercept,
        )

    def trim_arguments(self, epsilon):
        """The keywords of `trim_layer` that ask for this layer."""
        return {
            "epsilon": epsilon,
            "activation": "identity" if self.matched else "relu",
            "inactive": "strict" if self.strict else "budget",
            "epsilon_per": "neuron" if self.per_neuron else "layer",
            "upper": self.V,
            "penalty_weights": self.R,
            "penalize_intercept": self.penalize_intercept,
        }

    # Primal -----------------------------------------------------------------------------------

    def on(self, j):
        """Omega of neuron j: the rows whose responses are matched."""
        return np.full(len(self.Y), True) if self.matched else self.Y[:, j] > 0

    def limits(self, j):
        return np.ones(self.shape[0]) if self.R is None else self.R[:, j]

    def upper(self, j):
        return np.zeros(len(self.Y)) if self.V is None else self.V[:, j]

    def objective(self, U, c):
        total = sum(np.sum(self.limits(j) * abs(U[:, j])) for j in range(U.shape[1]))
        return total + (np.sum(abs(c)) if self.penalize_intercept else 0.0)

    def outside(self, S):
        """Per neuron: squared distance that its ball measures, squared rise above V."""
        charged, rise = np.zeros(S.shape[1]), np.zeros(S.shape[1])
        for j in range(S.shape[1]):
            on = self.on(j)
            charged[j] = np.sum((S[on, j] - self.Y[on, j]) ** 2)
            rise[j] = np.sum(np.clip(S[~on, j] - self.upper(j)[~on], 0, None) ** 2)
        return (charged, rise) if self.strict else (charged + rise, np.zeros_like(rise))

    def residual(self, S):
        charged, _ = self.outside(S)
        return np.sqrt(charged if self.per_neuron else charged.sum())

    def feasible(self, S, slack=0.0):
        _, rise = self.outside(S)
        scale = np.linalg.norm(self.Y)
        inside = np.all(self.residual(S) <= self.radius * (1 + slack))
        return bool(inside and np.sqrt(rise.sum()) <= slack * scale)

    # Dual -------------------------------------------------------------------------------------

    def dual_infeasibility(self, Xi):
        """Largest amount by which a constraint of the dual (design, section 4) is broken."""
        broken = [0.0]
        for j in range(Xi.shape[1]):
            broken.append(np.max(abs(self.A.T @ Xi[:, j]) - self.limits(j)))
            broken.append(np.max(-Xi[~self.on(j), j], initial=0.0))
            broken.append(abs(Xi[:, j].sum()) - self.penalize_intercept)
        return max(broken)

    def dual_norms(self, Xi):
        """Norm of what the ball of each neuron meets."""
        return np.array(
            [np.linalg.norm(x[self.on(j)] if self.strict else x) for j, x in enumerate(Xi.T)]
        )

    def dual_objective(self, Xi):
        total = 0.0
        for j in range(Xi.shape[1]):
            on = self.on(j)
            total -= Xi[on, j] @ self.Y[on, j] + Xi[~on, j] @ self.upper(j)[~on]
        norms = self.dual_norms(Xi)
        return total - (
            np.sum(self.radius * norms) if self.per_neuron else self.radius * np.linalg.norm(norms)
        )

    def make_dual_feasible(self, Xi):
        """As design section 4 says: clip, take the mean from Omega, scale every column."""
        Xi = np.array(Xi, dtype=float)
        for j in range(Xi.shape[1]):
            on, x = self.on(j), Xi[:, j]
            x[~on] = np.clip(x[~on], 0, None)
            if not self.penalize_intercept:
                if on.any():
                    x[on] -= x.sum() / on.sum()
                else:
                    x[:] = 0.0
            ratios = [1.0, np.max(abs(self.A.T @ x) / self.limits(j))]
            if self.penalize_intercept:
                ratios.append(abs(x.sum()))
            x /= max(ratios)
        return Xi

    # Both -------------------------------------------------------------------------------------

    def prove(self, U, c, Xi):
        """The relative errors of a primal and a dual point."""
        U, c = np.asarray(U, dtype=float), np.asarray(c, dtype=float)
        S = self.A @ U + c
        Xi = self.make_dual_feasible(Xi)
        objective = self.objective(U, c)
        bound = max(0.0, self.dual_objective(Xi))
        _, rise = self.outside(S)
        norms = self.dual_norms(Xi)
        over = np.maximum(self.residual(S) - self.radius, 0)
        price = np.sum(over * (norms if self.per_neuron else np.linalg.norm(norms)))
        if self.strict:
            for j in range(U.shape[1]):
                on = self.on(j)
                price += max((S[~on, j] - self.upper(j)[~on]) @ Xi[~on, j], 0.0)
        return Proof(
            objective=objective,
            dual_objective=bound,
            gap=_ratio(objective - bound, objective or bound),
            excess=np.max(_ratio(self.residual(S) - self.radius, self.radius)),
            violation=_ratio(np.sqrt(rise.sum()), np.linalg.norm(self.Y)),
            price=_ratio(price, objective or bound),
        )

    def conic(self):
        """(optimum, U, c) from the textbook form of the program, by Clarabel."""
        import cvxpy as cp

        p, m = self.shape
        U, c = cp.Variable((p, m)), cp.Variable(m)
        total, errors, constraints = 0, [], []
        for j in range(m):
            on = self.on(j)
            s = self.A @ U[:, j] + c[j]
            total += self.limits(j) @ cp.abs(U[:, j])
            error = [s[on] - self.Y[on, j]] if on.any() else []
            if not on.all():
                leak = 0 if self.strict else cp.Variable((~on).sum(), nonneg=True)
                constraints.append(s[~on] - self.upper(j)[~on] <= leak)
                error += [] if self.strict else [leak]
            if error and self.per_neuron:
                constraints.append(cp.norm(cp.hstack(error)) <= self.radius[j])
            errors += error
        if errors and not self.per_neuron:
            constraints.append(cp.norm(cp.hstack(errors)) <= self.radius)
        if self.penalize_intercept:
            total += cp.norm1(c)
        program = cp.Problem(cp.Minimize(total), constraints)
        program.solve(solver="CLARABEL")
        return program.value, U.value, c.value


def _ratio(value, scale):
    """Relative to a scale; absolute where there is none, of a layer that is all zero."""
    return value / np.where(np.asarray(scale) > 0, scale, 1.0)


def random_layer(
    seed,
    *,
    n=40,
    p=8,
    m=3,
    epsilon=0.1,
    matched=False,
    strict=True,
    per_neuron=False,
    weighted=False,
    cascade=False,
    penalize_intercept=False,
    firing=(0.2, 0.9),
    density=1.0,
    condition="good",
    dtype=np.float64,
):
    """The program of a random layer, `Layer.W` and `Layer.b` being the weights it had.

    Each neuron fires on a share of the rows that is drawn from the interval `firing`.
    With `cascade`, the inputs are not quite those that the targets come from, and V and radius
    such that the original weights stay feasible. All entries can be held by `dtype`.
    """
    rng = np.random.default_rng(seed)

    def held(array):
        return array.astype(dtype).astype(float)

    A = held(CONDITIONS[condition](rng, n, p) * (rng.random((n, p)) < density))
    W = rng.standard_normal((p, m))
    W[rng.random((p, m)) < 0.5] *= 0.05
    b = -np.array([np.quantile(z, 1 - rng.uniform(*firing)) for z in (A @ W).T])
    Y = held(A @ W + b if matched else np.maximum(A @ W + b, 0))
    R = rng.uniform(0.2, 5.0, (p, m)) if weighted else None
    radius = epsilon * np.linalg.norm(Y, axis=0 if per_neuron else None)
    layer = Layer(A, Y, radius, matched, strict, None, R, penalize_intercept, W, b)
    if cascade:
        A = held(A * rng.uniform(0.9, 1.1, A.shape))
        unpruned = A @ W + b
        V = np.where(Y > 0, 0, np.maximum(unpruned, 0)) if strict and not matched else None
        layer = replace(layer, A=A, V=V)
        layer = replace(layer, radius=np.maximum(radius, 1.05 * layer.residual(unpruned)))
    return layer


def layers(**fixed):
    """Random layers of every kind, as a strategy of hypothesis; `fixed` options stay the same."""
    options = {
        "seed": st.integers(0, 2**32 - 1),
        "n": st.integers(2, 30),
        "p": st.integers(1, 8),
        "m": st.integers(1, 4),
        "epsilon": st.floats(0.01, 0.9),
        "firing": st.sampled_from([(0.2, 0.9), (0, 0), (0, 1), (1, 1)]),
        "density": st.sampled_from([0.3, 1.0]),
        **{name: st.booleans() for name in FLAGS},
    }
    return st.builds(random_layer, **(options | {k: st.just(v) for k, v in fixed.items()}))


def _good(rng, n, p):
    return np.abs(rng.standard_normal((n, p)))


def _correlated(rng, n, p):
    return np.abs(rng.standard_normal((n, 1)) + 0.02 * rng.standard_normal((n, p)))


def _six_orders(rng, n, p):
    return rng.standard_normal((n, p)) * np.logspace(-3, 3, p)


def _low_rank(rng, n, p):
    rank = max(1, p // 4)
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p))


CONDITIONS = {
    "good": _good,
    "correlated": _correlated,
    "six orders": _six_orders,
    "low rank": _low_rank,
}

"""What is guaranteed of a pruned network, what really happened, and the table that shows both.

Per layer, ``E_l`` is the Frobenius norm of the difference between what the pruned and the
original network pass on, on the calibration data.
"""

import numpy as np

from ._columns import norm


def discrepancies(original, pruned):
    """E_l, measured.

    Parameters
    ----------
    original, pruned : list of n_layers + 1 arrays
        Outputs of both networks on the calibration data, see ``Network.outputs``.

    Returns
    -------
    E : ndarray of shape (n_layers,)
        Absolute.
    """
    return np.array([norm(new - old) for old, new in zip(original[1:], pruned[1:], strict=True)])


def output_norms(outputs):
    """Frobenius norm of what each layer passes on: what discrepancies are relative to."""
    return np.array([norm(output) for output in outputs[1:]])


def discrepancy_bounds(network, problems, results, original, pruned, *, cascade):
    """Upper bounds on E_l, from what each layer satisfies on its own inputs.

    With the Lipschitz constant k of the activation, and the consistency e of the layer (see
    `_consistency`): in the cascade the layer was solved on the very inputs that the pruned
    network gives it, and ``E_l <= k e_l``. In parallel it was solved on the original inputs, so
    that the error of the layers before it comes on top, ``E_l <= k (||U_l||_2 E_(l-1) + e_l)``
    with the spectral norm of the pruned weights (Aghasi et al. 2017, Theorem 1, without its
    assumption that the network is link-normalised, which makes ``||U_l||_2 <= 1``).

    Parameters
    ----------
    network : Network
        The original network.
    problems : list of LayerProblem
    results : list of LayerResult
    original, pruned : list of n_layers + 1 arrays
        Outputs of both networks on the calibration data.
    cascade : bool
        Whether each layer was solved on pruned inputs.

    Returns
    -------
    bounds : ndarray of shape (n_layers,)
        Absolute. They hold for the networks as the computer runs them: what rounding can add
        to a product of matrices is in them.
    """
    bounds = []
    for layer, (problem, result) in enumerate(zip(problems, results, strict=True)):
        bound = _consistency(problem, result)
        bound += _rounding(problem.A, result) + _rounding(pruned[layer], result)
        if bounds and not cascade:
            bound += np.linalg.norm(result.coef, 2) * bounds[-1]
        bound *= network.lipschitz(layer)
        # One more rounding: of the activation and of the difference.
        bound += 4 * np.finfo(result.coef.dtype).eps * norm(original[layer + 1])
        bounds.append(bound)
    return np.array(bounds)


def _consistency(problem, result):
    """Bound on ``||relu(S) - Y||_F``, or ``||S - Z||_F`` where responses are matched.

    Where the neuron fired, Y > 0 and ``|relu(s) - y| <= |s - y|``; off it, Y = 0 and relu(s) is
    at most V plus what s exceeds V by. Each part is taken as the program demands it or as the
    solution has it, whichever is larger, so that a solution within tolerance keeps its bound.
    """
    charged = max(np.linalg.norm(result.epsilon), np.linalg.norm(result.residual))
    leak = result.violation * (norm(problem.Y) or 1.0)
    if problem.upper is not None:
        leak += norm(np.where(problem.active, 0, problem.upper))
    return np.hypot(charged, leak)


def _rounding(A, result):
    """What rounding can do to ``A U + 1 c'`` (Higham 2002, section 3.5), with a factor of two."""
    unit = (result.coef.shape[0] + 2) * np.finfo(result.coef.dtype).eps
    ones = np.sqrt(A.shape[0])
    return unit * (norm(A) * norm(result.coef) + ones * norm(result.intercept[None]))


# Report --------------------------------------------------------------------------------------

_COLUMNS = (
    "layer",
    "shape",
    "weights",
    "kept",
    "density",
    "epsilon (rel.)",
    "discrepancy (rel.)",
    "bound (rel.)",
    "gap",
    "converged",
    "seconds",
)


class Summary(str):
    """A table that reads well both printed and as the value of a notebook cell."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


def summarize(network, problems, results, original, measured, bounds):
    """One line per layer and one of totals, see ``NetTrim.summary``."""
    lines = [
        (
            f"{layer + 1}",
            f"{problem.shape[0]} x {problem.shape[1]}",
            *_counts([network.coefs[layer]], [result.coef]),
            with_relative(np.linalg.norm(result.epsilon), norm(problem.Y)),
            with_relative(measured[layer], norm(original[layer + 1])),
            with_relative(bounds[layer], norm(original[layer + 1])),
            f"{result.gap:.1e}",
            "yes" if result.converged else "NO",
            f"{result.seconds:.2f}",
        )
        for layer, (problem, result) in enumerate(zip(problems, results, strict=True))
    ]
    total = (
        "total",
        "",
        *_counts(network.coefs, [result.coef for result in results]),
        *[""] * 4,
        "yes" if all(result.converged for result in results) else "NO",
        f"{sum(result.seconds for result in results):.2f}",
    )
    return table([_COLUMNS, *lines, total])


def with_tuning(summary, epoch, scores):
    """The table, and below it what a fine-tuning did since: epsilon and bound hold no more."""
    if epoch == 0:
        note = f"none of {len(scores) - 1} epochs better on held-out rows: nothing changed"
    else:
        note = (
            f"epoch {epoch} of {len(scores) - 1} kept, held-out score {scores[0]:.4f} -> "
            f"{scores[epoch]:.4f}; the table describes the network before, and its epsilon, "
            "discrepancy and bound do not hold for the trained weights"
        )
    return Summary(f"{summary}\nfine-tuned: {note}")


def _counts(before, after):
    """Non-zero weights before and after, and their share of all places."""
    kept = sum(np.count_nonzero(W) for W in after)
    weights = sum(np.count_nonzero(W) for W in before)
    return f"{weights:,}", f"{kept:,}", f"{kept / sum(W.size for W in after):.1%}"


def with_relative(value, scale):
    """A value with its share of `scale`."""
    return f"{value:.3g} ({value / scale if scale > 0 else 0:.3g})"


def table(rows):
    """Right-aligned columns, with rules under the head, the first row, and above the last."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines, total = ("  ".join(map(str.rjust, row, widths)) for row in rows)
    rule = "-" * len(head)
    return Summary("\n".join([head, rule, *lines, rule, total]))

"""Errors that callers may want to tell apart from other errors."""


class InfeasibleError(ValueError):
    """No weights satisfy the constraints of a layer.

    Raised only in the cascade, when ``kappa`` asks the output layer for less error than any
    weights can reach on the pruned inputs. The message names the layer and the smallest
    ``kappa`` that works.
    """

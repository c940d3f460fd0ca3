"""Errors that callers may want to tell apart from other errors."""


class InfeasibleError(ValueError):
    """No weights satisfy the constraints of a layer.

    Raised in the cascade, when ``kappa`` asks the output layer for less error than any weights
    can reach on the pruned inputs: the message names the layer and the smallest ``kappa`` that
    works. And by ``trim_layer``, for targets that are too far from what weights can give.
    """

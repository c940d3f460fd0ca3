"""Prune trained scikit-learn neural networks by convex optimisation, with a guarantee."""

from ._compact import compact
from ._export_c import export_c
from ._layer import trim_layer
from ._net_trim import NetTrim
from ._net_trim_cv import NetTrimCV
from ._path import TrimPath, net_trim_path
from ._solve import LayerResult

__all__ = [
    "LayerResult",
    "NetTrim",
    "NetTrimCV",
    "TrimPath",
    "compact",
    "export_c",
    "net_trim_path",
    "trim_layer",
]

__version__ = "0.1.0"

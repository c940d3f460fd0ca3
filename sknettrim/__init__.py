"""Prune trained scikit-learn neural networks by convex optimisation, with a guarantee."""

from ._compact import compact
from ._export_c import export_c
from ._layer import trim_layer
from ._net_trim import NetTrim
from ._net_trim_cv import NetTrimCV
from ._path import TrimPath, net_trim_path
from ._path_display import TrimPathDisplay
from ._solve import LayerResult
from ._weights_display import LayerWeightsDisplay

__all__ = [
    "LayerResult",
    "LayerWeightsDisplay",
    "NetTrim",
    "NetTrimCV",
    "TrimPath",
    "TrimPathDisplay",
    "compact",
    "export_c",
    "net_trim_path",
    "trim_layer",
]

__version__ = "0.1.0"

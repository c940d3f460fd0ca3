"""A trained MLP as C source, in which a weight that is zero takes no place and no time."""

import re
import textwrap
from string import Template

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from ._network import Network, check_prunable, innermost, is_fitted, levels


def export_c(estimator, *, name="network"):
    """Write a trained network as a C header, for a microcontroller or any other place for C.

    Only weights that are not zero are written and multiplied, so that pruning saves memory and
    time. The header needs C99 (or C++) and ``math.h``, allocates nothing, and holds constants and
    functions that take arrays of ``float``, named as in scikit-learn:

    - classifier: ``int NAME_predict(const float *x)``, which gives the position of the label in
      ``classes_``, and ``void NAME_predict_proba(const float *x, float *outputs)``;
    - classifier of several labels at a time: ``NAME_predict_proba`` alone, and a label is set
      where its probability exceeds 0.5;
    - regressor: ``void NAME_predict(const float *x, float *outputs)``.

    The macros ``NAME_INPUTS`` and ``NAME_OUTPUTS`` have the lengths of these arrays.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted, pruned or not. Of a fitted NetTrim give its ``estimator_``, of a Pipeline the last
        step: what is before it has to be done in C too.
    name : str, default="network"
        What all names in the header begin with.

    Returns
    -------
    header : str
        The source, for a file such as ``network.h``.

    Raises
    ------
    TypeError
        If there is no MLP in `estimator`, or steps around it transform inputs or targets.
    NotFittedError
        If it is not fitted.
    ValueError
        If `name` is no C identifier, or a weight is not finite as a ``float``.

    See Also
    --------
    sklearn.tree.export_text : The same idea for a tree.

    Notes
    -----
    Weights are stored by neuron, as in a CSC array: with 4 bytes for each weight that is not zero
    and 1, 2 or 4 for the number of its input, in the smallest type that fits. An array without
    zeros is thus larger than in the usual form. The arithmetic is in single precision.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sknettrim import NetTrim, export_c
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier(solver="lbfgs", alpha=1, max_iter=5000, random_state=0).fit(X, y)
    >>> pruned = NetTrim(mlp, epsilon=0.05).fit(X).estimator_
    >>> header = export_c(pruned, name="iris")
    >>> "int iris_predict(const float *x)" in header
    True
    >>> len(header) < 0.5 * len(export_c(mlp, name="iris"))
    True
    """
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a C identifier, such as 'network', got {name!r}")
    _check_exportable(estimator)
    mlp, network = innermost(estimator), Network.of(estimator)
    arrays = _arrays(network)
    binary = mlp.out_activation_ == "logistic" and mlp.n_outputs_ == 1
    if binary:
        functions = _BINARY
    else:
        functions = _MULTICLASS if mlp.out_activation_ == "softmax" else _EACH_OUTPUT
    return Template(_NETWORK + functions + "\n#endif\n").substitute(
        name=name,
        about=_about(mlp, network, arrays),
        n_inputs=len(network.coefs[0]),
        n_outputs=2 if binary else mlp.n_outputs_,
        arrays="\n".join(_declaration(name, *item) for item in arrays.items()),
        start_type=_c_type(arrays["start_1"]),
        index_type=_c_type(arrays["index_1"]),
        hidden=_ACTIVATIONS[network.activation],
        calls="\n".join(_calls(name, network)),
        function="predict_proba" if is_classifier(mlp) else "predict",
        output=_ACTIVATIONS.get(mlp.out_activation_),
    )


def _check_exportable(estimator):
    check_prunable(estimator)
    for level in levels(estimator):
        steps = isinstance(level, Pipeline) and len(level.steps) > 1
        if steps or isinstance(level, TransformedTargetRegressor):
            raise TypeError(
                f"export_c writes a network alone, and this {type(level).__name__} transforms its "
                "inputs or targets: give the MLP inside, such as pipeline[-1], and do in C what "
                "comes before or after it"
            )
    if not is_fitted(estimator):
        raise NotFittedError(
            f"this {type(estimator).__name__} is not fitted: export_c takes a trained network"
        )


# Constants -----------------------------------------------------------------------------------


def _arrays(network):
    """The arrays of all layers by name, in the types that they have in C."""
    index = np.min_scalar_type(max(len(W) for W in network.coefs) - 1)
    start = np.min_scalar_type(max(np.count_nonzero(W) for W in network.coefs))
    arrays = {}
    layers = zip(network.coefs, network.intercepts, strict=True)
    for number, (W, b) in enumerate(layers, start=1):
        W, b = sparse.csc_array(_single(W, number)), _single(b, number)
        arrays[f"start_{number}"] = W.indptr.astype(start)
        arrays[f"index_{number}"] = W.indices.astype(index)
        arrays[f"weight_{number}"] = W.data
        arrays[f"intercept_{number}"] = b
    return arrays


def _single(array, layer):
    if np.abs(array).max() > np.finfo(np.float32).max:
        raise ValueError(f"layer {layer}: a weight is too large for single precision")
    return array.astype(np.float32)


def _c_type(array):
    return "float" if array.dtype == np.float32 else f"{array.dtype}_t"


def _declaration(name, label, array):
    """C has no empty arrays: one without values gets a zero, which is never read."""
    suffix = "f" if array.dtype == np.float32 else ""
    values = [f"{value!s}{suffix}" for value in array] or ["0"]
    lines = (", ".join(values[i : i + 8]) for i in range(0, len(values), 8))
    body = ",\n    ".join(lines)
    return f"static const {_c_type(array)} {name}_{label}[{len(values)}] = {{\n    {body}\n}};"


# Text ----------------------------------------------------------------------------------------


def _about(mlp, network, arrays):
    """What the header begins with, as a comment."""
    widths = [len(network.coefs[0]), *map(len, network.intercepts)]
    kept, weights = (sum(map(f, network.coefs)) for f in (np.count_nonzero, np.size))
    size = sum(array.nbytes for array in arrays.values())
    lines = [
        f"{type(mlp).__name__} {'-'.join(map(str, widths))} ({network.activation}), by sknettrim.",
        f"{kept:,} of {weights:,} weights are not zero; {size:,} bytes of constants.",
    ]
    if is_classifier(mlp):
        labels = f"Labels by position: {', '.join(map(ascii, mlp.classes_.tolist()))}."
        lines += textwrap.wrap(labels.replace("*/", "* /"), 96)
    return "\n".join(lines)


def _calls(name, network):
    """The statements that run one layer after the other, between two buffers."""
    widest = [
        max([len(b) for b in network.intercepts[parity:-1:2]], default=0) for parity in (0, 1)
    ]
    yield from (f"    float {b}[{n}];" for b, n in zip("ab", widest, strict=True) if n)
    source = "x"
    for layer, b in enumerate(network.intercepts):
        number, target = layer + 1, "z" if network.is_output(layer) else "ab"[layer % 2]
        given = (f"{name}_{array}_{number}" for array in ("start", "index", "weight", "intercept"))
        yield f"    {name}_layer({len(b)}, {', '.join(given)}, {source}, {target});"
        if not network.is_output(layer):
            yield f"    {name}_activate({len(b)}, {target});"
        source = target


# Source ----------------------------------------------------------------------------------------

# Of the float z; the softmax is not of one number.
_ACTIVATIONS = {
    "identity": "z",
    "relu": "z > 0.0f ? z : 0.0f",
    "tanh": "tanhf(z)",
    "logistic": "1.0f / (1.0f + expf(-z))",
    "exp": "expf(z)",
}

_NETWORK = """\
/*
$about
*/
#ifndef ${name}_H
#define ${name}_H

#include <math.h>
#include <stdint.h>

#define ${name}_INPUTS $n_inputs
#define ${name}_OUTPUTS $n_outputs

$arrays

/* The responses of n neurons: sums over the weights that are not zero. */
static inline void ${name}_layer(
    int n, const $start_type *start, const $index_type *index, const float *weight,
    const float *intercept, const float *x, float *responses)
{
    for (int j = 0; j < n; j++) {
        float sum = intercept[j];
        for ($start_type k = start[j]; k < start[j + 1]; k++) {
            sum += weight[k] * x[index[k]];
        }
        responses[j] = sum;
    }
}

static inline void ${name}_activate(int n, float *values)
{
    for (int j = 0; j < n; j++) {
        const float z = values[j];
        values[j] = $hidden;
    }
}

/* The responses of the last layer. */
static inline void ${name}_forward(const float *x, float *z)
{
$calls
}
"""

_EACH_OUTPUT = """
static inline void ${name}_$function(const float *x, float *outputs)
{
    ${name}_forward(x, outputs);
    for (int j = 0; j < ${name}_OUTPUTS; j++) {
        const float z = outputs[j];
        outputs[j] = $output;
    }
}
"""

# One output for two labels.
_BINARY = """
static inline int ${name}_predict(const float *x)
{
    float z;
    ${name}_forward(x, &z);
    return z > 0.0f;
}

static inline void ${name}_predict_proba(const float *x, float *outputs)
{
    float z;
    ${name}_forward(x, &z);
    outputs[1] = $output;
    outputs[0] = 1.0f - outputs[1];
}
"""

_MULTICLASS = """
static inline int ${name}_largest(const float *values)
{
    int largest = 0;
    for (int j = 1; j < ${name}_OUTPUTS; j++) {
        if (values[j] > values[largest]) {
            largest = j;
        }
    }
    return largest;
}

static inline int ${name}_predict(const float *x)
{
    float z[${name}_OUTPUTS];
    ${name}_forward(x, z);
    return ${name}_largest(z);
}

static inline void ${name}_predict_proba(const float *x, float *outputs)
{
    ${name}_forward(x, outputs);
    const float largest = outputs[${name}_largest(outputs)];
    float sum = 0.0f;
    for (int j = 0; j < ${name}_OUTPUTS; j++) {
        outputs[j] = expf(outputs[j] - largest);
        sum += outputs[j];
    }
    for (int j = 0; j < ${name}_OUTPUTS; j++) {
        outputs[j] /= sum;
    }
}
"""

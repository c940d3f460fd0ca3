"""One row at a time: scikit-learn's predict against ONNX Runtime and C, before and after pruning.

    python -m benchmarks.single_row [--mnist PATH]

Prints the median time of a prediction by each route, all taken in turn within one run.
"""

import argparse
import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from contextlib import chdir
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from sknettrim import NetTrim, compact, export_c

from ._data import mnist, trained
from ._measure import interleave, timed


def scikit_learn(mlp):
    """The label of a row, given as an array with one row."""
    return lambda row: mlp.predict(row)[0]


def onnx_runtime(mlp):
    """The same through ONNX Runtime, with one thread: more would only wait for each other."""
    import onnxruntime
    import skl2onnx

    with warnings.catch_warnings(action="ignore"):
        first = np.zeros((1, mlp.n_features_in_), dtype=np.float32)
        model = skl2onnx.to_onnx(mlp, first, options={"zipmap": False}).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda row: session.run(["label"], {"X": row})[0][0]


def c_code(mlp):
    """The same in C, called from Python by ctypes; None where no C compiler is found."""
    if not shutil.which("cc"):
        return None
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("net.h").write_text(export_c(mlp, name="net"))
        return _compiled(mlp, "net_predict(x)")


def emlearn_code(mlp):
    """In C by emlearn, which stores zeros; None where that or a compiler is missing."""
    try:
        import emlearn
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        emlearn.convert(mlp, method="loadable").save(name="net", file="net.h")
        return _compiled(mlp, f"net_predict(x, {mlp.n_features_in_})", emlearn.includedir)


def _compiled(mlp, call, *include):
    source = f'#include "net.h"\nint predict(const float *x) {{ return {call}; }}\n'
    Path("net.c").write_text(source)
    folders = [f"-I{folder}" for folder in include]
    build = ["cc", "-std=c99", "-O2", *folders, "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    subprocess.run(build, check=True)
    library = ctypes.CDLL(os.path.abspath("net.so"))
    return lambda row: mlp.classes_[library.predict(row.ctypes.data_as(ctypes.c_void_p))]


ROUTES = {
    "scikit-learn": scikit_learn,
    "ONNX Runtime": onnx_runtime,
    "C, export_c": c_code,
    "C, emlearn": emlearn_code,
}


def routes(networks):
    """Every way to a prediction, by its name and that of the network."""
    found = {(way, name): ROUTES[way](mlp) for way in ROUTES for name, mlp in networks.items()}
    return {key: predict for key, predict in found.items() if predict is not None}


def warm(predict):
    """Time a prediction right after another by the same route, as one row follows another."""
    predict()
    return timed(predict)


def constants(networks):
    """Print what the weights take in C: in both ways of storing them."""
    print(f"\n{'network':<16} {'hidden':>12} {'kB, export_c':>13} {'kB, dense':>10}")
    for name, mlp in networks.items():
        size = re.search(r"([\d,]+) bytes of constants", export_c(mlp))[1].replace(",", "")
        dense = 4 * sum(array.size for array in [*mlp.coefs_, *mlp.intercepts_])
        hidden = str(mlp.hidden_layer_sizes)
        print(f"{name:<16} {hidden:>12} {int(size) / 1000:13.1f} {dense / 1000:10.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", metavar="PATH", help="npz file with X and y; else OpenML")
    parser.add_argument("--rounds", type=int, default=500, help="predictions by each route")
    options = parser.parse_args()
    name, X, y = mnist(options.mnist)
    X, X_test, y, _ = train_test_split(X.astype(np.float32), y, test_size=0.2, random_state=0)
    original = trained(X, y, (300, 100))
    trim = NetTrim(original, epsilon=0.3, scheme="cascade", inactive="budget",
                   max_samples=min(3000, len(X)), random_state=0).fit(X)  # fmt: skip
    print(f"{name} 784-300-100-10, pruned to {trim.density_:.1%} of the weights")

    pruned = trim.estimator_
    networks = {"original": original, "pruned": pruned, "pruned, compact": compact(pruned)}
    ways = routes(networks)
    for (way, network), predict in ways.items():
        labels = [predict(X_test[i : i + 1]) for i in range(len(X_test))]
        expected = networks[network].predict(X_test)
        assert np.array_equal(labels, expected), f"{way}, {network}: other labels"
    row = X_test[:1]
    contestants = {key: partial(warm, partial(predict, row)) for key, predict in ways.items()}
    times, _ = interleave(contestants, rounds=options.rounds)
    medians = {key: np.median(seconds) * 1e6 for key, seconds in times.items()}
    base = medians["scikit-learn", "original"]
    print(f"\n{'route':<14} {'network':<16} {'microseconds':>13} {'times faster':>13}")
    for (way, network), median in medians.items():
        print(f"{way:<14} {network:<16} {median:13.1f} {base / median:13.1f}")
    for way in ROUTES:
        if (way, "original") not in medians:
            print(f"{way:<14} not here: no compiler cc, or not installed")
    constants(networks)


if __name__ == "__main__":
    main()

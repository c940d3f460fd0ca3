"""What a pruned network saves: size of the file, time to predict, and when sparse arrays pay.

    python -m benchmarks.latency --mnist mnist.npz    # arrays X (pixels 0 to 255) and y
    python -m benchmarks.latency                      # the digits of scikit-learn
    python -m benchmarks.latency --layers             # only layers of made sizes and densities

Times are the best of several rounds in which all take turns, so that a busy machine slows them
alike. Set OMP_NUM_THREADS=1 for one thread: dense products use as many as they get, products with
scipy's sparse arrays always one.
"""

import argparse
import json
import pickle
import time
from copy import deepcopy
from functools import partial
from operator import matmul

import numpy as np
from scipy import sparse

from sknettrim import NetTrim

from ._data import digits, mnist, train, untrained

LAYERS = [(64, 100), (100, 10), (300, 100), (784, 300), (2000, 1000)]
DENSITIES = [0.02, 0.05, 0.1, 0.15, 0.2]


def main(argv=None):
    arguments = parse_arguments(argv)
    report = {"layers": layer_ratios(arguments)}
    if not arguments.layers:
        report |= measure_network(arguments)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", metavar="PATH", help="npz file with arrays X and y")
    parser.add_argument("--epsilon", type=float, default=0.32)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 10, 100, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--layers", action="store_true", help="only the table of single layers")
    parser.add_argument("--json", metavar="PATH", help="write the figures here as well")
    return parser.parse_args(argv)


# One network -----------------------------------------------------------------------------------


def measure_network(arguments):
    """Prune a network and compare all forms of it."""
    name, X, y = mnist(arguments.mnist) if arguments.mnist else digits()
    rows = np.arange(len(X)) < 0.8 * len(X)
    mlp = train(untrained((300, 100)), X[rows], y[rows])
    trim = NetTrim(
        mlp,
        epsilon=arguments.epsilon,
        scheme="cascade",
        inactive="budget",
        max_samples=min(3000, rows.sum()),
        random_state=0,
    ).fit(X[rows])
    print(f"\n{name}, test score {mlp.score(X[~rows], y[~rows]):.3f} before pruning")
    print(f"and {trim.score(X[~rows], y[~rows]):.3f} after\n\n{trim.summary()}\n")
    forms = {
        "original": mlp,
        "pruned": trim.estimator_,
        "sparse": deepcopy(trim).sparsify().estimator_,
        "compact": trim.compact(),
        "compact, sparse": deepcopy(trim).sparsify().compact(),
        "compact, inputs dropped": trim.compact(drop_inputs=True),
    }
    return {
        "data": name,
        "density": trim.density_,
        "sizes": compare_sizes(forms),
        "differences": compare_outputs(forms, X),
        "predict": compare_times(forms, X, arguments),
    }


def compare_sizes(forms):
    sizes = {name: len(pickle.dumps(form)) for name, form in forms.items()}
    print_head("form", "hidden layers", "pickle", "of the original")
    for name, size in sizes.items():
        mlp = forms[name][-1] if "dropped" in name else forms[name]
        share = size / sizes["original"]
        print_row(name, str(mlp.hidden_layer_sizes), f"{size:,}", f"{share:.3f}")
    return sizes


def compare_outputs(forms, X):
    """Largest difference of a probability from the pruned network's."""
    pruned = forms["pruned"]
    rng = np.random.default_rng(0)
    inputs = {"data": X[-1000:], "random": 10 * rng.standard_normal((1000, X.shape[1]))}
    differences = {}
    for name in list(forms)[1:]:
        differences[name] = {
            kind: float(np.abs(forms[name].predict_proba(A) - pruned.predict_proba(A)).max())
            for kind, A in inputs.items()
        }
    print()
    print_head("largest change", *inputs)
    for name, of_kind in differences.items():
        print_row(name, *[f"{value:.1e}" for value in of_kind.values()])
    return differences


def compare_times(forms, X, arguments):
    """Seconds of ``predict``, by rows."""
    print()
    print_head("predict, times faster", *[f"{rows} rows" for rows in arguments.rows])
    seconds = {}
    for rows in arguments.rows:
        A = np.resize(X, (rows, X.shape[1]))
        calls = {name: partial(form.predict, A) for name, form in forms.items()}
        seconds[rows] = take_turns(calls, arguments.rounds)
    times = [f"{1e6 * seconds[rows]['original']:.0f} us" for rows in arguments.rows]
    print_row("original", *times)
    for name in list(forms)[1:]:
        ratios = [seconds[rows]["original"] / seconds[rows][name] for rows in arguments.rows]
        print_row(name, *[f"{ratio:.2f}" for ratio in ratios])
    return seconds


# Single layers ---------------------------------------------------------------------------------


def layer_ratios(arguments):
    """Time of a product with dense weights over that with sparse ones."""
    rng = np.random.default_rng(0)
    print_head("layer, rows; times faster at", *[f"{density:.0%}" for density in DENSITIES])
    ratios = {}
    for p, m in LAYERS:
        for rows in arguments.rows:
            A = rng.standard_normal((rows, p))
            ratios[f"{p} x {m}, {rows}"] = product_ratios(A, m, rng, arguments.rounds)
        A = sparse.random_array((1000, p), density=0.05, format="csr", random_state=0)
        ratios[f"{p} x {m}, 1000 sparse"] = product_ratios(A, m, rng, arguments.rounds)
        for name in list(ratios)[-len(arguments.rows) - 1 :]:
            print_row(name, *[f"{ratio:.2f}" for ratio in ratios[name].values()])
    return ratios


def product_ratios(A, m, rng, rounds):
    """One such ratio for each density."""
    W = rng.standard_normal((A.shape[1], m))
    dense, compressed = {}, {}
    for density in DENSITIES:
        kept = np.where(rng.random(W.shape) < density, W, 0)
        dense[density] = partial(matmul, A, kept)
        compressed["sparse", density] = partial(matmul, A, sparse.csr_array(kept))
    seconds = take_turns(dense | compressed, rounds)
    return {density: seconds[density] / seconds["sparse", density] for density in DENSITIES}


def take_turns(calls, rounds):
    """The best time of each call, in seconds."""
    best = dict.fromkeys(calls, np.inf)
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def print_head(first, *others):
    print_row(first, *others)
    print("-" * (30 + 17 * len(others)))


def print_row(first, *others):
    print(f"{first:30}" + "".join(f"{other:>17}" for other in others), flush=True)


if __name__ == "__main__":
    main()

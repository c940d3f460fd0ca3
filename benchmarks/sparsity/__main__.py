"""Compare pruners at equal non-zeros per layer: ``python -m benchmarks.sparsity --help``."""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np

from . import ours, report
from .baselines import BASELINES, Layer
from .networks import NETWORKS

DENSITIES = (0.5, 0.2, 0.1, 0.05, 0.02)
# What the first table compares.
BEST, RIVAL = "refit, cascade", "exact OBS"


def main():
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    records = []
    for path in options.results:
        records += json.loads(path.read_text())
    for network in options.networks if not options.results else ():
        for seed in range(options.seeds):
            case = NETWORKS[network](seed, path=options.mnist)
            print(f"{network}, seed {seed}: {case.mlp.score(case.test, case.y_test):.3f}")
            for record in _compare(case, options.methods, options.densities):
                records.append({"network": network, "seed": seed, **record})
                print("  " + report.line(records[-1]), flush=True)
            # Hours of work are not lost with the last network.
            (options.output / "sparsity.json").write_text(json.dumps(records, indent=1))
    tables = report.tables(records)
    if {BEST, RIVAL} <= {record["method"] for record in records}:
        comparison = report.comparison(records, BEST, RIVAL)
        tables = f"### {BEST}, beside {RIVAL}\n\n{comparison}\n\n{tables}"
    (options.output / "sparsity.md").write_text(tables)
    report.draw(records, options.output / "sparsity.png")
    print(tables)


def _options():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparsity", description=__doc__)
    methods = [*BASELINES, *ours.SETTINGS]
    parser.add_argument("--mnist", metavar="PATH", help="npz file with X and y; else downloaded")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("output"))
    parser.add_argument(
        "--results", nargs="+", type=Path, default=[], help="report earlier runs, run nothing"
    )
    parser.add_argument("--quick", action="store_true", help="one small network, one seed")
    options = parser.parse_args()
    if options.quick:
        options.networks, options.seeds, options.densities = ["digits, alpha 1"], 1, (0.1,)
    return options


def _compare(case, methods, densities):
    """One record for each method and density; the first is the network as it was trained."""
    coefs, intercepts = case.mlp.coefs_, case.mlp.intercepts_
    counts = [[round(density * W.size) for density in densities] for W in coefs]
    yield _record("dense", 1.0, case, coefs, intercepts, 0.0)
    for method in methods:
        run = _baseline if method in BASELINES else _ours
        for density, (pruned, shifts, seconds) in zip(
            densities, run(case, method, counts), strict=True
        ):
            yield _record(method, density, case, pruned, shifts, seconds)


def _baseline(case, method, counts):
    """In parallel all densities of a layer come from one run, which shares out its seconds."""
    prune, cascade = BASELINES[method]
    if cascade:
        for layer_counts in zip(*counts, strict=True):
            yield _in_cascade(case, prune, layer_counts)
        return
    inputs = forward(case.mlp.coefs_, case.mlp.intercepts_, case.calibration)[:-1]
    begin = time.perf_counter()
    layers = [
        prune(Layer(A, W, b), count)
        for A, W, b, count in zip(
            inputs, case.mlp.coefs_, case.mlp.intercepts_, counts, strict=True
        )
    ]
    seconds = (time.perf_counter() - begin) / len(counts[0])
    for networks in zip(*layers, strict=True):
        yield [U for U, _ in networks], [c for _, c in networks], seconds


def _in_cascade(case, prune, counts):
    A, pruned, shifts = case.calibration, [], []
    original = forward(case.mlp.coefs_, case.mlp.intercepts_, A)
    begin = time.perf_counter()
    for inputs, W, b, count in zip(
        original[:-1], case.mlp.coefs_, case.mlp.intercepts_, counts, strict=True
    ):
        ((U, c),) = prune(Layer(A, W, b, inputs @ W + b), [count])
        pruned.append(U)
        shifts.append(c)
        A = np.maximum(A @ U + c, 0)
    return pruned, shifts, time.perf_counter() - begin


def _ours(case, method, counts):
    """Where layers see the same inputs at all densities, they share the epsilons tried."""
    coefs = case.mlp.coefs_
    original = forward(coefs, case.mlp.intercepts_, case.calibration)
    setting = dict(ours.SETTINGS[method])
    cascade = setting.pop("cascade")
    searches = {}
    for layer_counts in zip(*counts, strict=True):
        A, pruned, shifts, total = case.calibration, [], [], 0.0
        for layer, (W, count) in enumerate(zip(coefs, layer_counts, strict=True)):
            inputs = A if cascade else original[layer]
            if layer not in searches or (cascade and layer > 0):
                activation = "identity" if layer == len(coefs) - 1 else "relu"
                searches[layer] = ours.Search(
                    inputs, original[layer + 1], activation=activation, original_coef=W, **setting
                )
            U, c, seconds = searches[layer].at_most(count)
            pruned.append(U)
            shifts.append(c)
            total += seconds
            A = np.maximum(A @ U + c, 0)
        yield pruned, shifts, total


def forward(coefs, intercepts, X):
    """X and what each layer passes on; the output layer before its activation."""
    outputs = [X]
    for layer, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        Z = outputs[-1] @ W + b
        outputs.append(Z if layer == len(coefs) - 1 else np.maximum(Z, 0))
    return outputs


def _record(method, density, case, coefs, intercepts, seconds):
    pruned = copy.copy(case.mlp)
    pruned.coefs_, pruned.intercepts_ = coefs, intercepts
    original = forward(case.mlp.coefs_, case.mlp.intercepts_, case.test)[-1]
    moved = forward(coefs, intercepts, case.test)[-1] - original
    return {
        "method": method,
        "density": density,
        "nonzeros": [int(np.count_nonzero(U)) for U in coefs],
        "score": float(pruned.score(case.test, case.y_test)),
        "discrepancy": float(np.linalg.norm(moved) / np.linalg.norm(original)),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()

"""Train two networks on real data, prune them by Net-Trim, and compare: ``make demo``.

Prints one table and saves two pictures. Both data sets come with scikit-learn:

- digits: which of ten digits an 8 x 8 image shows (classification, 1,797 rows, 64 inputs);
- photo: the brightness of a pixel of a photograph, from the 40 pixels that remain of the 7 x 7
  around it when it and its eight neighbours are hidden (regression, 2,752 rows). The windows do
  not overlap, so that held-out rows share no pixel with training rows.
"""

import argparse
import copy
import time
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits, load_sample_image
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sknettrim import LayerWeightsDisplay, NetTrimCV, TrimPathDisplay, net_trim_path

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OUTPUT = Path("output")
EPSILONS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
# Scheme, inactive and refit, and how to draw it.
VARIANTS = {
    ("parallel", "strict", False): {
        "color": "#0072b2",
        "linestyle": "--",
        "markerfacecolor": "white",
    },
    ("parallel", "budget", False): {"color": "#0072b2"},
    ("cascade", "strict", False): {
        "color": "#d55e00",
        "linestyle": "--",
        "markerfacecolor": "white",
    },
    ("cascade", "budget", False): {"color": "#d55e00"},
    ("cascade", "budget", True): {"color": "#009e73"},
}
# The variant whose epsilon is chosen by cross-validation, and whose weights are drawn.
CHOSEN = ("cascade", "budget", True)


# Data and networks ---------------------------------------------------------------------------


def digits():
    X, y = load_digits(return_X_y=True)
    mlp = MLPClassifier(hidden_layer_sizes=(100, 50), max_iter=1000, random_state=0)
    return X, y, make_pipeline(MinMaxScaler(), mlp)


def photo():
    image = load_sample_image("china.jpg").mean(axis=2) / 255
    windows = np.lib.stride_tricks.sliding_window_view(image, (7, 7))[::10, ::10].reshape(-1, 49)
    visible = np.ones((7, 7), dtype=bool)
    visible[2:5, 2:5] = False
    mlp = MLPRegressor(hidden_layer_sizes=(100, 50), max_iter=1000, random_state=0)
    return windows[:, visible.ravel()], windows[:, 24], make_pipeline(StandardScaler(), mlp)


def keep_largest(model, density):
    """The usual baseline: the largest weights of the whole network stay, the others go."""
    model = copy.deepcopy(model)
    coefs = model[-1].coefs_
    sizes = np.sort(np.abs(np.concatenate([W.ravel() for W in coefs])))
    threshold = sizes[-round(density * len(sizes))]
    for W in coefs:
        W[np.abs(W) < threshold] = 0.0
    return model


# Table and curves ----------------------------------------------------------------------------

HEAD = (
    f"{'data':<7} {'scheme':<9} {'inactive':<9} {'refit':<6} {'epsilon':>7} {'density':>8}   "
    f"{'score':>7} {'pruned':>7} {'largest':>8}   {'moved by':>8} {'at most':>8}   {'seconds':>7}"
)
NOTES = """
density    share of the weights that are not zero
refit      whether weights are refitted on the support found, and more of them removed
score      accuracy (digits) or R2 (photo) on held-out rows, of the network as trained
pruned     the same of the network pruned by Net-Trim; nothing is retrained
largest    the same when as many weights are kept, the largest of the network
moved by   change of the network's output on the training rows, before the softmax, relative
at most    the bound on it that Net-Trim guarantees
*          chosen by NetTrimCV: the sparsest within one point of the score as trained, in
           cross-validation on the training rows"""


def compare(name, X, y, model, axis):
    """Train, prune along a path in every variant; print a line for each network, and plot.

    Returns the NetTrimCV that chose an epsilon.
    """
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    search = NetTrimCV(clone(model), cv=3, **options(CHOSEN)).fit(train, y_train)
    model.fit(train, y_train)
    kept, largest = [], []
    for variant, style in VARIANTS.items():
        path = net_trim_path(model, train, **options(variant))
        scheme, inactive, refit = variant
        display = TrimPathDisplay.from_path(
            path,
            test,
            y_test,
            chosen_epsilon=search.epsilon_ if variant == CHOSEN else None,
            ax=axis,
            name=f"Net-Trim, {scheme}, {inactive}{', refit' * refit}",
            plot_unpruned=variant == CHOSEN,
            plot_discrepancy=False,
            marker="o",
            markersize=5,
            **style,
        )
        baseline = [keep_largest(model, share).score(test, y_test) for share in path.densities]
        print_lines(name, variant, path, display, baseline)
        kept.extend(path.densities)
        largest.extend(baseline)
    order = np.argsort(kept)
    axis.plot(
        np.array(kept)[order],
        np.array(largest)[order],
        color="grey",
        linestyle=(0, (1, 1)),
        label="only the largest weights",
        zorder=1,
    )
    return search


def options(variant):
    scheme, inactive, refit = variant
    return {"epsilons": EPSILONS, "scheme": scheme, "inactive": inactive, "refit": refit}


def print_lines(name, variant, path, display, baseline):
    print()
    scheme, inactive, refit = variant
    moved = path.discrepancies[:, -1] / path.output_norms[-1]
    bounds = path.discrepancy_bounds[:, -1] / path.output_norms[-1]
    # A path is solved from its largest epsilon on, and read from its smallest.
    for i in reversed(range(len(path.epsilons))):
        print(
            f"{name:<7} {scheme:<9} {inactive:<9} {'yes' if refit else 'no':<6} "
            f"{path.epsilons[i]:7.2f} {path.densities[i]:8.1%}   "
            f"{display.unpruned_score:7.3f} {display.scores[i]:7.3f} "
            f"{baseline[i]:8.3f}   {moved[i]:8.3f} {bounds[i]:8.3f}   "
            f"{path.seconds[i].sum():7.1f}",
            "*" if path.epsilons[i] == display.chosen_epsilon else "",
            flush=True,
        )


# Pictures ------------------------------------------------------------------------------------

TITLES = {
    digits: "digits: which digit is it?",
    photo: "photo: a pixel from those around it",
}
# Where no curve is.
LEGENDS = {digits: "lower right", photo: "lower left"}


def trade_off():
    """Print the table, and draw its scores against density; returns the NetTrimCVs as well."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    searches = {}
    for axis, (make, title) in zip(axes, TITLES.items(), strict=True):
        searches[make] = compare(make.__name__, *make(), axis)
        axis.set(title=title, xlim=(0.008, 1), ylim=(0.3, 1.02))
        axis.grid(color="#e6e6e6")
        axis.legend(loc=LEGENDS[make], framealpha=1, edgecolor="none")
    return figure, searches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where to put the pictures")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    print(HEAD)
    print("-" * len(HEAD), end="")
    figure, searches = trade_off()
    print(NOTES)
    figure.savefig(folder / "trade_off.png", dpi=110)
    weights = LayerWeightsDisplay.from_estimator(searches[digits], image_shape=(8, 8))
    weights.figure_.savefig(folder / "weights.png", dpi=110)
    print(f"\nPictures: {folder / 'trade_off.png'}, {folder / 'weights.png'}")
    print(f"All of it took {time.perf_counter() - begin:.0f} seconds.")


if __name__ == "__main__":
    main()

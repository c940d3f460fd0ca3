"""Train two networks on real data, prune them by Net-Trim, and compare: ``make demo``.

Prints one table and saves one picture. Both data sets come with scikit-learn:

- digits: which of ten digits an 8 x 8 image shows (classification, 1,797 rows, 64 inputs);
- photo: the brightness of a pixel of a photograph, from the 40 pixels that remain of the 7 x 7
  around it when it and its eight neighbours are hidden (regression, 2,752 rows). The windows do
  not overlap, so that held-out rows share no pixel with training rows.
"""

import argparse
import copy
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from sklearn.datasets import load_digits, load_sample_image
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sknettrim import NetTrim

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter, NullFormatter

PICTURE = Path("output") / "trade_off.png"
EPSILONS = (0.02, 0.05, 0.1, 0.2, 0.3)
VARIANTS = [
    (scheme, inactive) for scheme in ("parallel", "cascade") for inactive in ("strict", "budget")
]
# The pruned digits network whose weights are drawn.
SHOWN = ("cascade", "budget", 0.1)


class Run(NamedTuple):
    """One pruned network, and what became of its score."""

    scheme: str
    inactive: str
    epsilon: float
    trim: NetTrim
    score: float
    magnitude: float


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


# Table ---------------------------------------------------------------------------------------

HEAD = (
    f"{'data':<7} {'scheme':<9} {'inactive':<9} {'epsilon':>7} {'density':>8}   "
    f"{'score':>7} {'pruned':>7} {'largest':>8}   {'moved by':>8} {'at most':>8}   {'seconds':>7}"
)
NOTES = """
density    share of the weights that are not zero
score      accuracy (digits) or R2 (photo) on held-out rows, of the network as trained
pruned     the same of the network pruned by Net-Trim; nothing is retrained
largest    the same when as many weights are kept, the largest of the network
moved by   change of the network's output on the training rows, before the softmax, relative
at most    the bound on it that Net-Trim guarantees"""


def compare(name, X, y, model):
    """Train, prune in every variant, print a line for each; returns score and runs."""
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    model.fit(train, y_train)
    score = model.score(test, y_test)
    size = np.linalg.norm(output(model, train))
    runs = []
    for scheme, inactive in VARIANTS:
        print()
        for epsilon in EPSILONS:
            begin = time.perf_counter()
            trim = NetTrim(model, epsilon=epsilon, scheme=scheme, inactive=inactive).fit(train)
            seconds = time.perf_counter() - begin
            pruned = trim.score(test, y_test)
            magnitude = keep_largest(model, trim.density_).score(test, y_test)
            runs.append(Run(scheme, inactive, epsilon, trim, pruned, magnitude))
            moved, bound = trim.discrepancy_[-1] / size, trim.discrepancy_bound_[-1] / size
            print(
                f"{name:<7} {scheme:<9} {inactive:<9} {epsilon:7.2f} {trim.density_:8.1%}   "
                f"{score:7.3f} {pruned:7.3f} {magnitude:8.3f}   {moved:8.3f} {bound:8.3f}   "
                f"{seconds:7.1f}",
                flush=True,
            )
    return score, runs


def output(model, X):
    """What the last layer computes, before the softmax."""
    A, mlp = model[:-1].transform(X), model[-1]
    for W, b in zip(mlp.coefs_[:-1], mlp.intercepts_[:-1], strict=True):
        A = np.maximum(A @ W + b, 0)
    return A @ mlp.coefs_[-1] + mlp.intercepts_[-1]


# Picture -------------------------------------------------------------------------------------

COLOURS = {"parallel": "#0072b2", "cascade": "#d55e00"}
LINES = {"strict": ("--", "o", "white"), "budget": ("-", "o", None)}
INK, GREY = "#222222", "#8a8a8a"


def draw(digits_model, results, path):
    """Weights before and after on the left, score against density on the right."""
    plt.rcParams.update({"font.size": 10, "text.color": INK, "axes.labelcolor": INK})
    figure = plt.figure(figsize=(14, 8.6))
    weights, curves = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    score, runs = results["digits"]
    shown = next(run for run in runs if (run.scheme, run.inactive, run.epsilon) == SHOWN)
    draw_weights(weights, digits_model[-1], shown, score)
    draw_scores(curves, results, shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_weights(figure, mlp, shown, score):
    pruned = shown.trim.estimator_[-1]
    rows = [
        (before, after, np.quantile(np.abs(before), 0.99))
        for before, after in zip(mlp.coefs_, pruned.coefs_, strict=True)
    ]
    figure.suptitle("The weights of the digits network; white is zero", x=0.53, y=0.98, fontsize=13)
    axes = figure.subplots(
        3,
        2,
        height_ratios=(1, 0.5, 0.2),
        gridspec_kw={
            "left": 0.075, "right": 0.985, "top": 0.91, "bottom": 0.125,
            "wspace": 0.05, "hspace": 0.16,
        },
    )  # fmt: skip
    names = (
        "64 pixels to 100 neurons,\none 8 x 8 image for each",
        "100 to 50 neurons",
        "50 neurons\nto 10 digits",
    )
    for number, (before, after, limit) in enumerate(rows):
        for axis, W in zip(axes[number], (before, after), strict=True):
            picture = axis.imshow(
                tiles(W / limit) if number == 0 else np.ma.masked_equal(W.T / limit, 0),
                cmap=colour_map(), vmin=-1, vmax=1, interpolation="nearest", aspect="auto",
            )  # fmt: skip
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_color("#bbbbbb")
            if number == 0:
                between = np.arange(8, 88, 9)
                axis.vlines(between, -0.5, 88.5, color="#d4d4d4", linewidth=0.7)
                axis.hlines(between, -0.5, 88.5, color="#d4d4d4", linewidth=0.7)
        axes[number, 0].set_ylabel(names[number])
        share = np.count_nonzero(after) / after.size
        axes[number, 1].set_title(f"{share:.0%} kept", fontsize=10, loc="right", pad=4)
    axes[0, 0].set_title(f"as trained: accuracy {score:.3f}", loc="left", fontsize=11)
    axes[0, 1].set_title(f"pruned: accuracy {shown.score:.3f}", loc="left", fontsize=11)
    bar = figure.colorbar(
        picture, cax=figure.add_axes((0.3, 0.08, 0.46, 0.018)), orientation="horizontal",
        ticks=(-1, 0, 1), extend="both",
    )  # fmt: skip
    bar.set_label("weight, as a share of the 99th percentile of its layer before pruning")
    bar.outline.set_visible(False)


def colour_map():
    """Blue and red with a step in the middle: what is kept, however small, is not white."""
    ends = np.concatenate([np.linspace(0.03, 0.40, 128), np.linspace(0.60, 0.97, 128)])
    return ListedColormap(matplotlib.colormaps["RdBu_r"](ends)).with_extremes(bad="white")


def tiles(W):
    """The columns of W as images in ten rows of ten, with a free line between them."""
    grid = np.ma.masked_all((89, 89))
    for j, column in enumerate(W.T):
        top, left = 9 * (j // 10), 9 * (j % 10)
        grid[top : top + 8, left : left + 8] = np.ma.masked_equal(column.reshape(8, 8), 0)
    return grid


def draw_scores(figure, results, shown):
    figure.suptitle("Held-out score against density", x=0.54, y=0.98, fontsize=13)
    axes = figure.subplots(
        2, 1, gridspec_kw={"left": 0.12, "right": 0.95, "top": 0.91, "bottom": 0.08, "hspace": 0.27}
    )
    titles = {
        "digits": ("digits: which digit is it?", "accuracy", 0.3),
        "photo": ("photo: a pixel from those around it", "coefficient of determination R²", 0.3),
    }
    for axis, (name, (score, runs)) in zip(axes, results.items(), strict=True):
        title, label, lowest = titles[name]
        axis.axhline(score, color=INK, linewidth=1)
        axis.plot(1, score, "s", color=INK, markersize=7, clip_on=False, zorder=5)
        axis.annotate(f"as trained: {score:.3f}", (0.052, score), xytext=(0, 4),
                      textcoords="offset points")  # fmt: skip
        by_density = sorted(runs, key=lambda run: run.trim.density_)
        axis.plot(
            [run.trim.density_ for run in by_density], [run.magnitude for run in by_density],
            ":", color=GREY, linewidth=1.6, label="only the largest weights of the network",
        )  # fmt: skip
        for scheme, inactive in VARIANTS:
            line, marker, face = LINES[inactive]
            chosen = [run for run in runs if (run.scheme, run.inactive) == (scheme, inactive)]
            axis.plot(
                [run.trim.density_ for run in chosen], [run.score for run in chosen],
                line, marker=marker, color=COLOURS[scheme], markersize=5.5, linewidth=1.6,
                markerfacecolor=face or COLOURS[scheme], label=f"Net-Trim, {scheme}, {inactive}",
            )  # fmt: skip
        axis.set_title(title, fontsize=11)
        axis.set(ylabel=label, xscale="log", xlim=(0.05, 1), ylim=(lowest, 1.02))
        axis.set_xticks((0.05, 0.1, 0.2, 0.3, 0.5, 1))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(color="#e6e6e6")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].annotate(
        "drawn on the left", (shown.trim.density_, shown.score), xytext=(18, -34),
        textcoords="offset points", arrowprops={"arrowstyle": "-", "color": INK},
    )  # fmt: skip
    axes[0].legend(loc="lower right", frameon=False)
    axes[1].set_xlabel("density: share of the weights that are kept")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PICTURE, help="the picture to write")
    path = parser.parse_args().output
    begin = time.perf_counter()
    print(HEAD)
    print("-" * len(HEAD), end="")
    models, results = {}, {}
    for make in (digits, photo):
        X, y, models[make.__name__] = make()
        results[make.__name__] = compare(make.__name__, X, y, models[make.__name__])
    print(NOTES)
    draw(models["digits"], results, path)
    print(f"\nPicture: {path}\nAll of it took {time.perf_counter() - begin:.0f} seconds.")


if __name__ == "__main__":
    main()

"""Lines, tables and a picture from the records of the benchmark."""

from collections import defaultdict
from math import nan, sqrt
from statistics import fmean, stdev


def line(record):
    """One record, as it is measured."""
    return (
        f"{record['method']:<20} density {record['density']:.2f}  score {record['score']:.3f}  "
        f"discrepancy {record['discrepancy']:.4f}  {record['seconds']:.1f} s"
    )


def tables(records):
    """A table in markdown for each network: means over seeds, discrepancy / score."""
    parts = []
    for network, methods in _means(records).items():
        dense = methods.pop("dense")[1.0]
        densities = sorted({d for cells in methods.values() for d in cells}, reverse=True)
        rows = [["method", *(f"{density:.0%}" for density in densities), "seconds"]]
        rows.append(["---"] * len(rows[0]))
        for method, cells in methods.items():
            shown = [
                f"{cells[d]['discrepancy']:.3f} / {cells[d]['score']:.3f}" if d in cells else ""
                for d in densities
            ]
            seconds = fmean(cell["seconds"] for cell in cells.values())
            rows.append([method, *shown, f"{seconds:.2g}"])
        parts.append(f"### {network}: score {dense['score']:.3f} as trained\n\n{_markdown(rows)}\n")
    return "\n".join(parts)


def _markdown(rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def comparison(records, ours, theirs):
    """A table in markdown of one method beside another, a line for each network.

    Mean discrepancy of `ours` over that of `theirs`, and by how much its score is higher: the mean
    over seeds with its standard error.
    """
    cells = defaultdict(lambda: defaultdict(dict))
    for record in records:
        cells[record["network"]][record["density"]][record["method"], record["seed"]] = record
    densities = sorted({d for of in cells.values() for d in of if d < 1}, reverse=True)
    rows = [["network", *(f"{density:.0%}" for density in densities), "mean"]]
    rows.append(["---"] * len(rows[0]))
    for network, of in cells.items():
        shown, ratios = [], []
        for density in (density for density in densities if density in of):
            pairs = [
                (of[density][ours, seed], of[density][theirs, seed])
                for method, seed in of[density]
                if method == ours
            ]
            means = (
                fmean(record["discrepancy"] for record in side) for side in zip(*pairs, strict=True)
            )
            ratios.append(next(means) / next(means))
            gains = [mine["score"] - other["score"] for mine, other in pairs]
            error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else nan
            shown.append(f"{ratios[-1]:.2f}, {fmean(gains):+.3f} ± {error:.3f}")
        rows.append([network, *shown, f"{fmean(ratios):.2f}"])
    return _markdown(rows)


def draw(records, path):
    """Discrepancy and score on test rows against density, a column of axes for each network."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    means = _means(records)
    figure = Figure(figsize=(3.6 * len(means), 6.4), layout="constrained")
    axes = figure.subplots(2, len(means), squeeze=False, sharex=True)
    names = dict.fromkeys(method for methods in means.values() for method in methods)
    names.pop("dense")
    colours = dict(zip(names, colormaps["tab20"].colors, strict=False))
    lines = {}
    for column, (network, methods) in zip(axes.T, means.items(), strict=True):
        column[0].set_title(network)
        dense = methods.pop("dense")[1.0]
        lines["as trained"] = column[1].axhline(dense["score"], color="grey", linewidth=0.8)
        for method, cells in methods.items():
            for ax, value in zip(column, ("discrepancy", "score"), strict=True):
                (lines[method],) = ax.plot(
                    list(cells),
                    [cell[value] for cell in cells.values()],
                    marker=".",
                    color=colours[method],
                )
        densities = sorted({density for cells in methods.values() for density in cells})
        column[1].set_xscale("log")
        column[1].set_xticks(densities, [f"{density:.0%}" for density in densities])
        column[1].minorticks_off()
        column[1].set_xlabel("share of weights kept")
    for ax in axes[0]:
        ax.set_yscale("log")
    axes[0, 0].set_ylabel("output discrepancy, relative")
    axes[1, 0].set_ylabel("score")
    figure.legend(
        lines.values(), lines, loc="outside lower center", ncols=min(len(lines), 2 * len(means))
    )
    figure.savefig(path, dpi=120)


def _means(records):
    """``{network: {method: {density: means over seeds}}}``, densities from the largest down."""
    groups = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in records:
        groups[record["network"]][record["method"]][record["density"]].append(record)
    return {
        network: {
            method: {
                density: {
                    value: fmean(record[value] for record in cell)
                    for value in ("discrepancy", "score", "seconds")
                }
                for density, cell in sorted(cells.items(), reverse=True)
            }
            for method, cells in methods.items()
        }
        for network, methods in groups.items()
    }

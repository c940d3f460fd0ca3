"""Lines, tables and a picture from the records of the benchmark."""

from collections import defaultdict
from statistics import fmean


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
            shown = [f"{cells[d]['discrepancy']:.3f} / {cells[d]['score']:.3f}" for d in densities]
            seconds = fmean(cell["seconds"] for cell in cells.values())
            rows.append([method, *shown, f"{seconds:.2g}"])
        body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        parts.append(f"### {network}: score {dense['score']:.3f} as trained\n\n{body}\n")
    return "\n".join(parts)


def draw(records, path):
    """Discrepancy and score on test rows against density, a column of axes for each network."""
    from matplotlib.figure import Figure

    means = _means(records)
    figure = Figure(figsize=(3.6 * len(means), 6.4), layout="constrained")
    axes = figure.subplots(2, len(means), squeeze=False, sharex=True)
    for column, (network, methods) in zip(axes.T, means.items(), strict=True):
        column[0].set_title(network)
        dense = methods.pop("dense")[1.0]
        column[1].axhline(dense["score"], color="grey", linewidth=0.8, label="as trained")
        for method, cells in methods.items():
            for ax, value in zip(column, ("discrepancy", "score"), strict=True):
                ax.plot(list(cells), [c[value] for c in cells.values()], marker=".", label=method)
                ax.set_xscale("log")
        column[1].set_xlabel("share of weights kept")
    axes[0, 0].set_ylabel("output discrepancy, relative")
    axes[1, 0].set_ylabel("score")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(means))
    figure.savefig(path, dpi=120)


def _means(records):
    """``{network: {method: {density: means over seeds}}}``, in the order of the records."""
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
                for density, cell in cells.items()
            }
            for method, cells in methods.items()
        }
        for network, methods in groups.items()
    }

"""The figures as tables and a picture; the tables of docs/benchmarks.md come from here."""

import re

# What is aimed at, for MNIST 784-300: at least this often faster, in at most so many passes.
FASTER = {"authors": {"strict": 30, "budget": 60}, "cvxpy": {"strict": 200, "budget": 200}}
PASSES = {"strict": 150, "budget": 60, "matched": 60}
# Largest powers of the growth of time, and memory in units of 8 (n m + n p) bytes.
POWERS = {"n": 1.1, "p": 2.1, "m": 1.1}
MEMORY = 3


def tables(results):
    """One Markdown table under each name for what was measured."""
    makers = {
        "contest": ("contest", contest_table),
        "worst": ("contest", worst_table),
        "scaling": ("scaling", scaling_table),
        "network": ("network", network_table),
        "reliability": ("reliability", reliability_table),
        "environment": ("environment", environment_line),
    }
    return {
        name: make(results[section])
        for name, (section, make) in makers.items()
        if section in results
    }


def markdown(head, rows):
    """A table; numbers are to be formatted already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


# Contest -------------------------------------------------------------------------------------


def find(contest, solver, setting):
    """One solver's figures; the authors have no budget, so theirs is the strict one."""
    if solver == "authors" and setting == "budget":
        setting = "strict"
    return next(s for s in contest["solves"] if (s["solver"], s["setting"]) == (solver, setting))


def ratio(contest, solver, setting):
    """How many times longer another solver takes than ours."""
    ours = find(contest, "sknettrim", setting)
    return find(contest, solver, setting)["seconds"] / ours["seconds"]


def memory_units(contest, solve):
    """Peak memory in units of the data and the responses in float64."""
    return solve["memory"] / (8 * contest["n"] * (contest["m"] + contest["p"]))


def contest_table(contests):
    head = [
        "data", "n x p x m", "epsilon", "solver", "time (s)", "passes", "memory (MB)", "l1 norm",
        "gap", "residual", "violation", "non-zeros", "ours is faster",
    ]  # fmt: skip
    return markdown(head, [row for contest in contests for row in _contest_rows(contest)])


def _contest_rows(contest):
    layer = [
        contest["data"],
        "{n} x {p} x {m}".format(**contest),
        f"{contest['epsilon']:g}",
    ]
    for solve in contest["solves"]:
        name = f"{solve['solver']}, {solve['setting']}"
        cost = [f"{solve['seconds']:.3g}", f"{solve['passes']:.0f}"]
        if solve["solver"] == "cvxpy":
            excess = solve["ours_above_sample"]
            found = ["", f"ours {excess:+.1e} on {solve['neurons']} neurons", "", "", "", ""]
            cost[0] += " (extrapolated)"
        else:
            name += f", rho {solve['rho']:g}" if "rho" in solve else ""
            found = [
                f"{solve['memory'] / 1e6:.3g} ({memory_units(contest, solve):.1f} units)",
                f"{solve['objective']:.6g}",
                *(f"{solve[error]:.1e}" for error in ("gap", "excess", "violation")),
                f"{solve['nonzeros']:,}",
            ]
        times = "" if solve["solver"] == "sknettrim" else _faster(contest, solve)
        yield [*layer, name, *cost, *found, times]


def _faster(contest, solve):
    settings = [solve["setting"]]
    if solve["solver"] == "authors" and settings == ["strict"]:
        settings.append("budget")
    return ", ".join(f"{s} {ratio(contest, solve['solver'], s):.0f} x" for s in settings)


def worst_table(contests):
    """The worst layer of MNIST, or of all where there is no MNIST, against each aim."""
    contests = [c for c in contests if c["data"] == "MNIST"] or contests
    rows = []
    for solver, aims in FASTER.items():
        for setting, aim in aims.items():
            worst = min(contests, key=lambda c: ratio(c, solver, setting))
            value = f"{ratio(worst, solver, setting):.0f} x"
            rows.append([f"{setting}: faster than {solver}", f"{aim} x", value, _where(worst)])
    for setting, aim in PASSES.items():
        worst = max(contests, key=lambda c: find(c, "sknettrim", setting)["passes"])
        passes = find(worst, "sknettrim", setting)["passes"]
        rows.append([f"{setting}: passes", f"at most {aim}", f"{passes:.0f}", _where(worst)])
    for setting in PASSES:
        worst = max(contests, key=lambda c: memory_units(c, find(c, "sknettrim", setting)))
        units = memory_units(worst, find(worst, "sknettrim", setting))
        rows.append([f"{setting}: memory", f"{MEMORY} units", f"{units:.1f} units", _where(worst)])
    return markdown(["aim", "wanted", "worst measured", "on"], rows)


def _where(contest):
    return "{data}, n {n}, epsilon {epsilon:g}".format(**contest)


# The other sections --------------------------------------------------------------------------


def scaling_table(scaling):
    rows = [
        [
            line["axis"],
            line["setting"],
            ", ".join(map(str, line["sizes"])),
            ", ".join(f"{seconds:.3g}" for seconds in line["seconds"]),
            f"{line['power']:.2f}",
            POWERS[line["axis"]],
        ]
        for line in scaling["lines"]
    ]
    return markdown(["axis", "setting", "sizes", "time (s)", "fitted power", "at most"], rows)


def network_table(network):
    shape = "-".join(map(str, network["shape"]))
    rows = [
        [f"training, {network['epochs']} epochs", f"{network['training']:.3g}", "1"],
        [
            f"NetTrim, epsilon {network['epsilon']:g}",
            f"{network['pruning']:.3g}",
            f"{network['pruning'] / network['training']:.2f}",
        ],
    ]
    head = [f"{network['data']} {shape}, {network['rows']} rows", "time (s)", "relative"]
    return markdown(head, rows)


def reliability_table(reliability):
    counts = reliability["counts"]
    verdicts = list(next(iter(counts.values())))
    total = {name: sum(c[name] for c in counts.values()) for name in verdicts}
    rows = [
        [kind, *(c[name] for name in verdicts)] for kind, c in (counts | {"all": total}).items()
    ]
    return markdown([f"tol = {reliability['tol']:g}", *verdicts], rows)


def environment_line(environment):
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items())
    pools = {"{internal_api} {version}".format(**pool) for pool in environment["blas"]}
    return (
        f"{environment['date'][:10]}; {environment['cores']} cores, {environment['system']}; "
        f"Python {environment['python']}, {versions}; BLAS: {', '.join(sorted(pools))}."
    )


# Page and picture ----------------------------------------------------------------------------


def update_page(page, reported):
    """Replace what stands between the marks ``<!-- table: name -->`` and ``<!-- end -->``."""
    text = page.read_text(encoding="utf-8")
    for name, table in reported.items():
        mark = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(mark, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.DOTALL)
    page.write_text(text, encoding="utf-8")


def draw(scaling, path):
    """Time against n, p and m, one panel each, with the fitted powers."""
    import matplotlib.pyplot as plt

    axes_names = {"n": "rows n", "p": "inputs p", "m": "neurons m"}
    figure, panels = plt.subplots(1, 3, figsize=(12, 4), sharey=True, layout="constrained")
    for panel, (axis, label) in zip(panels, axes_names.items(), strict=True):
        for line in (line for line in scaling["lines"] if line["axis"] == axis):
            name = f"{line['setting']}: power {line['power']:.2f}"
            panel.loglog(line["sizes"], line["seconds"], "o-", label=name)
        others = ", ".join(f"{k} = {v}" for k, v in scaling["base"].items() if k != axis)
        panel.set(xlabel=label, title=others)
        panel.set_xticks(line["sizes"], line["sizes"], minor=False)
        panel.minorticks_off()
        panel.grid(color="#e6e6e6")
        panel.legend(frameon=False)
    panels[0].set_ylabel("time of one solve, in seconds")
    figure.savefig(path, dpi=110)
    plt.close(figure)

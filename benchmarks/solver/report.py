"""The figures as tables and a picture; the tables of docs/benchmarks.md come from here."""

import re

from .._data import KINDS
from .program import SETTINGS
from .reliability import VERDICTS

# The aims: how many times faster than each other solver, in how many passes at most, ...
FASTER = {"authors": {"strict": 30, "budget": 60}, "cvxpy": {"strict": 200, "budget": 200}}
PASSES = {"strict": 150, "budget": 60, "matched": 60}
# ... memory in units of data and responses in float64, largest powers of the growth of time, ...
MEMORY = 3
POWERS = {"n": 1.1, "p": 2.1, "m": 1.1}
# ... a network relative to its training, a path relative to one solve, share of layers solved.
TRAINING, PATH, RELIABLE = 1, 5, 0.95

COUNTED = ("layers", *VERDICTS)


def tables(results):
    """One Markdown table, by name, for each part of what was measured."""
    makers = {
        "contest": ("contest", contest_table),
        "authors": ("contest", authors_table),
        "scaling": ("scaling", scaling_table),
        "network": ("network", network_table),
        "reliability": ("reliability", reliability_table),
        "environment": ("environment", environment_line),
    }
    made = {name: make(results[part]) for name, (part, make) in makers.items() if part in results}
    return {"aims": aims_table(results)} | made


def markdown(head, rows):
    """A table of cells that are formatted already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


# Contest -------------------------------------------------------------------------------------


def find(contest, solver, setting):
    """One solver's figures; the authors have no budget: theirs is the strict program there."""
    if solver == "authors" and setting == "budget":
        setting = "strict"
    return next(s for s in contest["solves"] if (s["solver"], s["setting"]) == (solver, setting))


def faster(contest, solver, setting):
    """How many times longer another solver takes than ours."""
    ours = find(contest, "sknettrim", setting)
    return find(contest, solver, setting)["seconds"] / ours["seconds"]


def passes(contest, setting):
    """What our solver takes, in passes."""
    return find(contest, "sknettrim", setting)["passes"]


def memory_units(contest, solver, setting):
    """Peak memory in units of the data and the responses in float64."""
    size = 8 * contest["n"] * (contest["m"] + contest["p"])
    return find(contest, solver, setting)["memory"] / size


def contest_table(contests):
    head = [
        "data", "n x p x m", "epsilon", "setting", "seconds", "passes", "memory", "l1 norm", "gap",
        "residual", "violation", "non-zeros", "authors", "cvxpy", "above cvxpy",
    ]  # fmt: skip
    rows = [
        [
            *_layer_cells(contest, setting),
            *_solve_cells(contest, "sknettrim", setting),
            *(
                f"{find(contest, other, setting)['seconds']:.3g} s, "
                f"{faster(contest, other, setting):.0f} x"
                for other in ("authors", "cvxpy")
            ),
            f"{find(contest, 'cvxpy', setting)['ours_above_sample']:+.0e}",
        ]
        for contest in contests
        for setting in SETTINGS
    ]
    return markdown(head, rows)


def authors_table(contests):
    head = [
        "data", "n x p x m", "epsilon", "setting", "seconds", "passes", "memory", "l1 norm", "gap",
        "residual", "violation", "non-zeros", "rho", "iterations",
    ]  # fmt: skip
    rows = [
        [
            *_layer_cells(contest, setting),
            *_solve_cells(contest, "authors", setting),
            f"{find(contest, 'authors', setting)['rho']:g}",
            find(contest, "authors", setting)["n_iter"],
        ]
        for contest in contests
        for setting in ("strict", "matched")
    ]
    return markdown(head, rows)


def _layer_cells(contest, setting):
    size = "{n} x {p} x {m}".format(**contest)
    return [contest["data"], size, f"{contest['epsilon']:g}", setting]


def _solve_cells(contest, solver, setting):
    solve = find(contest, solver, setting)
    return [
        f"{solve['seconds']:.3g}" + ("" if solve["converged"] else " (not converged)"),
        f"{solve['passes']:.0f}",
        f"{solve['memory'] / 1e6:.3g} MB, {memory_units(contest, solver, setting):.1f}",
        f"{solve['objective']:.6g}",
        *(f"{solve[error]:.1e}" for error in ("gap", "excess", "violation")),
        f"{solve['nonzeros']:,}",
    ]


# Aims ----------------------------------------------------------------------------------------


def aims_table(results):
    """The worst of what was measured against each aim; layers of a network count, not made ones.

    The aims are for MNIST on two cores and make little sense for the small data of a quick run.
    """
    rows = []
    if "contest" in results:
        rows += _contest_aims(results["contest"])
    if "scaling" in results:
        for axis, aim in POWERS.items():
            lines = [line for line in results["scaling"]["lines"] if line["axis"] == axis]
            worst = max(lines, key=lambda line: line["power"])
            cells = f"power of {axis}", f"<= {aim}", f"{worst['power']:.2f}", worst["setting"]
            rows.append((*cells, worst["power"] <= aim))
    if "network" in results:
        rows += _network_aims(results["network"])
    if "reliability" in results:
        rows += _reliability_aims(results["reliability"])
    head = ["aim", "wanted", "worst measured", "where", "met"]
    return markdown(head, [[*cells, "yes" if met else "no"] for *cells, met in rows])


def _contest_aims(contests):
    contests = [contest for contest in contests if contest["data"] not in KINDS]
    for solver, aims in FASTER.items():
        for setting, aim in aims.items():
            worst, where = _worst(min, contests, faster, solver, setting)
            name = f"{setting}: faster than {solver}"
            yield name, f">= {aim} x", f"{worst:.0f} x", where, worst >= aim
    for setting, aim in PASSES.items():
        worst, where = _worst(max, contests, passes, setting)
        yield f"{setting}: passes", f"<= {aim}", f"{worst:.0f}", where, worst <= aim
    for setting in SETTINGS:
        worst, where = _worst(max, contests, memory_units, "sknettrim", setting)
        yield f"{setting}: memory", f"<= {MEMORY}", f"{worst:.1f}", where, worst <= MEMORY


def _worst(extreme, contests, figure, *arguments):
    contest = extreme(contests, key=lambda contest: figure(contest, *arguments))
    where = "{data}, n = {n}, epsilon = {epsilon:g}".format(**contest)
    return figure(contest, *arguments), where


def _network_aims(network):
    name = "-".join(map(str, network["shape"]))
    relative = network["pruning"] / network["training"]
    yield "pruning / training", f"< {TRAINING}", f"{relative:.2f}", name, relative < TRAINING
    relative = network["path"] / network["smallest"]
    number = len(network["epsilons"])
    what = f"path of {number} / one fit"
    yield what, f"< {PATH}", f"{relative:.2f}", name, relative < PATH


def _reliability_aims(reliability):
    for tol, count in _by_tolerance(reliability).items():
        layers = count["layers"]
        share = 1 - count["warned"] / layers
        where = f"{layers} layers"
        name, reached = f"tol = {tol:g}", share >= RELIABLE
        yield f"{name} reached", f">= {RELIABLE:.0%}", f"{share:.1%}", where, reached
        yield f"{name}: false claims", "0", count["false"], where, count["false"] == 0


def _by_tolerance(reliability):
    totals = {}
    for count in reliability["counts"]:
        total = totals.setdefault(count["tol"], dict.fromkeys(COUNTED, 0))
        for name in COUNTED:
            total[name] += count[name]
    return totals


# The other sections --------------------------------------------------------------------------


def scaling_table(scaling):
    rows = [
        [
            line["axis"],
            line["setting"],
            ", ".join(map(str, line["sizes"])),
            ", ".join(f"{seconds:.3g}" for seconds in line["seconds"]),
            f"{line['power']:.2f}",
        ]
        for line in scaling["lines"]
    ]
    return markdown(["axis", "setting", "sizes", "seconds", "fitted power"], rows)


def network_table(network):
    epsilons = network["epsilons"]
    smallest = f"{min(epsilons):.2g}"
    path = f"net_trim_path, {len(epsilons)} epsilons from {max(epsilons):.2g} to {smallest}"
    rows = []
    for what, key, other in [
        (f"training, {network['epochs']} epochs", "training", None),
        (f"NetTrim, epsilon = {network['epsilon']:g}", "pruning", "training"),
        (f"NetTrim, epsilon = {smallest}", "smallest", None),
        (path, "path", "smallest"),
    ]:
        relative = f"{network[key] / network[other]:.2f}" if other else ""
        rows.append([what, f"{network[key]:.3g}", relative])
    shape = "-".join(map(str, network["shape"]))
    head = [f"{network['data']} {shape}, {network['rows']} rows", "seconds", "of the line above"]
    return markdown(head, rows)


def reliability_table(reliability):
    rows = []
    for tol, total in _by_tolerance(reliability).items():
        kinds = [count for count in reliability["counts"] if count["tol"] == tol]
        for count in (*kinds, {"kind": "all", **total}):
            rows.append([f"{tol:g}", count["kind"], *(count[name] for name in COUNTED)])
    return markdown(["tol", "kind", *COUNTED], rows)


def environment_line(environment):
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    pools = {"{internal_api} {version}".format(**pool) for pool in environment["blas"]}
    return (
        f"{environment['date'][:10]}; {environment['cores']} cores, {environment['system']}; "
        f"Python {environment['python']}, {versions}; BLAS: {', '.join(sorted(pools))}."
    )


# Page and picture ----------------------------------------------------------------------------


def update_page(page, made):
    """Replace what stands between ``<!-- table: name -->`` and ``<!-- end -->``."""
    text = page.read_text(encoding="utf-8")
    for name, table in made.items():
        mark = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = mark.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", text)
    page.write_text(text, encoding="utf-8")


def draw(scaling, path):
    """Time against n, p and m, one panel each, with the fitted powers."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    names = {"n": "rows n", "p": "inputs p", "m": "neurons m"}
    figure, panels = plt.subplots(1, 3, figsize=(12, 4), sharey=True, layout="constrained")
    for panel, (axis, name) in zip(panels, names.items(), strict=True):
        for line in (line for line in scaling["lines"] if line["axis"] == axis):
            label = f"{line['setting']}: power {line['power']:.2f}"
            panel.loglog(line["sizes"], line["seconds"], "o-", label=label)
            panel.set_xticks(line["sizes"], line["sizes"])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        others = ", ".join(f"{k} = {v}" for k, v in scaling["base"].items() if k != axis)
        panel.set(xlabel=name, title=others)
        panel.grid(color="#e6e6e6")
        panel.legend(frameon=False)
    panels[0].set_ylabel("seconds for one layer")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)

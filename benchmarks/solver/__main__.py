"""Measure the solver: ``python -m benchmarks.solver --help``, or ``make bench``."""

import argparse
import json
import os
from pathlib import Path
from typing import NamedTuple

from .._data import digits, first_layer, made_layer, mnist, trained
from .._measure import environment
from .contest import contest
from .network import network
from .reliability import reliability
from .report import draw, tables, update_page
from .scaling import scaling

SECTIONS = ("contest", "scaling", "network", "reliability")


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    hidden: tuple
    rows: tuple
    epsilons: tuple
    made: dict
    neurons: int
    base: dict
    sizes: dict
    path: int
    layers: int


FULL = Plan(
    rounds=3,
    hidden=(300, 100),
    rows=(2000, 8000),
    epsilons=(0.05, 0.2, 0.5),
    made={"n": 2000, "p": 400, "m": 200},
    neurons=4,
    base={"n": 4000, "p": 400, "m": 200},
    sizes={
        "n": (1000, 2000, 4000, 8000, 16000),
        "p": (100, 200, 400, 800, 1600),
        "m": (50, 100, 200, 400, 800),
    },
    path=20,
    layers=300,
)
QUICK = Plan(
    rounds=1,
    hidden=(50, 20),
    rows=(800,),
    epsilons=(0.2,),
    made={"n": 300, "p": 40, "m": 20},
    neurons=1,
    base={"n": 400, "p": 40, "m": 20},
    sizes={"n": (200, 400, 800), "p": (20, 40, 80), "m": (10, 20, 40)},
    path=20,
    layers=24,
)


def measure(plan, sections, data):
    """The figures of some sections, as the JSON file holds them, each time that there are more."""
    results = {"environment": environment(), "plan": plan._asdict()}
    if "contest" in sections:
        results["contest"] = []
        for figures in _contests(plan, data):
            results["contest"].append(figures)
            yield results
    if "scaling" in sections:
        results["scaling"] = scaling(plan.base, plan.sizes, rounds=plan.rounds)
        yield results
    if "network" in sections:
        some = data._replace(X=data.X[: max(plan.rows)], y=data.y[: max(plan.rows)])
        results["network"] = network(some, plan.hidden, rounds=plan.rounds, epsilons=plan.path)
        yield results
    if "reliability" in sections:
        results["reliability"] = reliability(plan.layers)
        yield results


def _contests(plan, data):
    how = {"rounds": plan.rounds, "neurons": plan.neurons}
    most = max(plan.rows)
    mlp = trained(data.X[:most], data.y[:most], plan.hidden)
    for rows in plan.rows:
        for epsilon in plan.epsilons:
            print(f"contest: {data.name}, {rows} rows, epsilon {epsilon}", flush=True)
            yield contest(data.name, *first_layer(mlp, data.X[:rows]), epsilon, **how)
    for kind in ("gaussian", "correlated", "relu features"):
        print(f"contest: {kind}", flush=True)
        yield contest(kind, *made_layer(kind, **plan.made), 0.2, **how)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.solver", description="Measure the default solver."
    )
    parser.add_argument("--quick", action="store_true", help="small data, one round: a smoke test")
    parser.add_argument(
        "--mnist",
        type=Path,
        default=os.environ.get("SKNETTRIM_MNIST"),
        help="npz file with X (pixels) and y; else the environment variable SKNETTRIM_MNIST, "
        "else OpenML",
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--rounds", type=int, help="of each measurement, the median counts")
    parser.add_argument("--rows", type=int, nargs="+", help="of MNIST, one contest for each")
    parser.add_argument(
        "--output", type=Path, default=Path("output") / "benchmarks", help="folder to write to"
    )
    parser.add_argument("--results", type=Path, help="report an earlier solver.json, run nothing")
    parser.add_argument("--page", type=Path, help="page whose marked tables are replaced")
    options = parser.parse_args(arguments)

    options.output.mkdir(parents=True, exist_ok=True)
    if options.results:
        results = json.loads(options.results.read_text())
    else:
        data = digits() if options.quick else mnist(options.mnist)
        plan = QUICK if options.quick else FULL
        plan = plan._replace(rounds=options.rounds or plan.rounds, rows=options.rows or plan.rows)
        path = options.output / "solver.json"
        # Much time goes into a full run: what it has is kept if it does not get to the end.
        for results in measure(plan, options.only, data):
            path.write_text(json.dumps(results, indent=1))
        print(f"\nFigures: {path}")
    report(results, options.output / "scaling.png", options.page)


def report(results, picture, page):
    """Print the tables, draw the picture, and bring both into the page if there is one."""
    made = tables(results)
    for name, table in made.items():
        print(f"\n{name}\n\n{table}")
    if "scaling" in results:
        draw(results["scaling"], picture)
    if page:
        if "scaling" in results:
            draw(results["scaling"], page.parent / "images" / picture.name)
        update_page(page, made)


if __name__ == "__main__":
    main()

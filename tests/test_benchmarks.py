"""The benchmarks measure what they say: their own mathematics, the baseline, the bookkeeping."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import _data, _measure, fine_tune, latency, single_row
from benchmarks.solver import __main__ as command
from benchmarks.solver import authors_admm, conic, report
from benchmarks.solver.program import SETTINGS, Program
from benchmarks.solver.reliability import ACCURATE, judge
from benchmarks.solver.scaling import power
from sknettrim._problem import LayerProblem


@pytest.fixture(params=SETTINGS)
def program(request):
    return Program(*_data.made_layer("relu features", 80, 12, 4), 0.1, request.param)


def test_program_measures_what_the_package_certifies(program):
    rng = np.random.default_rng(0)
    U, c = rng.standard_normal((12, 4)), rng.standard_normal(4)
    Xi = 0.01 * rng.standard_normal((80, 4))
    proof = LayerProblem(
        program.A,
        program.target,
        program.radius,
        matched=program.setting == "matched",
        inactive="strict" if program.setting == "strict" else "budget",
    ).certify(U, c, Xi)
    measured = program.measure(U, c)
    for name in ("objective", "excess", "violation"):
        np.testing.assert_allclose(measured[name], getattr(proof, name), err_msg=name)
    np.testing.assert_allclose(max(program.bound(Xi), 0.0), proof.dual_objective, atol=1e-12)


def test_no_dual_point_bounds_from_above_and_the_conic_one_is_tight(program):
    optimum, Xi = conic.solve(program, rescale=True, **ACCURATE)
    assert program.bound(Xi) == pytest.approx(optimum, rel=1e-6)
    rng = np.random.default_rng(0)
    for noise in (1e-3, 1e-2, 1e-1):
        point = Xi + noise * rng.standard_normal(Xi.shape)
        assert program.bound(point) <= optimum * (1 + 1e-8)


def test_conic_solver_finds_the_same_on_any_scale(program):
    optimum, _ = conic.solve(program)
    assert conic.solve(program, rescale=True)[0] == pytest.approx(optimum, rel=1e-5)


@pytest.mark.parametrize("rho", authors_admm.RHOS)
@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("setting", ["strict", "matched"])
def test_authors_admm_solves_the_same_program(setting, penalize_intercept, rho):
    program = Program(*_data.made_layer("gaussian", 60, 8, 3), 0.1, setting)
    theirs = authors_admm.solve(
        program.A,
        program.target,
        program.radius,
        matched=setting == "matched",
        rho=rho,
        penalize_intercept=penalize_intercept,
    )
    ours = program.trim(tol=1e-6, penalize_intercept=penalize_intercept)
    measured = program.measure(theirs.coef, theirs.intercept)
    if penalize_intercept:
        measured["objective"] += np.abs(theirs.intercept).sum()
    assert theirs.stopped
    assert measured["objective"] == pytest.approx(ours.objective, rel=1e-4)
    assert max(measured["excess"], measured["violation"]) < 1e-4


def test_authors_admm_is_given_up_in_time():
    program = Program(*_data.made_layer("gaussian", 60, 8, 3), 0.1, "strict")
    arguments = (program.A, program.target, program.radius)
    assert not authors_admm.solve(*arguments, matched=False, rho=10, max_iter=2).stopped
    assert authors_admm.solve(*arguments, matched=False, rho=10, seconds=0).n_iter == 0


def test_judge_finds_what_is_false(program):
    optimum, Xi = conic.solve(program, rescale=True, **ACCURATE)
    bound = program.bound(Xi)
    result = program.trim(tol=1e-4)

    def verdict(change=1.0, bound=bound, **claims):
        claims = {"coef": change * result.coef, "intercept": result.intercept, **claims}
        claim = SimpleNamespace(**({"converged": True} | claims))
        return judge(program, claim, optimum, bound, 1e-4)[0]

    assert verdict() == "confirmed"
    assert verdict(1.01) == "false"
    assert verdict(0.99) == "false"
    assert verdict(coef=_data.made_layer("gaussian", 12, 4, 4)[0]) == "false"
    assert verdict(bound=0.99 * optimum) == "undecided"
    assert verdict(1.01, converged=False) == "warned"


@pytest.mark.parametrize("kind", _data.KINDS)
def test_made_layers_have_their_shape_and_neurons_that_fire_sometimes(kind):
    A, Z = _data.made_layer(kind, 50, 7, 3)
    assert (A.shape, Z.shape) == ((50, 7), (50, 3))
    assert np.all((Z > 0).mean(axis=0) >= 0.15)
    assert np.all((Z > 0).mean(axis=0) <= 0.85)


def test_mnist_comes_from_a_file(tmp_path):
    X = np.full((6, 784), 255, dtype=np.uint8)
    np.savez(tmp_path / "some.npz", X=X, y=np.arange(6, dtype=np.uint8))
    name, X, y = _data.mnist(tmp_path / "some.npz", rows=5)
    assert (name, X.shape, X.max(), y.tolist()) == ("MNIST", (5, 784), 1.0, [0, 1, 2, 3, 4])


def test_without_network_mnist_is_made_and_says_so(monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(_data, "fetch_openml", fail)
    name, X, _ = _data.mnist(rows=20)
    assert (name, X.shape) == ("made", (20, 784))
    assert "no network" in capsys.readouterr().out


def test_peak_memory_is_what_is_held_at_a_time():
    def use():
        for _ in range(3):
            np.ones(10**6)

    assert 8e6 <= _measure.peak_memory(use) < 8.1e6


def test_contestants_take_turns_and_every_run_counts():
    order, ticks = [], []

    def contestant(name):
        def run():
            order.append(name)
            return float(len(order)), name.upper()

        return run

    times, outcomes = _measure.interleave(
        {name: contestant(name) for name in "ab"}, rounds=2, before=lambda: ticks.append(1)
    )
    assert (order, len(ticks)) == (["a", "b", "a", "b"], 4)
    assert (times, outcomes) == ({"a": [1.0, 3.0], "b": [2.0, 4.0]}, {"a": "A", "b": "B"})


def test_power_law_is_found():
    sizes = np.array([10, 20, 40])
    assert power(sizes, 3e-4 * sizes**1.5) == pytest.approx(1.5)


TINY = command.Plan(
    rounds=1,
    hidden=(6,),
    rows=(60,),
    epsilons=(0.2,),
    made={"n": 50, "p": 6, "m": 3},
    neurons=1,
    base={"n": 50, "p": 6, "m": 3},
    sizes={"n": (40, 80), "p": (4, 8), "m": (2, 4)},
    path=2,
    layers=6,
)


@pytest.fixture
def tiny(monkeypatch):
    """A quick run is one of a few seconds, whose times need not be good ones."""
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr(_measure, "SPIN", 0.0)


@pytest.mark.usefixtures("tiny")
def test_command_writes_figures_tables_and_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command.main(["--quick"])
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "output/benchmarks/solver.json").read_text())
    assert set(command.SECTIONS) < set(results)
    for contest in results["contest"]:
        for solve in contest["solves"]:
            assert solve["passes"] == pytest.approx(solve["seconds"] / contest["pass_seconds"])
            assert solve["seconds"] > 0
    assert (tmp_path / "output/benchmarks/scaling.png").stat().st_size > 0

    tables = report.tables(results)
    page = tmp_path / "page.md"
    marks = "".join(f"{name}:\n<!-- table: {name} -->\nold\n<!-- end -->\n" for name in tables)
    page.write_text(f"before\n{marks}after\n")
    for _ in range(2):  # replacing is repeatable
        command.main(["--results", "output/benchmarks/solver.json", "--page", str(page)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    for name, table in tables.items():
        assert table in printed
        assert text.count(table) == 1, name


@pytest.mark.usefixtures("tiny")
def test_what_was_measured_is_kept_if_the_command_does_not_get_to_the_end(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(command, "scaling", fail)
    with pytest.raises(MemoryError):
        command.main(["--quick", "--output", str(tmp_path)])
    kept = json.loads((tmp_path / "solver.json").read_text())
    assert len(kept["contest"]) == 4
    command.main(["--results", str(tmp_path / "solver.json"), "--output", str(tmp_path)])


def test_latency_compares_forms_with_the_same_outputs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latency, "LAYERS", [(30, 20)])
    monkeypatch.setattr(latency, "untrained", lambda hidden: _data.untrained(hidden, epochs=2))
    file = tmp_path / "latency.json"
    latency.main(["--rows", "20", "--rounds", "1", "--json", str(file)])
    report = json.loads(file.read_text(encoding="utf-8"))
    assert set(report["layers"]) == {"30 x 20, 20", "30 x 20, 1000 sparse"}
    assert report["sizes"]["compact, sparse"] < report["sizes"]["original"] / 5
    assert set(report["predict"]["20"]) == set(report["sizes"])
    for change in report["differences"].values():
        assert max(change.values()) < 1e-9
    assert "compact, inputs dropped" in capsys.readouterr().out


def test_fine_tuning_is_measured(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["", "--epsilons", "0.3", "--seeds", "1"])
    monkeypatch.setattr(fine_tune, "mnist", lambda path: _data.digits())
    monkeypatch.setattr(
        fine_tune, "trained", lambda X, y, _: _data.train(_data.untrained((40, 20)), X, y)
    )
    fine_tune.main()
    *_, line = capsys.readouterr().out.splitlines()
    _, _, _, original, pruned, tuned, won, *_ = line.split()
    assert float(original) > float(tuned) > float(pruned)
    expected = (float(tuned) - float(pruned)) / (float(original) - float(pruned))
    assert float(won.rstrip("%")) / 100 == pytest.approx(expected, abs=0.01)


def test_all_routes_of_a_single_row_lead_to_the_same(mlp, blobs, monkeypatch, capsys):
    pytest.importorskip("skl2onnx")
    monkeypatch.delitem(single_row.ROUTES, "C, emlearn")
    ways = single_row.routes({"small": mlp})
    assert len(ways) == 2 + bool(shutil.which("cc"))
    X = blobs[0].astype(np.float32)
    for predict in ways.values():
        labels = [predict(X[i : i + 1]) for i in range(len(X))]
        np.testing.assert_array_equal(labels, mlp.predict(X))
    single_row.constants({"small": mlp})
    assert f"{4 * (98 + 17) / 1000:.1f}" in capsys.readouterr().out

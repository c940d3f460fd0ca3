"""The examples run, and what they print before and after is what they promise."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs an example in an empty folder; returns what it prints."""

    def run_example(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def before_and_after(line, output):
    """The two numbers of a line of a table."""
    found = re.search(rf"^{line} +([\d,.]+) +([\d,.]+)$", output, re.MULTILINE)
    return [float(number.replace(",", "")) for number in found.groups()]


def test_microcontroller(run, tmp_path):
    output = run("microcontroller.py", "--output", "made/digits.h")
    before, after = before_and_after("bytes of constants", output)
    assert after < before / 8
    before, after = before_and_after("accuracy on held-out images", output)
    assert after > before - 0.03
    assert "digits_predict" in (tmp_path / "made" / "digits.h").read_text()
    if shutil.which("cc"):
        assert float(re.search(r"reads ([\d.]+)% of", output)[1]) > 99


def test_batch_scorer(run):
    output = run("batch_scorer.py", "--rows", "4000")
    lines = re.findall(r"^(.+?) +\((\d+), (\d+)\) +([\d,]+) +([\d.]+) ", output, re.MULTILINE)
    names, first, second, kept, accuracy = zip(*lines, strict=True)
    assert names == ("as trained", "pruned", "fine-tuned", "and compact")
    assert int(first[3]) < int(first[0]) / 2
    assert int(second[3]) < int(second[0]) / 2
    assert kept[1] == kept[2]
    assert float(accuracy[3]) > float(accuracy[1])
    assert "answers 100.0% of the rows" in output


def test_which_sensors(run):
    output = run("which_sensors.py")
    before, after = before_and_after("measurements", output)
    assert before == 30
    assert after < 20
    before, after = before_and_after("accuracy on held-out rows", output)
    assert after > before - 0.03
    assert "100% of the answers are the same" in output


def test_every_example_is_listed():
    listed = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"examples/{path.name}" in listed

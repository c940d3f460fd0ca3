"""The Python code of README.md and docs/ runs, each page from top to bottom."""

import re
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# A block that cannot run is preceded by a line <!-- not run: why -->
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: .+ -->\n+)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


def python_blocks(text):
    """Yield (line number, code) for each block to run."""
    for match in BLOCK.finditer(text):
        if not match["skip"]:
            yield text.count("\n", 0, match.start("code")) + 1, match["code"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    namespace = {"__name__": "__main__"}
    for line, code in python_blocks(page.read_text(encoding="utf-8")):
        # The blank lines before make a traceback name the line of the page.
        exec(compile("\n" * (line - 1) + code, page, "exec"), namespace)


def test_blocks_are_found_with_their_lines_and_skipped_only_with_a_reason():
    run, skipped, other = "```python\nx = 1\n```\n", "```python\n1 / 0\n```\n", "```\nno\n```\n"
    text = f"a\n{run}\n<!-- not run: slow -->\n{skipped}{other}"
    assert list(python_blocks(text)) == [(3, "x = 1\n")]

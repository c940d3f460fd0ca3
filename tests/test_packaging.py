import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import sknettrim

ROOT = Path(__file__).parents[1]


def test_import_leaves_heavy_libraries_alone():
    code = "import sys, sknettrim; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = set(run.stdout.split())
    assert "sknettrim" in modules
    assert modules.isdisjoint({"cvxpy", "clarabel", "matplotlib", "onnx"})


def test_public_names_exist():
    for name in sknettrim.__all__:
        assert hasattr(sknettrim, name), name


def test_version_is_that_of_the_installed_package():
    assert sknettrim.__version__ == version("sknettrim"), "stale installation: make distclean test"


def test_wheel_holds_the_package_and_nothing_else(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sknettrim").rglob("*.py")}
    assert files == sources

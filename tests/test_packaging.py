"""What is installed: the packages of the tree, their data, and nothing else at the top level."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from command import ROOT

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
HOMES = {"tasks", "optimizers", "analysis", "configs"}


def _tree() -> dict[str, str]:
    """Import name -> folder of every package in the tree; the links in carps_like are followed."""
    found = {}
    for home in ("carps_like", *sorted(HOMES)):
        for init in (ROOT / home).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT)
            if folder.parts[0] == "carps_like" and HOMES.intersection(folder.parts[1:2]):
                continue  # through a link
            name = ".".join(folder.parts)
            found[name if home == "carps_like" else f"carps_like.{name}"] = str(folder)
    return found


def test_the_list_of_packages_is_the_tree() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(_tree())
    assert SETUPTOOLS["package-dir"] == _tree()


def test_every_module_lies_in_a_listed_package() -> None:
    folders = set(SETUPTOOLS["package-dir"].values())
    for home in ("carps_like", *HOMES):
        for module in (ROOT / home).rglob("*.py"):
            parts = module.parent.relative_to(ROOT).parts
            if parts[0] == "carps_like" and HOMES.intersection(parts[1:2]):
                continue
            assert "/".join(parts) in folders, module


def test_the_links_in_the_package_lead_to_the_four_folders() -> None:
    for home in HOMES:
        assert (ROOT / "carps_like" / home).resolve() == ROOT / home


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed here, and the wheel is built without a network")
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed here")
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    _copy(source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "-q", "-w", str(out), str(source)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def _copy(target: Path) -> None:
    """The tree without what git ignores: builds leave folders behind."""
    import shutil

    ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", "results", "build", "*.egg*")
    shutil.copytree(ROOT, target, symlinks=True, ignore=ignored)


def test_a_wheel_holds_one_top_level_package(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {n for n in top if not n.endswith(".dist-info")} == {"carps_like"}


def test_a_wheel_holds_every_module_data_file_and_configuration(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package, folder in _tree().items():
        for module in (ROOT / folder).glob("*.py"):
            assert f"{package.replace('.', '/')}/{module.name}" in names
    for home, pattern in (("tasks", "data/**/*"), ("configs", "**/*.yaml")):
        files = [p for p in (ROOT / home).glob(pattern) if p.is_file()]
        assert files
        for path in files:
            if "__pycache__" not in path.parts:
                assert f"carps_like/{path.relative_to(ROOT)}" in names
    assert "carps_like/py.typed" in names


def test_a_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (entry,) = [n for n in wheel.namelist() if n.endswith("entry_points.txt")]
    assert "carps-like = carps_like.cli:main" in wheel.read(entry).decode()

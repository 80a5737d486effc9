"""Where data files are: the user's folder first, then the files that ship with the package."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path

from carps_like.errors import BadValue, MissingData

VARIABLE = "CARPS_LIKE_DATA"  # the environment variable that names the user's folder
SHIPPED = Path(__file__).resolve().parent / "data"


def user_folder() -> Path | None:
    """The folder that ``CARPS_LIKE_DATA`` names, or ``None`` when it is not set.

    Raises:
        BadValue: it is not a folder.
    """
    given = os.environ.get(VARIABLE, "")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise BadValue(f"the data folder {given!r} ({VARIABLE}) is not a folder")
    return folder


def shipped(relative: str) -> Path:
    """A file that ships with the package; its SHA-256 is compared once per process.

    Raises:
        MissingData: it is not there, or it is damaged.
    """
    return _checked(SHIPPED / relative)


def checked(path: Path) -> Path:
    """``path``, compared with its checksum if it ships with the package."""
    return _checked(path) if path.is_relative_to(SHIPPED) else path


@cache
def _checked(path: Path) -> Path:
    name = path.relative_to(SHIPPED).as_posix()
    if not path.is_file():
        raise MissingData(f"data file {name} is missing: pip install --force-reinstall carps-like")
    if hashlib.sha256(path.read_bytes()).hexdigest() != _checksums().get(name):
        raise MissingData(
            f"data file {name} is truncated or changed (its SHA-256 is not the one kept): "
            "pip install --force-reinstall carps-like"
        )
    return path


@cache
def _checksums() -> dict[str, str]:
    """SHA-256 by name of the binary files; written by ``scripts/data_checksums.py``."""
    sums: dict[str, str] = json.loads((SHIPPED / "checksums.json").read_text(encoding="utf-8"))
    return sums

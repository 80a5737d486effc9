"""An environment made once from its requirements, in a folder named by their hash.

A folder counts only once its marker is written, which is the last step: a half-built one is
removed and built anew. A lock file keeps two processes from building the same one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from carps_like.errors import BadValue, CarpsLikeError

_MARKER = "complete"
_ALWAYS = ("numpy", "orjson")  # what the server itself imports


@cache
def _instructions() -> str:
    """Hash of what this machine's CPU can do."""
    found = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found += sorted({x for x in lines if x.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


class BuildFailed(CarpsLikeError):
    """An environment could not be made; names the installer's last words."""


def home() -> Path:
    """Where environments live: ``CARPS_LIKE_ENVS``, else the user's cache folder."""
    given = os.environ.get("CARPS_LIKE_ENVS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "carps-like" / "envs"


@dataclass(frozen=True)
class Environment:
    """An interpreter with ``requirements`` (PEP 508 lines); ``name`` is for people.

    What is in ``build_with`` (programs, such as swig) is installed first and stands on the path
    while the requirements are.
    """

    name: str
    requirements: tuple[str, ...]
    build_with: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any], optimizer: str) -> Environment:
        """From a variant's ``environment``: ``{name: ..., requirements: [...], build: [...]}``.

        Raises:
            BadValue: no list of requirements, or a field that does not exist.
        """
        if not set(data) <= {"name", "requirements", "build"}:
            raise BadValue(
                f"environment of {optimizer!r} takes name, requirements and build, not {data}"
            )
        lines, tools = data.get("requirements") or "", data.get("build") or ()
        for field, given in (("requirements", lines), ("build", tools)):
            if isinstance(given, str) or not all(isinstance(x, str) for x in given):
                raise BadValue(f"environment of {optimizer!r} needs a list of strings as {field}")
        return cls(str(data.get("name") or optimizer), tuple(lines), tuple(tools))

    @property
    def data(self) -> dict[str, Any]:
        """What :meth:`of` reads."""
        found: dict[str, Any] = {"name": self.name, "requirements": list(self.requirements)}
        return found | ({"build": list(self.build_with)} if self.build_with else {})

    @property
    def key(self) -> str:
        """Hash of the requirements, the Python version and the platform."""
        version = ".".join(map(str, sys.version_info[:2]))
        lines = [*sorted({*self.requirements, *_ALWAYS}), version, sysconfig.get_platform()]
        lines += self.build_with
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        return home() / f"{self.name}-{self.key}"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def compiled(self) -> Path:
        """Where libraries may keep machine code: one folder for each set of CPU instructions, since
        nodes of a cluster share the environment.
        """
        return self.folder / "compiled" / _instructions()

    def bound_compiled(self, most: int = 40_000) -> None:
        """Delete the older half of what is compiled once it is more than ``most`` files.

        JAX writes some 120 small ones (1 MB) for each new shape of the data. It compiles again what
        another process deletes.
        """
        there = list(self.compiled.iterdir()) if self.compiled.is_dir() else []
        if len(there) <= most:
            return
        ages = []
        for file in there:
            with suppress(FileNotFoundError):
                ages.append((file.stat().st_mtime, file))
        for _, file in sorted(ages)[: len(ages) // 2]:
            with suppress(OSError):
                file.unlink()

    @property
    def ready(self) -> bool:
        return (self.folder / _MARKER).is_file()

    def versions(self) -> dict[str, str]:
        """Distribution -> version of all that is installed in it; empty unless ready."""
        if not self.ready:
            return {}
        places = [str(p) for p in self.folder.glob("lib*/python*/site-packages")]
        return {d.metadata["Name"]: d.version for d in distributions(path=places)}

    def build(self, say: Callable[[str], None] = lambda line: None) -> Path:
        """Make it unless it is there; its interpreter.

        ``uv`` installs where it is found, else ``pip``; torch by ``pip`` in any case, which
        knows of CPU builds that the machine's owner configured.

        Raises:
            BuildFailed: the installer failed; its last lines are in the message.
        """
        if self.ready:
            return self.python
        with self._locked():
            if (self.folder / _MARKER).is_file():  # another process has made it meanwhile
                return self.python
            say(f"building the environment {self.name!r} in {self.folder} (once)")
            shutil.rmtree(self.folder, ignore_errors=True)
            self._install()
            (self.folder / _MARKER).write_text("\n".join(self.requirements) + "\n")
        return self.python

    def remove(self) -> bool:
        """Delete it; whether there was one."""
        existed = self.folder.exists()
        shutil.rmtree(self.folder, ignore_errors=True)
        return existed

    def _install(self) -> None:
        uv = shutil.which("uv")
        torch = [r for r in self.requirements if r.split("=")[0].split(">")[0].strip() == "torch"]
        rest = [r for r in (*self.requirements, *_ALWAYS) if r not in torch]
        python = str(self.python)
        if uv:
            seed = ["--seed"] if torch else []
            self._call([uv, "venv", "-q", *seed, "-p", sys.executable, str(self.folder)])
        else:
            self._call([sys.executable, "-m", "venv", str(self.folder)])
        if self.build_with:
            by = [uv, "pip", "install", "-p", python] if uv else [python, "-m", "pip", "install"]
            self._call([*by, "-q", *self.build_with])
        if torch:
            self._call([python, "-m", "pip", "install", "-q", *torch])
        if uv:
            pinned = self._installed_torch() if torch else []
            self._call([uv, "pip", "install", "-q", "-p", python, *rest, *pinned])
        else:
            self._call([python, "-m", "pip", "install", "-q", *rest, *torch])

    def _installed_torch(self) -> list[str]:
        """torch as pip installed it, so that uv leaves it alone."""
        places = [str(p) for p in self.folder.glob("lib*/python*/site-packages")]
        found = (d for d in distributions(path=places) if d.metadata["Name"] == "torch")
        return [f"torch=={d.version}" for d in found]

    def _call(self, command: list[str]) -> None:
        environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environ["PATH"] = os.pathsep.join(
            [str(self.python.parent), environ.get("PATH", os.defpath)]
        )
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        if done.returncode:
            words = " ".join((done.stderr or done.stdout).split())[-400:]
            raise BuildFailed(f"environment {self.name!r} could not be built: {words}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

"""SLURM: an array of long-lived workers, from a script that anybody can read and submit again."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from carps_like.errors import BadRequest, BadValue, CarpsLikeError, UnknownName
from carps_like.local import THREADS

FOLDER = "slurm"  # in the results folder: scripts and the output of jobs
MAX_ARRAY_SIZE = 1001  # SLURM's default, where the cluster cannot be asked
_TOO_MANY = re.compile(r"MaxSubmit|submit limit|job count|too many jobs", re.IGNORECASE)


class SubmitFailed(CarpsLikeError):
    """``sbatch`` refused the job; the message is its own."""


@dataclass(frozen=True)
class Slurm:
    """The fields of ``configs/executor/slurm.yaml``.

    Raises:
        BadValue: a value of the wrong kind or out of range; names the field.
    """

    array: int = 100
    time: str | int = "04:00:00"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    memory_mb: int = 2000
    cpus: int = 1
    margin: int = 60
    max_running: int | None = None
    requeue: bool = True
    setup: str | None = None
    python: str | None = None
    options: Sequence[str] = ()
    script_only: bool = False

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Slurm:
        given = {k: v for k, v in data.items() if k != "name"}
        known = [f.name for f in fields(cls)]
        for key in given:
            if key not in known:
                raise UnknownName("field of executor=slurm", key, known)
        return cls(**given)

    def __post_init__(self) -> None:
        for name in ("array", "memory_mb", "cpus", "margin", "max_running"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if not whole and not (name == "max_running" and value is None):
                raise BadValue(f"executor.{name} must be a whole number above 0, not {value!r}")
        for name in ("partition", "account", "qos", "python"):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(r"[^\s\x00]+", str(value)):
                raise BadValue(f"executor.{name} must be one word, not {value!r}")
        for option in self.options:
            if not re.fullmatch(r"--?[A-Za-z][^\n\x00]*", str(option)):
                raise BadValue(f"executor.options: {option!r} is not an option of sbatch")
        if self.seconds <= self.margin:
            raise BadValue(
                f"executor.time={self.time!r} must be longer than executor.margin={self.margin} s"
            )

    @property
    def seconds(self) -> int:
        """The time limit in seconds; the forms that SLURM takes."""
        text = str(self.time)
        match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
        if not match:
            raise BadValue(f"executor.time must be like 04:00:00 or 2-12:00:00, not {self.time!r}")
        days, *rest = match.groups()
        parts = [int(p) for p in rest if p is not None]
        if days is not None:  # days-hours:minutes:seconds
            hours, minutes, seconds = (*parts, 0, 0)[:3]
        elif len(parts) == 3:
            hours, minutes, seconds = parts
        else:  # minutes:seconds, minutes
            hours, (minutes, seconds) = 0, (*parts, 0)[:2]
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def script(
    slurm: Slurm,
    folder: Path,
    generation: int,
    n_workers: int,
    *,
    about: str,
    trusted: Sequence[str] = (),
    paths: Sequence[str] = (),
    limited: bool = False,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The text of a batch script that works on a generation of a results folder."""
    results = folder.resolve()
    python = slurm.python or sys.executable
    lines = ["#!/bin/bash"]
    lines += [f"#SBATCH {option}" for option in _options(slurm, results, generation, n_workers)]
    lines += [
        "#",
        f"# {about}",
        "# Written by `carps-like submit`. What is to be done was fixed then, in plans/ beside it.",
        "# It can be submitted again at any time: finished runs are skipped, cut ones continued.",
        "",
        "set -u",
        "export PYTHONHASHSEED=0",
        *(f"export {name}={slurm.cpus}" for name in THREADS),
        *(f"export {k}={shlex.quote(v)}" for k, v in (environment or {}).items()),
        *([slurm.setup] if slurm.setup else []),
        "",
    ]
    command = [python, "-P", "-m", "carps_like.executors.array_task", str(results)]
    lines.append("# exec: the signals of SLURM reach the worker itself")
    lines.append("exec " + " ".join(map(shlex.quote, command)) + " \\")
    arguments = [["--generation", str(generation)], ["--threads", str(slurm.cpus)]]
    arguments += [["--seconds", str(slurm.seconds - slurm.margin)]]
    arguments += [["--limited"]] if limited else []
    arguments += [["--trust", target] for target in trusted]
    arguments += [["--path", path] for path in paths]
    lines.append(" \\\n".join("  " + " ".join(map(shlex.quote, a)) for a in arguments))
    return "\n".join(lines) + "\n"


def _options(slurm: Slurm, results: Path, generation: int, n_workers: int) -> list[str]:
    most = f"%{slurm.max_running}" if slurm.max_running else ""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", results.name)
    # SLURM reads '%' and backslashes in file names as patterns
    output = f"{str(results).replace('%', '%%')}/{FOLDER}/g{generation:03}-%A_%a.out"
    found = [f"--job-name=carps-like-{name}", f"--array=0-{n_workers - 1}{most}"]
    found += [f"--time={slurm.time}"]
    for key in ("partition", "account", "qos"):
        value = getattr(slurm, key)
        found += [f"--{key}={value}"] if value else []
    found += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={slurm.cpus}"]
    found += [f"--mem={slurm.memory_mb}M", f"--output={_quoted(output)}", "--open-mode=append"]
    found += [f"--signal=B:USR1@{slurm.margin}"]
    found += ["--requeue" if slurm.requeue else "--no-requeue"]
    return found + [str(option) for option in slurm.options]


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else '"' + text.replace('"', '\\"') + '"'


def script_path(folder: Path, generation: int) -> Path:
    return folder / FOLDER / f"g{generation:03}.sh"


@dataclass(frozen=True)
class Submitted:
    """An array that SLURM accepted."""

    job: str
    n_workers: int


def submit(path: Path, n_workers: int, max_running: int | None = None) -> list[Submitted]:
    """Hand a script to ``sbatch``, as several arrays where one would be too large.

    Where the cluster allows fewer jobs at once than asked for (``MaxSubmitJobs``), fewer are
    submitted: the workers that there are do all the work. Compare the sum of ``n_workers``.

    Raises:
        BadRequest: there is no ``sbatch`` here.
        SubmitFailed: it refused.
    """
    limit, left, accepted, error = max_array_size(), n_workers, list[Submitted](), ""
    while left and limit:
        n = min(left, limit)
        most = f"%{max_running}" if max_running else ""
        code, out, error = _call(["sbatch", "--parsable", f"--array=0-{n - 1}{most}", str(path)])
        if code == 0:
            accepted.append(Submitted(out.strip().partition(";")[0], n))
            left -= n
        elif _TOO_MANY.search(error):
            limit = n // 2
        else:
            break
    if not accepted:
        raise SubmitFailed(f"sbatch refused {path}: {_reason(error)}")
    return accepted


def max_array_size() -> int:
    """How many tasks an array can have: ``MaxArraySize`` is one above the highest index."""
    code, out, _ = _call(["scontrol", "show", "config"])
    match = re.search(r"MaxArraySize\s*=\s*(\d+)", out) if code == 0 else None
    return max(1, int(match.group(1)) if match else MAX_ARRAY_SIZE)


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (
        "; ".join(line.removeprefix("sbatch: error: ") for line in lines[:3]) or "no reason given"
    )


def _call(command: Sequence[str]) -> tuple[int, str, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise BadRequest(
            f"there is no {command[0]} here: submit from a login node of the cluster, or write "
            "the script only with executor.script_only=true"
        ) from None
    except subprocess.TimeoutExpired:
        raise SubmitFailed(f"{command[0]} did not answer within two minutes") from None
    return done.returncode, done.stdout, done.stderr

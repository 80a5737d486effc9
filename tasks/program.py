"""Any external program as a task, and a cache simulator that ships as one.

A program is a command line, a list of words or one string. In its words ``{name}`` is replaced by
the value of the hyperparameter ``name``, ``{fidelity}`` and ``{seed}`` by those of the evaluation,
``{config}`` by the path of a JSON file with all of them, and ``{result}`` by the path of a file
that the program may write. The same JSON object comes on its standard input. The answer is a JSON
object, in the result file if the command names one, else in the last line of standard output: a
number for each objective, and if it likes ``cost`` (seconds) and ``constraints`` (a list; satisfied
when <= 0). ::

    task = program_task(
        "compress", ["python3", "compress.py", "{level}", "{result}"], parameters, objectives
    )

The same in a file ``compress.yaml`` of a ``--config-dir``'s folder ``task``::

    _target_: carps_like.tasks.program.program_task
    command: "{python} /path/of/compress.py {result}"
    parameters: [{name: level, kind: int, lower: 1, upper: 19}]
    objectives: [{name: size, unit: bytes}]
    seconds: 60

A program that ends with another exit code than 0, or with no answer, gives a failed trial whose
error is the last line that it wrote; one that runs over ``seconds`` is ended with all its children
and gives a timeout, one that asks for more than ``mebibytes`` of memory runs out of memory.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks import _declared
from carps_like.tasks._declared import Parameter, one_of, ordered
from carps_like.tasks.simulators.cache import WORKLOADS
from carps_like.trial import Configuration, Outcome

_OURS = ("config", "fidelity", "result", "seed")
_PYTHON = "{python}"  # a first word that stands for this interpreter


_OWN = ("command", "parameters", "objectives", "fidelity", "seconds", "mebibytes", "inputs")


class ProgramTask(Task):
    """A command line as a task; ``metadata`` holds the command, its limits and fixed inputs."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        meta = description.metadata
        self._command: list[str] = list(meta["command"])
        self._inputs: dict[str, Any] = dict(meta.get("inputs", {}))
        self._seconds: float | None = meta.get("seconds")
        self._mebibytes: int | None = meta.get("mebibytes")
        self._check_command()

    def __reduce__(self) -> Any:
        return ProgramTask, (self.description,)

    def _check_command(self) -> None:
        known = [*_OURS, "python", *self._inputs, *self.description.space]
        for word in self._command:
            for field in _fields_of(word):
                if field not in known:
                    hint = did_you_mean(field, known, f"there are {', '.join(known)}")
                    raise BadValue(
                        f"the command of task {self.description.name!r} asks for "
                        f"{{{field}}}, which is no hyperparameter{hint}"
                    )

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        values = {**self._inputs, **config, "seed": 0 if seed is None else seed}
        declared = self.description.fidelity
        if declared is not None:
            values[declared.name] = values["fidelity"] = fidelity
        with tempfile.TemporaryDirectory(prefix="carps-like-") as folder:
            return self._outcome(self._run(values, Path(folder)))

    def _run(self, values: dict[str, Any], folder: Path) -> dict[str, Any]:
        text = json.dumps(values)
        (folder / "config.json").write_text(text, encoding="utf-8")
        result = folder / "result.json"
        slots: dict[str, Any] = {name: "" for name in self.description.space}
        slots |= values | {"config": folder / "config.json", "result": result}
        slots |= {"python": sys.executable, "fidelity": values.get("fidelity", "")}
        command = [word.format_map(_Slots(slots)) for word in self._command]
        output = self._call(command, text, folder)
        if result.is_file():
            output = result.read_text(encoding="utf-8")
        lines = output.strip().splitlines()
        try:
            found = json.loads(output) if result.is_file() else json.loads(lines[-1])
        except (IndexError, ValueError):
            last = lines[-1][:200] if lines else ""
            raise ValueError(f"{command[0]} gave no JSON object, but {last!r}") from None
        if not isinstance(found, dict):
            raise ValueError(f"{command[0]} gave no JSON object, but {found!r}")
        return found

    def _call(self, command: list[str], text: str, folder: Path) -> str:
        """Standard output; ends the whole process group when the time is over."""
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=_environment(command[0]),
                start_new_session=True,
                preexec_fn=partial(_limit, self._mebibytes) if self._mebibytes else None,
            )
        except OSError as error:
            raise RuntimeError(f"{command[0]} cannot be started: {error.strerror}") from None
        try:
            output, errors = process.communicate(text, timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{command[0]} ran over {self._seconds:g} s") from None
        finally:
            _end(process)
        if process.returncode:
            last = (errors.strip() or output.strip() or "no message").splitlines()[-1][:300]
            if self._mebibytes and "MemoryError" in errors:
                raise MemoryError(f"{command[0]} asked for more than {self._mebibytes} MiB")
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {last}")
        return output

    def _outcome(self, found: dict[str, Any]) -> Outcome:
        missing = [o.name for o in self.description.objectives if o.name not in found]
        if missing:
            known = [str(name) for name in found]
            raise ValueError(f"the program gave no {missing[0]!r}{did_you_mean(missing[0], known)}")
        return Outcome(
            {o.name: float(found[o.name]) for o in self.description.objectives},
            found.get("cost"),
            tuple(map(float, found.get("constraints", ()))),
        )


def _fields_of(word: str) -> list[str]:
    """What stands in braces; none where they are not in pairs, as in a script."""
    try:
        return [field for _, field, _, _ in string.Formatter().parse(word) if field is not None]
    except ValueError:
        return []


class _Slots(dict[str, Any]):
    """Leaves braces alone that name nothing, such as those of an awk script."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def _environment(program: str) -> dict[str, str]:
    """This process's own; our interpreter also finds what this process finds."""
    if program != sys.executable:
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _limit(mebibytes: int) -> None:
    import resource  # POSIX alone; without it, programs still run unlimited

    resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))


def _end(process: subprocess.Popen[str]) -> None:
    """Let nothing of the program live on."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def program_task(
    name: str,
    command: str | Sequence[str],
    parameters: Sequence[Parameter | Mapping[str, Any]],
    objectives: Sequence[Objective | Mapping[str, Any]],
    fidelity: Fidelity | Mapping[str, Any] | None = None,
    seconds: float | None = None,
    mebibytes: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    **declared: Any,
) -> ProgramTask:
    """A program as a task, usable by hand, from Python, or as ``_target_`` of a configuration.

    Args:
        name: the task's name.
        command: the command line, its words or one string that is split as a shell does (there
            is no shell); see the module for what is replaced.
        parameters: hyperparameters, as in ``carps_like.tasks._declared`` or as mappings with
            ``name``, ``kind`` (float, int, categorical, ordinal), ``lower``, ``upper``, ``log``,
            ``choices``, ``default``.
        objectives: at least one; a mapping has the fields of :class:`Objective`.
        fidelity: if the program has one; a mapping has the fields of :class:`Fidelity`.
        seconds: limit of an evaluation's real time.
        mebibytes: limit of its address space.
        inputs: values that are the same in every evaluation.
        declared: other fields of the :class:`TaskDescription`.

    Raises:
        BadValue: the command names a hyperparameter that there is not, or a field of a mapping is
            missing, unknown or makes no sense; the message names it.
    """
    here = f"of task {name!r}"
    made = tuple(_declared.read_parameter(p, here) for p in parameters)
    goals = tuple(_declared.read_objective(o, here) for o in objectives)
    if fidelity is not None:
        fidelity = _declared.read_fidelity(fidelity, here)
    for what, names in (("hyperparameters", made), ("objectives", goals)):
        if not names or len({n.name for n in names}) < len(names):
            raise BadValue(f"{what} {here} must be one or more, with different names")
    _declared.check_fields(TaskDescription, declared, f"task {name!r}", _OWN, needs=False)
    given: dict[str, Any] = {"kind": "program", "unit_cost": None, **_declared.counts(made)}
    metadata = {
        "command": shlex.split(command) if isinstance(command, str) else list(map(str, command)),
        "seconds": seconds,
        "mebibytes": mebibytes,
        "inputs": dict(inputs or {}),
    }
    description = TaskDescription(
        name=name,
        make_space=partial(_declared.space, made),
        objectives=goals,
        fidelity=fidelity,
        metadata=metadata,
        **(given | declared),
    )
    return ProgramTask(description)


# --- the simulator that ships ---

_CACHE = (
    ordered("size_kib", 1, 2, 4, 8, 16, 32, 64, 128, default=16),
    ordered("line_bytes", 16, 32, 64, 128, 256, default=64),
    ordered("ways", 1, 2, 4, 8, 16, default=4),
    one_of("policy", "lru", "fifo", "random"),
    one_of("write", "back", "through"),
    ordered("prefetch", 0, 1, 2, 4),
    ordered("banks", 1, 2, 4, 8, 16, default=8),
    ordered("row_bytes", 512, 1024, 2048, 4096, 8192, default=2048),
    one_of("interleave", "row", "line"),
)
ACCESSES = 20_000
_LENGTH = Fidelity(
    "accesses", 500, ACCESSES, True, "accesses", "in proportion to the trace", continuable=False
)
_LATENCY = Objective("latency", unit="cycles", lower=1.0, reference=200.0, penalty=200.0)
_ENERGY = Objective("energy", unit="pJ", lower=0.0, reference=8000.0, penalty=8000.0)
_AREA = Objective("area", unit="mm^2", lower=0.0, reference=5.0, penalty=5.0)


class Program(Collection):
    name = "program"

    def names(self) -> Iterator[str]:
        for workload in WORKLOADS:
            for kind in ("bb", "mf", "mo", "momf"):
                yield f"program-cache-{workload}-{kind}"

    def describe(self, name: str) -> TaskDescription:
        if name not in set(self.names()):
            raise self.unknown(name)
        workload, kind = name.split("-")[2:]
        multi = kind.endswith("mf")
        return TaskDescription(
            name=name,
            make_space=partial(_declared.space, _CACHE),
            objectives=(_LATENCY, _ENERGY, _AREA) if kind.startswith("mo") else (_LATENCY,),
            fidelity=_LENGTH if multi else None,
            collection="program",
            kind="program",
            evaluation_seconds=0.15,
            budget=Budget(trials=250, evaluations=50) if multi else Budget(trials=50),
            metadata={
                "command": [_PYTHON, "-m", "carps_like.tasks.simulators.cache"],
                "seconds": 600.0,  # some 4,000 times what it takes: no matter of a loaded machine
                "mebibytes": None,
                "inputs": {"workload": workload, "accesses": ACCESSES},
            },
            **_declared.counts(_CACHE),
        )

    def build(self, description: TaskDescription) -> ProgramTask:
        return ProgramTask(description)


collections = (Program(),)

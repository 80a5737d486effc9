"""YAHPO Gym (Pfisterer et al., 2022): neural surrogates of real hyperparameter optimization.

The networks are read by our own reader. One evaluation is one row through the network, always:
batched rows differ in the last bits, and a replay would not meet its log again. Version 1 names
its scenarios as YAHPO does; those of version 2 end in ``_v2``, those of 1.9 begin with ``fair_``.
Outputs are bit for bit those of ``yahpo_gym`` 1.0.2; it does not list versions 1.9 and 2, and there
they are those of its code under the entries of ``scenarios.json``.

The cost is the time that the network predicts, up to the fidelity. On 8 of the rbv2 instances it
falls, on the average, from the smallest training size to the largest.

The instance, the fidelity and ``repl`` (fixed at 10) are inputs of the network but no
hyperparameters. ``f1`` is no objective: it is nearly constant on half of the instances.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from carps_like.budget import Budget
from carps_like.description import TYPES, Fidelity, Objective, TaskDescription
from carps_like.errors import MissingData
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks import _jsonspace
from carps_like.tasks._data import SHIPPED, checked, user_folder
from carps_like.trial import Configuration, Outcome

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

_GET = "git clone https://github.com/slds-lmu/yahpo_data and name it with data=PATH"
_SOURCE = "best known: 2,000 evaluations of scripts/yahpo_statistics.py"
_REPL = 10  # cross-validation folds that the score is averaged over
_SHARES = ("acc", "mmce", "feo", "val_accuracy")  # in [0, 1], or [0, 100] %
_UNITS = {"time": "s", "runtime": "s", "timetrain": "s", "memory": "MB"}


@dataclass(frozen=True)
class Scenario:
    """One network with its spaces and instances; ``meta`` is its entry in ``scenarios.json``."""

    key: str
    folder: Path
    meta: Mapping[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / str(self.meta["files"][2])

    @cached_property
    def config_space(self) -> dict[str, Any]:
        return _read(self.folder / self.meta["files"][0])

    @cached_property
    def encoding(self) -> dict[str, dict[Any, int]]:
        return _read(self.folder / self.meta["files"][1])

    @cached_property
    def parameters(self) -> dict[str, dict[str, Any]]:
        return {h["name"]: h for h in self.config_space["hyperparameters"]}

    @cached_property
    def instances(self) -> tuple[str, ...]:
        if self.meta["instance"] is None:
            return ("CIFAR10",)
        return tuple(sorted(self.parameters[self.meta["instance"]]["choices"], key=int))

    @cached_property
    def removed(self) -> tuple[str, ...]:
        """Inputs of the network that are no hyperparameters."""
        return tuple(n for n in (self.meta["instance"], self.meta["fidelity"], "repl") if n)

    @cached_property
    def counts(self) -> dict[str, Any]:
        return _jsonspace.counts(self.config_space, self.removed)

    @cached_property
    def trials(self) -> int:
        """The budget of YAHPO's own suites: 20 + 40 sqrt(number of hyperparameters)."""
        return math.ceil(20 + 40 * math.sqrt(sum(self.counts.values())))

    @cached_property
    def fidelity(self) -> Fidelity:
        name = self.meta["fidelity"]
        data = self.parameters[name]
        if name == "epoch":
            law = "the network's own time, cumulative over the epochs"
            return Fidelity(name, data["lower"], data["upper"], True, "epochs", law)
        law = "the network's own time, of a training from scratch"
        ends = (float(data["lower"]), float(data["upper"]))
        return Fidelity(name, *ends, unit="share of the data", cost_law=law, continuable=False)

    @cached_property
    def budgets(self) -> tuple[Budget, Budget]:
        """Without and with a fidelity."""
        return Budget(trials=self.trials), Budget(10 * self.trials, evaluations=self.trials)

    def objective(self, name: str, instance: str) -> Objective:
        """Best and worst known values are those of ``statistics.json``, where it has them."""
        minimize = name not in self.meta["maximized"]
        known = _statistics().get(self.key, {}).get(instance, {}).get(name)
        best, worst = known if known else (None, None)
        unit = _UNITS.get(name, "%" if self.key in ("lcbench", "nb301") else "")
        lower, upper = (0.0, 100.0 if unit == "%" else 1.0) if name in _SHARES else (None, None)
        return Objective(name, minimize, unit, lower, upper, best, worst, worst)


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingData(f"YAHPO file {path} cannot be read ({error}): {_GET}") from None
    return data


@cache
def _metadata() -> dict[str, dict[str, Any]]:
    return _read(SHIPPED / "yahpo" / "scenarios.json")


@cache
def _statistics() -> dict[str, dict[str, dict[str, Any]]]:
    """Scenario -> instance -> output -> [best known, worst known]; also ``cost``, seconds."""
    return _read(SHIPPED / "yahpo" / "statistics.json")


def scenarios() -> Mapping[str, Scenario]:
    """What the user's folder and the package offer, by key."""
    return _scenarios(user_folder())


@cache
def _scenarios(user: Path | None) -> Mapping[str, Scenario]:
    roots = [SHIPPED / name for name in ("yahpo", "yahpo_v1_9", "yahpo_v2")]
    if user is not None:
        roots = [user, user / "yahpo_data", *(user / root.name for root in roots), *roots]
    found = {}
    for key, meta in _metadata().items():
        folders = [root / key.removesuffix("_v2") for root in roots]
        here = [f for f in folders if (f / meta["files"][0]).is_file()]
        complete = [f for f in here if (f / meta["files"][2]).is_file()]
        if here:
            found[key] = Scenario(key, (complete or here)[0], meta)
    return found


@cache
def _space(key: str) -> ConfigurationSpace:
    found = scenarios()[key]
    return _jsonspace.space(found.config_space, found.removed)


@cache
def _session(model: Path) -> Any:
    """One session per process and model file, on one thread: more threads cost more CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(checked(model)), options, providers=["CPUExecutionProvider"]
        )
    except MissingData:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise MissingData(f"model file {model} cannot be read ({reason}): {_GET}") from None


class YahpoTask(Task):
    """One instance of a scenario. ``cost`` is the network's own prediction of the time."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        key, instance = description.metadata["scenario"], description.metadata["instance"]
        scenario = scenarios()[key]
        meta = scenario.meta
        self._session = _session(scenario.model)
        self._cat = np.zeros((1, len(meta["categorical"])), np.int32)
        self._cont = np.zeros((1, len(meta["continuous"])), np.float32)
        names = [i.name for i in self._session.get_inputs()]
        self._inputs = {names[0]: self._cat, names[1]: self._cont}
        self._outputs = [self._session.get_outputs()[0].name]
        fixed = {meta["instance"]: instance, "repl": _REPL}
        # what is absent from a configuration is fixed, or inactive: "#na#", whose code is 0
        self._codes: list[tuple[str, dict[Any, int]]] = []
        for name in meta["categorical"]:
            codes = scenario.encoding[name]
            self._codes.append(
                (name, codes | {None: codes[str(fixed[name])] if name in fixed else 0})
            )
        self._numbers = [(name, fixed.get(name, 0.0)) for name in meta["continuous"]]
        self._put_cat: Callable[..., None] = Struct(f"{self._cat.size}i").pack_into
        self._put_cont: Callable[..., None] = Struct(f"{self._cont.size}f").pack_into
        self._fidelity = meta["continuous"].index(meta["fidelity"])
        self._full = scenario.fidelity.upper
        self._wanted = [(o.name, meta["outputs"].index(o.name)) for o in description.objectives]
        self._runtime = [meta["outputs"].index(name) for name in meta["runtime"]]

    def __reduce__(self) -> Any:
        return YahpoTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        get = config.get
        self._put_cat(self._cat, 0, *[codes[get(name)] for name, codes in self._codes])
        numbers = [get(name, fixed) for name, fixed in self._numbers]
        numbers[self._fidelity] = self._full if fidelity is None else fidelity
        self._put_cont(self._cont, 0, *numbers)
        row = self._session.run(self._outputs, self._inputs)[0][0].tolist()
        cost = sum([max(0.0, row[i]) for i in self._runtime])
        return Outcome({name: row[i] for name, i in self._wanted}, cost)


@cache
def _objectives(key: str, instance: str, n: int) -> tuple[Objective, ...]:
    scenario = scenarios()[key]
    return tuple(scenario.objective(name, instance) for name in scenario.meta["objectives"][:n])


class Yahpo(Collection):
    name, requires = "yahpo", ("onnxruntime",)

    def names(self) -> Iterator[str]:
        for key, scenario in scenarios().items():
            for instance in scenario.instances:
                for kind in TYPES:
                    yield f"yahpo-{key}-{instance}-{kind}"

    def describe(self, name: str) -> TaskDescription:
        parts = name.split("-")
        if len(parts) != 4 or parts[0] != "yahpo" or parts[3] not in TYPES:
            raise self.unknown(name)
        _, key, instance, kind = parts
        scenario = scenarios().get(key)
        if scenario is None and key in _metadata():
            raise MissingData(f"task {name!r} needs the files of YAHPO scenario {key!r}: {_GET}")
        if scenario is None or instance not in scenario.instances:
            raise self.unknown(name)
        fidelity = scenario.fidelity if kind.endswith("mf") else None
        cost = _statistics().get(key, {}).get(instance, {}).get("cost")
        return TaskDescription(
            name=name,
            make_space=partial(_space, key),
            objectives=_objectives(key, instance, 2 if kind.startswith("mo") else 1),
            fidelity=fidelity,
            collection="yahpo",
            kind="surrogate",
            optimum_source=_SOURCE if cost else "",
            evaluation_seconds=1e-4,
            unit_cost=cost or 1.0,
            budget=scenario.budgets[fidelity is not None],
            metadata={
                "scenario": key,
                "instance": instance,
                "version": scenario.meta["version"],
                "repl": _REPL if "repl" in scenario.parameters else None,
            },
            **scenario.counts,
        )

    def build(self, description: TaskDescription) -> YahpoTask:
        return YahpoTask(description)

    def missing_data(self, description: TaskDescription) -> str:
        model = scenarios()[description.metadata["scenario"]].model
        if model.is_file():
            return ""
        return f"task {description.name!r} needs the model file {model}: {_GET}"


collections = (Yahpo(),)

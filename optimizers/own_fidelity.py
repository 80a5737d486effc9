"""Multi-fidelity optimizers of our own: successive halving, Hyperband, ASHA, and PBT.

Each trial's ``info`` tells its bracket and rung; a promotion continues the trial of the same
configuration one rung below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from carps_like.description import Fidelity, TaskDescription
from carps_like.errors import BadValue
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._brackets import halving, hyperband, rungs
from carps_like.optimizers._common import TRIES, no_legal
from carps_like.space import Cube, Param, Sampler
from carps_like.trial import Result, Trial, Value

_NEEDS = Capabilities(fidelity="needs", conditions="native")
_Config = dict[str, Value]


def _fidelity(task: TaskDescription) -> Fidelity:
    assert task.fidelity is not None  # the capabilities say so
    return task.fidelity


@dataclass
class _Entry:
    """A configuration on a rung, with the trial that evaluated it there."""

    config: _Config
    number: int
    value: float = np.inf  # inf: still open, or failed
    ok: bool = False
    promoted: bool = False


class SuccessiveHalving(Optimizer):
    """Synchronous successive halving (Jamieson and Talwalkar, 2016), bracket after bracket.

    A rung waits for all its trials; then the best 1/eta go on.
    """

    capabilities = _NEEDS

    def __init__(self, task: TaskDescription, seed: int, eta: float = 3) -> None:
        self._rungs = rungs(_fidelity(task), eta)
        self._brackets = self._plan(len(self._rungs), eta)
        self._sampler = Sampler(task.checker, seed)
        self._asked = 0
        self._bracket = self._step = 0
        self._open: list[_Entry] = []
        self._queue: list[tuple[_Config | None, int | None]] = []
        self._waiting = 0

    def _plan(self, n_rungs: int, eta: float) -> list[list[tuple[int, int]]]:
        return [halving(n_rungs, eta)]

    def ask(self) -> Trial | None:
        if not self._queue:
            if self._waiting:
                return None
            self._advance()
        promoted, continues = self._queue.pop(0)
        bracket = self._brackets[self._bracket % len(self._brackets)]
        rung = bracket[self._step][0]
        config = self._sample(rung) if promoted is None else promoted
        entry = _Entry(config, self._asked)
        self._open.append(entry)
        self._asked += 1
        self._waiting += 1
        info = {"bracket": self._bracket, "rung": rung}
        return Trial(config, self._rungs[rung], continues, info, tag=entry)

    def _advance(self) -> None:
        """The next rung of the bracket, or the first one of the next bracket."""
        bracket = self._brackets[self._bracket % len(self._brackets)]
        if self._open:
            good = sorted((e for e in self._open if e.ok), key=lambda e: e.value)
            self._step += 1
            if self._step < len(bracket) and good:
                keep = good[: bracket[self._step][1]]
                self._queue = [(e.config, e.number) for e in keep]
                self._open = []
                return
            self._bracket += 1
        bracket = self._brackets[self._bracket % len(self._brackets)]
        self._step, self._open = 0, []
        self._queue = [(None, None)] * bracket[0][1]

    def _sample(self, rung: int) -> _Config:
        """A new configuration, to begin at ``rung``."""
        return self._sampler.sample()

    def tell(self, trial: Trial, result: Result) -> None:
        trial.tag.value, trial.tag.ok = result.value, result.ok
        self._waiting -= 1


class Hyperband(SuccessiveHalving):
    """Hyperband (Li et al., 2018): brackets of successive halving that begin at every rung."""

    def _plan(self, n_rungs: int, eta: float) -> list[list[tuple[int, int]]]:
        return hyperband(n_rungs, eta)


class Asha(Optimizer):
    """Asynchronous successive halving (Li et al., 2020): never waits.

    A configuration in the best 1/eta of a rung is promoted as soon as there is one, from the
    highest rung down; else a new one begins at the lowest.
    """

    capabilities = _NEEDS

    def __init__(self, task: TaskDescription, seed: int, eta: float = 3) -> None:
        self._levels = rungs(_fidelity(task), eta)
        self._eta = eta
        self._sampler = Sampler(task.checker, seed)
        self._done: list[list[_Entry]] = [[] for _ in self._levels]
        self._asked = 0

    def ask(self) -> Trial:
        rung, below = self._promotion()
        config = below.config if below else self._sampler.sample()
        entry = _Entry(config, self._asked)
        self._asked += 1
        continues = below.number if below else None
        return Trial(config, self._levels[rung], continues, {"rung": rung}, tag=(rung, entry))

    def _promotion(self) -> tuple[int, _Entry | None]:
        for rung in range(len(self._levels) - 2, -1, -1):
            done = self._done[rung]
            best = sorted(done, key=lambda e: e.value)[: int(len(done) / self._eta)]
            for entry in best:
                if entry.ok and not entry.promoted:
                    entry.promoted = True
                    return rung + 1, entry
        return 0, None

    def tell(self, trial: Trial, result: Result) -> None:
        rung, entry = trial.tag
        entry.value, entry.ok = result.value if result.ok else np.inf, result.ok
        self._done[rung].append(entry)


@dataclass
class _Member:
    """One of a population: its configuration, its last trial, and how far it has come."""

    config: _Config
    step: int = 0  # steps finished
    number: int | None = None  # trial whose state is its own
    value: float = np.inf
    busy: bool = False


class Pbt(Optimizer):
    """Population Based Training (Jaderberg et al., 2017).

    Every member trains for ``n_steps`` equal parts of the task's fidelity. After each part, a
    member in the worst ``quantile`` takes over the state and the configuration of one in the
    best, and perturbs it: each number times 0.8 or 1.2, each choice to a neighbour (ordinals) or
    kept, and with ``resample`` drawn anew. When all have trained fully, a new population begins.
    """

    capabilities = Capabilities(fidelity="needs", conditions="native", continues=True, learns=300)

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        population_size: int = 10,
        n_steps: int = 10,
        quantile: float = 0.2,
        resample: float = 0.25,
    ) -> None:
        if population_size < 2 or n_steps < 1 or not 0 < quantile <= 0.5:
            raise BadValue("PBT needs population_size >= 2, n_steps >= 1, quantile in (0, 0.5]")
        fidelity = _fidelity(task)
        self._levels = [
            fidelity.nearest(fidelity.upper * (i + 1) / n_steps) for i in range(n_steps)
        ]
        self._levels = list(dict.fromkeys(self._levels))
        self._cube = Cube(task.checker)
        self._sampler = Sampler(task.checker, seed)
        self._rng = np.random.default_rng(seed)
        self._size, self._quantile, self._resample = population_size, quantile, resample
        self._members: list[_Member] = []
        self._generation = -1
        self._asked = 0

    def ask(self) -> Trial | None:
        steps = len(self._levels)
        if all(m.step >= steps for m in self._members):
            self._members = [_Member(self._sampler.sample()) for _ in range(self._size)]
            self._generation += 1
        free = [m for m in self._members if not m.busy and m.step < steps]
        if not free:
            return None
        member = min(free, key=lambda m: m.step)  # the first of those furthest behind
        if member.step:
            self._exploit(member)
        index = self._members.index(member)
        info: dict[str, Any] = {"bracket": self._generation, "rung": member.step, "member": index}
        trial = Trial(
            member.config, self._levels[member.step], member.number, info, (member, self._asked)
        )
        member.busy = True
        self._asked += 1
        return trial

    def _exploit(self, member: _Member) -> None:
        ranked = sorted((m for m in self._members if m.step), key=lambda m: m.value)
        n = max(1, int(self._quantile * len(self._members)))
        worst = [m for m in ranked[-n:] if m not in ranked[:n]]
        better = [m for m in ranked[:n] if m.number is not None and m.step >= member.step]
        if not any(m is member for m in worst) or not better:
            return
        source = better[int(self._rng.integers(len(better)))]
        member.number, member.value = source.number, source.value
        member.step = min(source.step, len(self._levels) - 1)
        member.config = self._explore(source.config)

    def _explore(self, config: _Config) -> _Config:
        for _ in range(TRIES):
            fresh = self._sampler.sample()
            values = {p.name: self._changed(p, config, fresh) for p in self._cube.params}
            found = self._cube.complete(values)
            if not self._cube.checker.forbidden(found):
                return found
        raise no_legal(self._cube.checker.where)

    def _changed(self, param: Param, config: _Config, fresh: _Config) -> Value:
        redraw = self._rng.random() < self._resample
        up = bool(self._rng.random() < 0.5)
        if redraw or param.name not in config:
            return fresh.get(param.name, param.default)
        value = config[param.name]
        if param.kind == "ordinal":
            i = param.choices.index(value) + (1 if up else -1)
            return param.choices[min(len(param.choices) - 1, max(0, i))]
        if param.kind == "categorical" or not isinstance(value, int | float):
            return value
        moved = min(param.upper, max(param.lower, value * (1.2 if up else 0.8)))
        return round(moved) if param.kind == "int" else moved

    def tell(self, trial: Trial, result: Result) -> None:
        member, number = trial.tag
        member.busy = False
        member.step += 1
        # a failed part leaves the member with no state of its own: it is the worst
        member.number = number if result.ok else None
        member.value = result.value if result.ok else np.inf

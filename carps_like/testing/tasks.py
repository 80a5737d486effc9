"""What every task must keep to, as plain functions that raise ``AssertionError``.

A collection of one's own is held to them with a few lines of pytest::

    from carps_like.testing.tasks import CHECKS, sample

    @pytest.mark.parametrize("check", CHECKS)
    @pytest.mark.parametrize("name", sample(MyCollection()))
    def test_my_tasks(name, check):
        check(carps_like.task(name))

Checks evaluate as often as fits into a twentieth of a second, by the ``evaluation_seconds`` that
the task declares, but at least three times.
"""

from __future__ import annotations

import gc
import json
import math
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, UnknownName
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.space import Param, Sampler, count
from carps_like.trial import Result, Value

SEED = 7
_SECONDS = 0.05
_LEAK = 3 << 20  # bytes that a process may grow by without it counting as a leak


def sample(collection: Collection, most: int = 6) -> list[str]:
    """Names spread over the collection, with each of its types at least once."""
    names = list(collection.names())
    step = max(1, len(names) // max(1, most - 1))
    chosen = dict.fromkeys([*names[::step], *names[-1:]])
    for name in names:
        kind = name.rsplit("-", 1)[-1]
        if kind in ("bb", "mf", "mo", "momf") and not any(c.endswith("-" + kind) for c in chosen):
            chosen[name] = None
    return list(chosen)


def evaluations(task: Task, most: int = 100) -> int:
    """How many evaluations a check spends on ``task``."""
    affordable = int(_SECONDS / max(task.description.evaluation_seconds, 1e-7))
    return max(3, min(most, affordable))


def configurations(task: Task, n: int, seed: int = SEED) -> list[dict[str, Value]]:
    """``n`` random legal configurations; the same ones for all tasks that share a space."""
    space, key = task.description.space, (id(task.description.space), seed)
    kept, sampler, found = _drawn.pop(key, (space, None, []))
    sampler = sampler or Sampler(task.description.checker, seed)
    found.extend(sampler.sample() for _ in range(n - len(found)))
    _drawn[key] = (kept, sampler, found)  # the space is kept, so that its id stays its own
    if len(_drawn) > 8:
        del _drawn[next(iter(_drawn))]
    return found[:n]


_drawn: dict[tuple[int, int], tuple[Any, Sampler | None, list[dict[str, Value]]]] = {}


def _evaluate(task: Task, config: dict[str, Value], fidelity: float | None = None) -> Result:
    return task.evaluate(config, fidelity, SEED)


# --- the checks ---


def check_declared_counts_are_those_of_the_space(task: Task) -> None:
    description = task.description
    for field, n in count(description.space).items():
        declared = getattr(description, field)
        assert declared == n, f"{description.name} declares {field}={declared}, its space has {n}"


def check_declaration_is_data(task: Task) -> None:
    """It has a name and objectives, fits into a row, and is the same after pickling."""
    description = task.description
    json.dumps([description.row(), dict(description.metadata)])
    names = [o.name for o in description.objectives]
    assert len(set(names)) == len(names) > 0
    assert pickle.loads(pickle.dumps(description)) == description
    for objective in description.objectives:
        if objective.optimum is not None and objective.reference is not None:
            best, worst = objective.inside(objective.optimum), objective.inside(objective.reference)
            assert best <= worst, f"{description.name}: the reference is better than the optimum"


def check_values_are_those_declared(task: Task) -> None:
    """Every objective, turned so that lower is better; constraints; a cost; values in bounds."""
    description = task.description
    for config in configurations(task, evaluations(task, 20)):
        result = _evaluate(task, config)
        if not result.ok:
            assert (result.error and all(map(math.isnan, result.values))) or result.values
            continue
        assert set(result.objectives) == {o.name for o in description.objectives}
        assert len(result.constraints) == len(description.constraints)
        assert 0 <= result.cost < math.inf
        for objective, value in zip(description.objectives, result.values, strict=True):
            assert value == objective.inside(result.objectives[objective.name])
            _check_bounds(description, objective, objective.inside(value))


def _check_bounds(task: TaskDescription, objective: Any, value: float) -> None:
    name = task.name
    slack = (1e-5 if task.kind == "surrogate" else 1e-9) * (1 + abs(value))  # networks round
    if objective.lower is not None:
        assert value >= objective.lower - slack, f"{name}: {value} is below {objective.lower}"
    if objective.upper is not None:
        assert value <= objective.upper + slack, f"{name}: {value} is above {objective.upper}"


def check_random_points_are_not_better_than_the_optimum(task: Task) -> None:
    """A value that is only the best known may be beaten, by a tenth of the range."""
    description = task.description
    known = description.optimum_source.startswith("best known")
    if description.noisy:
        return
    for config in configurations(task, evaluations(task)):
        result = _evaluate(task, config)
        for objective, value in zip(description.objectives, result.values, strict=True):
            if objective.optimum is not None and result.feasible:
                best = objective.inside(objective.optimum)
                slack = 1e-4 * (1 + abs(best))  # published optima are rounded
                if known and objective.reference is not None:
                    slack += 0.1 * abs(objective.reference - objective.optimum)
                assert value >= best - slack, f"{description.name}: {value} is better than {best}"


def check_same_seed_same_value(task: Task) -> None:
    """Twice in a row, and after other evaluations between."""
    config, *others = configurations(task, 3)
    first = _evaluate(task, config)
    again = _evaluate(task, config)
    for other in others:
        task.evaluate(other, None, SEED + 1)
    last = _evaluate(task, config)
    if task.description.unit_cost is None:  # what it costs is real time
        return
    for result in (again, last):
        assert repr(result.values) == repr(first.values), f"{first.values} != {result.values}"
        assert result.cost == first.cost


def check_it_travels_to_a_worker(task: Task) -> None:
    """A pickled task gives the same values."""
    config = configurations(task, 1)[0]
    here, there = _evaluate(task, config), _evaluate(pickle.loads(pickle.dumps(task)), config)
    if task.description.unit_cost is not None:
        assert repr(here.values) == repr(there.values)


def check_wrong_values_are_refused_by_name(task: Task) -> None:
    config = task.description.checker.default()
    for param in task.description.checker.params:
        if param.name not in config or param.kind == "constant":
            continue
        for value in _wrong_values(param):
            _refused(task, config | {param.name: value}, param.name)
        _refused(task, {k: v for k, v in config.items() if k != param.name}, param.name)
        break
    _refused(task, config | {"no_such_hyperparameter": 1}, "no_such_hyperparameter")


def _wrong_values(param: Param) -> Iterable[Any]:
    if param.kind in ("float", "int"):
        step = 1 if param.kind == "int" else 1.0
        yield from (param.upper + step, param.lower - step, "half", True)
    if param.kind == "int":
        yield param.lower + 0.5
    if param.kind in ("categorical", "ordinal"):
        yield "no such choice"


def _refused(task: Task, config: dict[str, Any], name: str) -> None:
    try:
        task.evaluate(config)
    except BadValue as error:
        text = str(error)
        assert name in text and "\n" not in text, f"the message does not name {name}: {text}"
    else:
        raise AssertionError(f"{task.description.name} takes {name}={config.get(name)!r}")


def check_inactive_hyperparameters_are_absent(task: Task) -> None:
    """A configuration holds active ones alone, and one with an inactive value is refused."""
    if not task.description.n_conditions:
        return
    params = task.description.checker.by_name
    for config in configurations(task, 50):
        inactive = [p for p in params if p not in config]
        if inactive:
            _refused(task, config | {inactive[0]: params[inactive[0]].default}, inactive[0])
            return


def check_fidelity(task: Task) -> None:
    """Costs rise with it on the average; out of range is refused; the highest is the default."""
    fidelity = task.description.fidelity
    if fidelity is None:
        try:
            task.evaluate(task.description.checker.default(), 1.0)
        except BadValue:
            return
        raise AssertionError(f"{task.description.name} has no fidelity, but takes one")
    configs = configurations(task, min(10, evaluations(task)))
    costs = [
        sum(_evaluate(task, config, z).cost for config in configs)
        for z in (fidelity.lower, fidelity.upper)
    ]
    # a measured or predicted time may fall, as it does on 8 of YAHPO's 515
    measured = task.description.kind in ("surrogate", "table")
    assert costs[0] <= costs[1] * (10 if measured else 1), f"cost falls: {costs}"
    if task.description.unit_cost is not None:
        full = _evaluate(task, configs[0], fidelity.upper)
        assert repr(_evaluate(task, configs[0]).values) == repr(full.values)
    for wrong in (fidelity.lower - 1, fidelity.upper + 1, math.nan, "high"):
        try:
            task.evaluate(configs[0], wrong)  # type: ignore[arg-type]
        except BadValue as error:
            assert fidelity.name in str(error)
        else:
            raise AssertionError(f"{task.description.name} takes {fidelity.name}={wrong!r}")


def check_an_unknown_objective_gets_the_nearest(task: Task) -> None:
    name = task.description.objectives[0].name
    try:
        task.description.objective(name + "x")
    except UnknownName as error:
        assert repr(name) in str(error) or name in str(error)
    else:
        raise AssertionError("an unknown objective is taken")


def check_nothing_leaks(task: Task) -> None:
    """1,000 evaluations (fewer where one is slow) leave the process as large as it was."""
    n = evaluations(task, 1000)
    configs = configurations(task, min(n, 50))
    gc.freeze()  # collecting looks at what the evaluations left alone: the rest takes long
    try:
        _repeat(task, configs, min(n, 100))  # fills what is kept on purpose
        for _ in range(4):  # an allocator that takes more once is no leak: that goes on
            before = _private()
            _repeat(task, configs, n)
            grown = _private() - before
            if grown < _LEAK:
                return
    finally:
        gc.unfreeze()
    raise AssertionError(
        f"{task.description.name} grew by {grown >> 10} KiB in {n} evaluations, and before"
    )


def _repeat(task: Task, configs: list[dict[str, Value]], n: int) -> None:
    for k in range(n):
        task.evaluate(configs[k % len(configs)], None, k)
    gc.collect()


def _private() -> int:
    """Bytes that belong to this process alone, in memory or swapped out (Linux); 0 elsewhere.

    Not the pages of files: when memory is short the system drops those of libraries, and they come
    back one by one, which looks like a leak.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return sum(int(fields[name].split()[0]) << 10 for name in ("RssAnon", "VmSwap"))


CHECKS: tuple[Callable[[Task], None], ...] = (
    check_declared_counts_are_those_of_the_space,
    check_declaration_is_data,
    check_values_are_those_declared,
    check_random_points_are_not_better_than_the_optimum,
    check_same_seed_same_value,
    check_it_travels_to_a_worker,
    check_wrong_values_are_refused_by_name,
    check_inactive_hyperparameters_are_absent,
    check_fidelity,
    check_an_unknown_objective_gets_the_nearest,
    check_nothing_leaks,
)

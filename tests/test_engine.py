"""The virtual clock, the charges and the replay, against figures computed by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ConfigSpace import ConfigurationSpace, Float

import carps_like
from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription, describe
from carps_like.engine import NO_PENALTY_KNOWN, Run, numbered, trial_seed
from carps_like.errors import BadValue, UnknownName
from carps_like.interface import Capabilities, Exhausted, Optimizer, Task
from carps_like.log import AttemptLog
from carps_like.results import load
from carps_like.spec import Simulate
from carps_like.store import Index, trial_lines
from carps_like.trial import Outcome, Result, Trial

EPOCHS = Fidelity("epochs", 1, 52, integer=True)


def _space() -> ConfigurationSpace:
    space = ConfigurationSpace(seed=0)
    space.add(Float("x", (0.0, 100.0)))
    return space


class Scripted(Optimizer):
    """Asks what it is given, and writes down what it is told, in order."""

    capabilities = Capabilities(multi_objective=True, fidelity="yes")

    def __init__(self, task: TaskDescription, seed: int, script: Any = ()) -> None:
        self._script: Iterator[Trial | None] = iter(script)
        self.told: list[tuple[float, tuple[float, ...]]] = []

    def ask(self) -> Trial | None:
        for trial in self._script:
            return trial
        raise Exhausted

    def tell(self, trial: Trial, result: Result) -> None:
        self.told.append((float(trial.config.get("x", 0)), result.values))


class Costly(Task):
    """Costs x seconds at the full fidelity; fails where x is in ``bad``."""

    def __init__(self, fidelity: Fidelity | None = None, bad: Any = (), **declared: Any) -> None:
        objectives = declared.pop("objectives", (Objective("loss"),))
        self.description = describe("costly", _space(), objectives, fidelity=fidelity, **declared)
        self._bad = bad

    def compute(
        self, config: Any, fidelity: float | None, seed: int | None, state: Any
    ) -> Mapping[str, float] | Outcome:
        x = float(config["x"])
        if x in self._bad:
            raise ValueError("bad")
        full = self.description.fidelity
        cost = x if full is None or fidelity is None else x * fidelity / full.upper
        return Outcome({o.name: x for o in self.description.objectives}, cost=cost)


def _trial(x: float, fidelity: float | None = None, **more: Any) -> Trial:
    return Trial({"x": float(x)}, fidelity, **more)


def _run(script: Any, task: Task | None = None, **overrides: Any) -> Any:
    overrides.setdefault("budget", {"trials": 100})
    return carps_like.run(
        Scripted, task or Costly(), options={"script": list(script)}, **overrides
    ).trials


# --- budgets ---


def test_a_budget_of_trials_ends_the_run_after_that_many() -> None:
    assert len(_run(map(_trial, range(1, 50)), budget={"trials": 7})) == 7


def test_the_trial_that_crosses_a_line_of_seconds_is_kept_and_marked() -> None:
    trials = _run([_trial(4), _trial(4), _trial(4), _trial(4)], budget={"simulated_seconds": 10})
    assert trials.end.tolist() == [4, 8, 12]
    assert trials.over_budget.tolist() == [False, False, True]


def test_a_trial_that_ends_on_the_line_of_seconds_is_not_over_it() -> None:
    trials = _run([_trial(5), _trial(5), _trial(5)], budget={"simulated_seconds": 10})
    assert trials.end.tolist() == [5, 10]
    assert not trials.over_budget.any()


def test_a_budget_of_evaluations_counts_shares_of_the_full_fidelity() -> None:
    script = [_trial(i, 13) for i in range(20)]
    trials = _run(script, Costly(EPOCHS), budget={"evaluations": 1.1})
    assert trials.budget_used.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert trials.over_budget.tolist() == [False] * 4 + [True]


def test_rounding_of_shares_buys_no_trial_more() -> None:
    """10 x 0.1 is a little below 1 in floating point, and still all of a budget of 1."""
    tenths = Fidelity("epochs", 1, 10, integer=True)
    trials = _run([_trial(i, 1) for i in range(20)], Costly(tenths), budget={"evaluations": 1})
    assert len(trials) == 10 and not trials.over_budget.any()


def test_whichever_amount_is_spent_first_ends_the_run() -> None:
    script = [_trial(3) for _ in range(20)]
    assert len(_run(script, budget={"trials": 9, "simulated_seconds": 7})) == 3
    assert len(_run(script, budget={"trials": 2, "simulated_seconds": 7})) == 2
    assert len(_run(script, budget={"evaluations": 4, "simulated_seconds": 70})) == 4


def test_wall_seconds_end_a_run_that_nothing_else_would_end() -> None:
    trials = _run([_trial(1)] * 10**5, budget={"wall_seconds": 0.05})
    assert 0 < len(trials) < 10**5


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf"), True, "5"])
@pytest.mark.parametrize("name", ["trials", "evaluations", "simulated_seconds", "wall_seconds"])
def test_an_amount_must_be_a_finite_number_above_zero(name: str, amount: Any) -> None:
    with pytest.raises(BadValue, match=rf"budget\.{name}"):
        Budget(**{name: amount})


def test_an_unknown_amount_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UnknownName, match="did you mean 'trials'"):
        Budget.of({"trails": 3}, Budget(trials=1))


# --- charges: the table of docs/budgets.md ---

TABLE = [_trial(1, 13), _trial(1, 26), _trial(2, 26), _trial(1, 52)]


def test_without_continuation_every_trial_costs_its_share() -> None:
    trials = _run(TABLE, Costly(EPOCHS))
    assert trials.budget_used.tolist() == [0.25, 0.75, 1.25, 2.25]
    assert trials.cost.tolist() == [0.25, 0.5, 1.0, 1.0]


def test_with_continuation_a_configuration_pays_the_difference() -> None:
    trials = _run(TABLE, Costly(EPOCHS), budget={"trials": 9, "continuation": True})
    assert trials.budget_used.tolist() == [0.25, 0.5, 1.0, 1.5]
    assert trials.cost.tolist() == [0.25, 0.25, 1.0, 0.5]
    assert trials.end.tolist() == [0.25, 0.5, 1.5, 2.0]


def test_a_trial_without_a_fidelity_is_a_full_one() -> None:
    trials = _run([_trial(4), _trial(4, 52)], Costly(EPOCHS))
    assert trials.fidelity.tolist() == [52, 52] and trials.budget_used.tolist() == [1, 2]


def test_nothing_is_continued_from_a_failed_trial() -> None:
    task = Costly(EPOCHS, bad=(1.0,), unit_cost=1.0)
    trials = _run(TABLE, task, budget={"trials": 9, "continuation": True})
    assert trials.status.tolist() == ["failed", "failed", "ok", "failed"]
    assert trials.budget_used.tolist() == [0.25, 0.75, 1.25, 2.25]


def test_nothing_is_continued_from_a_trial_that_has_not_ended() -> None:
    script = [_trial(8, 26), _trial(8, 52), _trial(1, 52), _trial(8, 52)]
    options = {"budget": {"trials": 9, "continuation": True}, "simulate": {"workers": 2}}
    trials = _run(script, Costly(EPOCHS), **options)
    # 0 ends at 4; 1 starts at 0 beside it and pays all; 3 starts at 5 and goes on from 0
    assert trials.start.tolist() == [0, 0, 4, 5]
    assert trials.cost.tolist() == [4, 8, 1, 4]
    assert trials.budget_used.tolist() == [0.5, 1.5, 2.5, 3.0]


def test_a_fidelity_that_training_cannot_go_on_from_is_charged_in_full() -> None:
    share = Fidelity("share", 1, 52, continuable=False)
    trials = _run(TABLE, Costly(share), budget={"trials": 9, "continuation": True})
    assert trials.budget_used.tolist() == [0.25, 0.75, 1.25, 2.25]


def test_a_task_without_a_cost_of_its_own_costs_one_second_a_full_evaluation() -> None:
    found = carps_like.run("random", "bbob-d02-f01-i01", trials=3).trials
    assert found.cost.tolist() == [1, 1, 1] and found.end.tolist() == [1, 2, 3]


def test_lcbench_is_charged_as_the_page_on_budgets_says() -> None:
    task = carps_like.task("yahpo-lcbench-167152-mf")
    config = task.description.checker.default()
    script = [Trial(config, z) for z in (13, 26, 52)]
    plain = _run(script, task)
    assert plain.budget_used.tolist() == [0.25, 0.75, 1.75]
    going_on = _run(script, task, budget={"trials": 9, "continuation": True})
    assert going_on.budget_used.tolist() == [0.25, 0.5, 1.0]
    times = [task.evaluate(config, z).cost for z in (13, 26, 52)]
    assert plain.cost.tolist() == times
    assert going_on.cost.tolist() == [times[0], times[1] - times[0], times[2] - times[1]]
    assert plain.value.tolist() == going_on.value.tolist()


# --- simulated workers ---


def test_three_workers_keep_a_schedule_made_by_hand() -> None:
    trials = _run(map(_trial, [5, 2, 4, 1, 3, 2, 2]), simulate={"workers": 3})
    # worker 1 is free at 2 (trial 3), 3 (trial 4); worker 2 at 4 (trial 5); 0 at 5 (trial 6)
    assert trials.worker.tolist() == [0, 1, 2, 1, 1, 2, 0]
    assert trials.start.tolist() == [0, 0, 0, 2, 3, 4, 5]
    assert trials.end.tolist() == [5, 2, 4, 3, 6, 6, 7]


def test_ties_go_by_the_order_of_the_asks_and_the_lowest_worker() -> None:
    optimizer = Scripted(Costly().description, 0, map(_trial, [2, 2, 2, 1, 1, 1]))
    trials = _drive(optimizer, Costly(), 6, workers=3)
    assert trials.worker.tolist() == [0, 1, 2, 0, 1, 2]
    assert trials.start.tolist() == [0, 0, 0, 2, 2, 2]
    assert [x for x, _ in optimizer.told] == [2, 2, 2, 1, 1, 1]


def test_results_are_told_in_the_order_of_their_ends() -> None:
    optimizer = Scripted(Costly().description, 0, map(_trial, [5, 2, 4, 1, 3]))
    _drive(optimizer, Costly(), 5, workers=3)
    # ends: 5, 2, 4, 2 + 1 = 3, 3 + 3 = 6
    assert [x for x, _ in optimizer.told] == [2, 1, 4, 5, 3]


def test_eight_workers_finish_eight_trials_in_the_time_of_the_longest() -> None:
    trials = _run(map(_trial, range(1, 9)), simulate={"workers": 8})
    assert trials.start.tolist() == [0] * 8 and trials.end.max() == 8


def test_seconds_are_the_clocks_not_the_sum_over_workers() -> None:
    script = [_trial(5) for _ in range(40)]
    trials = _run(script, simulate={"workers": 4}, budget={"simulated_seconds": 10})
    assert len(trials) == 8 and not trials.over_budget.any()


def test_an_optimizer_that_waits_is_asked_again_after_the_next_end() -> None:
    script = [_trial(3), _trial(5), None, _trial(1), None, _trial(2)]
    trials = _run(script, simulate={"workers": 3})
    assert trials.start.tolist() == [0, 0, 3, 4]
    assert trials.worker.tolist() == [0, 1, 0, 0]


def test_waiting_with_nothing_pending_is_an_error_of_the_optimizer() -> None:
    found = carps_like.run(Scripted, Costly(), options={"script": [_trial(1), None]})
    assert found.runs.status.tolist() == ["failed"]
    assert "nothing is pending" in found.runs.error[0]


def test_an_exhausted_optimizer_ends_its_run_well_and_is_told_everything() -> None:
    optimizer = Scripted(Costly().description, 0, map(_trial, [5, 2]))
    assert len(_drive(optimizer, Costly(), 9, workers=3)) == 2
    assert len(optimizer.told) == 2


def test_the_optimizers_own_time_is_charged_only_when_asked_for() -> None:
    charged = _run(map(_trial, [1, 1]), simulate={"charge_optimizer": True})
    assert charged.start[0] > 0
    assert charged.end[0] == charged.start[0] + 1
    assert _run(map(_trial, [1, 1])).start.tolist() == [0, 1]


# --- penalties ---


def test_a_failure_is_told_as_the_declared_penalty_on_the_minimised_scale() -> None:
    objectives = (Objective("loss", penalty=9.0), Objective("accuracy", minimize=False, lower=0.0))
    task = Costly(bad=(3.0,), objectives=objectives)
    optimizer = Scripted(task.description, 0, map(_trial, [1, 3]))
    trials = _drive(optimizer, task, 2)
    assert optimizer.told == [(1.0, (1.0, -1.0)), (3.0, (9.0, 0.0))]
    assert isnan(trials.value[1])


def test_a_failure_is_told_as_the_worst_so_far_where_no_penalty_is_declared() -> None:
    task = Costly(bad=(3.0,), unit_cost=1.0)
    optimizer = Scripted(task.description, 0, map(_trial, [3, 1, 7, 5, 3]))
    _drive(optimizer, task, 5)
    assert [v for _, (v,) in optimizer.told] == [NO_PENALTY_KNOWN, 1, 7, 5, 7]


# --- replay ---


def _drive(
    optimizer: Optimizer,
    task: Task,
    trials: int,
    *,
    workers: int = 1,
    folder: Path | None = None,
    recorded: Any = (),
    continuation: bool = False,
) -> Any:
    """One run by hand; its trials as a frame."""
    import tempfile

    folder = folder or Path(tempfile.mkdtemp())
    log = AttemptLog(folder / "logs")
    log.run("r0", ["x"], {"objectives": [o.name for o in task.description.objectives]})
    run = Run(
        optimizer,
        task.description,
        task.evaluate,
        log,
        seed=5,
        budget=Budget(trials=trials, continuation=continuation),
        simulate=Simulate(workers=workers),
        recorded=recorded,
        names=["x"],
    )
    run.execute()
    log.done("r0", carps_like.Status.OK, "", run.n_trials)
    log.close()
    return load(folder).trials


REAL = [
    ("random", "bbob-d02-f03-i01", {"trials": 12}, 1),
    ("optuna-tpe", "yahpo-lcbench-3945-mo", {"trials": 14}, 1),
    ("optuna-tpe", "yahpo-rbv2_xgboost-40981-bb", {"trials": 14}, 3),
    ("cmaes", "bbob-d05-f08-i01", {"simulated_seconds": 4}, 4),
]
WALL = ["ask_seconds", "evaluate_seconds"]


@pytest.mark.parametrize(("optimizer", "task", "budget", "workers"), REAL)
def test_a_run_that_was_cut_anywhere_goes_on_to_the_same_bits(
    optimizer: str, task: str, budget: Any, workers: int, tmp_path: Path
) -> None:
    from carps_like.live import Live
    from carps_like.worker import describe_for, execute

    configuration = _spec(optimizer, task, budget, workers)
    log = AttemptLog(tmp_path / "whole" / "logs")
    execute(configuration, log)
    whole = load(tmp_path / "whole").trials
    (execution,) = Index(tmp_path / "whole").refresh().winners()
    lines, names = trial_lines(execution), execution.header["names"]
    for cut in range(0, len(lines) + 1):
        folder = tmp_path / f"cut-{cut}"
        counted = _Counting(describe_for(configuration).name)
        log = AttemptLog(folder / "logs")
        execute(configuration, log, 0, lines[:cut], names, live=Live(task=counted))
        again = load(folder).trials
        assert again.drop(columns=WALL).equals(whole.drop(columns=WALL))
        assert counted.n == len(lines) - cut


def _spec(optimizer: str, task: str, budget: Any, workers: int) -> Any:
    from carps_like.registry import describe_task, variant
    from carps_like.spec import resolve

    chosen = variant(optimizer)
    data = {
        "optimizer": {"name": optimizer, "_target_": chosen.target, **chosen.options},
        "task": {"name": task},
        "seed": 3,
        "budget": budget,
        "simulate": {"workers": workers},
    }
    return resolve(data, describe_task(task))


class _Counting(Task):
    """A task of the listing that counts its evaluations."""

    def __init__(self, name: str) -> None:
        self._task = carps_like.task(name)
        self.description = self._task.description
        self.n = 0

    def compute(self, *arguments: Any) -> Any:
        self.n += 1
        return self._task.compute(*arguments)


def test_an_optimizer_that_asks_something_else_restarts_its_run(tmp_path: Path) -> None:
    from carps_like.worker import execute

    configuration = _spec("random", "bbob-d02-f03-i01", {"trials": 5}, 1)
    log = AttemptLog(tmp_path / "a" / "logs")
    execute(configuration, log)
    (execution,) = Index(tmp_path / "a").refresh().winners()
    lines, names = trial_lines(execution), execution.header["names"]
    other = list(lines)
    other[2] = lines[3].replace(b"[3,", b"[2,", 1)
    from carps_like.engine import ReplayMismatch

    with pytest.raises(ReplayMismatch, match="trial 2"):
        execute(configuration, AttemptLog(tmp_path / "b" / "logs"), 0, other, names)


def test_a_damaged_line_restarts_the_run_too(tmp_path: Path) -> None:
    from carps_like.engine import ReplayMismatch
    from carps_like.worker import execute

    configuration = _spec("random", "bbob-d02-f03-i01", {"trials": 5}, 1)
    with pytest.raises(ReplayMismatch, match="damaged"):
        execute(configuration, AttemptLog(tmp_path / "logs"), 0, [b"[0,\0\0\0"], ["x00", "x01"])


def test_only_lines_numbered_without_a_gap_are_replayed() -> None:
    assert list(numbered([b"[0,1]", b"[1,1]", b"[3,1]", b"[2,1]"])) == [b"[0,1]", b"[1,1]"]


# --- stateful tasks ---


class Training(Task):
    """Its state is the list of what was trained, parent first."""

    evaluated: ClassVar[list[float]] = []

    def __init__(self) -> None:
        self.description = describe(
            "training", _space(), fidelity=Fidelity("epochs", 1, 10, integer=True), stateful=True
        )

    def compute(self, config: Any, fidelity: float | None, seed: int | None, state: Any) -> Outcome:
        Training.evaluated.append(config["x"])
        path = [*(state or []), (config["x"], seed)]
        return Outcome({"value": float(len(path)) + sum(x for x, _ in path)}, 2.0, state=path)


CHAIN = [
    _trial(1, 2),
    _trial(2, 2),
    _trial(3, 6, continues=0),
    _trial(3, 8),
    _trial(4, 10, continues=2),
    _trial(5, 4, continues=1),
    _trial(3, 10),
]


class Continuing(Scripted):
    capabilities = Capabilities(fidelity="needs", continues=True)


def test_a_trial_goes_on_from_the_state_of_the_one_it_names() -> None:
    trials = _drive(Continuing(Training().description, 0, CHAIN), Training(), 9)
    assert trials.value.tolist() == [2, 3, 6, 4, 11, 9, 4]
    # 0.2, 0.2, (6 - 2)/10, 0.8, (10 - 6)/10, (4 - 2)/10, 1
    assert trials.budget_used.round(9).tolist() == [0.2, 0.4, 0.8, 1.6, 2.0, 2.2, 3.2]
    assert trials.continues.tolist()[2] == 0 and isnan(float(trials.continues[0]))


@pytest.mark.parametrize("continuation", [False, True])
def test_states_are_made_again_where_a_cut_run_needs_them(
    continuation: bool, tmp_path: Path
) -> None:
    def drive(folder: Path, recorded: Any = ()) -> Any:
        optimizer = Continuing(Training().description, 0, CHAIN)
        more = {"folder": folder, "recorded": recorded, "continuation": continuation}
        return _drive(optimizer, Training(), 9, **more)

    whole = drive(tmp_path / "whole")
    (execution,) = Index(tmp_path / "whole").refresh().winners()
    lines = trial_lines(execution)
    for cut in range(len(lines) + 1):
        Training.evaluated.clear()
        again = drive(tmp_path / f"cut-{cut}", lines[:cut])
        assert again.drop(columns=WALL).equals(whole.drop(columns=WALL))
        parents = {1: [1.0], 2: [1.0, 2.0], 3: [1.0, 2.0, 3.0], 4: [1.0, 2.0, 3.0], 5: [2.0]}
        rest = [t.config["x"] for t in CHAIN[cut:]]
        assert sorted(Training.evaluated) == sorted(rest + parents.get(cut, []))
    assert Training.evaluated == []  # nothing is made again that nobody needs


def test_a_state_of_none_is_not_made_again(tmp_path: Path) -> None:
    class Forgetful(Training):
        def compute(self, *arguments: Any) -> Outcome:
            return Outcome(super().compute(*arguments).objectives, 2.0)

    Training.evaluated.clear()
    _drive(Continuing(Forgetful().description, 0, CHAIN), Forgetful(), 9)
    assert len(Training.evaluated) == len(CHAIN)


# --- seeds ---


def test_every_trial_has_a_seed_of_its_own_and_the_same_one_again() -> None:
    seeds = {trial_seed(s, n) for s in range(50) for n in range(200)}
    assert len(seeds) == 50 * 200
    assert all(0 <= s < 2**31 for s in seeds)
    assert [trial_seed(0, n) for n in range(2)] == [trial_seed(0, 0), trial_seed(0, 1)]


class Noisy(Task):
    def __init__(self) -> None:
        self.description = describe("noisy", _space(), noisy=True)

    def compute(self, config: Any, fidelity: Any, seed: int | None, state: Any) -> Any:
        return {"value": float(np.random.default_rng(seed).random())}


def test_noise_follows_the_seed_of_the_run_and_the_number_of_the_trial() -> None:
    a, b = (_run([_trial(1)] * 4, Noisy(), seed=1).value.tolist() for _ in range(2))
    assert a == b and len(set(a)) == 4
    assert set(a).isdisjoint(_run([_trial(1)] * 4, Noisy(), seed=2).value)


class Global(Optimizer):
    """Draws from the global generators."""

    capabilities = Capabilities(global_seeds=True)

    def __init__(self, task: TaskDescription, seed: int) -> None:
        self._first = random.random()

    def ask(self) -> Trial:
        return Trial({"x": 50 * self._first + 25 * random.random() + 25 * float(np.random.rand())})  # noqa: NPY002

    def tell(self, trial: Trial, result: Result) -> None:
        np.random.rand()  # noqa: NPY002


class Meddling(Noisy):
    """Reseeds the global generators in every evaluation."""

    def compute(self, *arguments: Any) -> Any:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        return super().compute(*arguments)


def test_global_generators_belong_to_the_run_and_are_restored() -> None:
    random.seed(77)
    np.random.seed(77)  # noqa: NPY002
    expected = random.random(), float(np.random.rand())  # noqa: NPY002
    random.seed(77)
    np.random.seed(77)  # noqa: NPY002
    quiet = carps_like.run(Global, Noisy(), seed=4, trials=5).trials.config.tolist()
    assert (random.random(), float(np.random.rand())) == expected  # noqa: NPY002
    loud = carps_like.run(Global, Meddling(), seed=4, trials=5).trials.config.tolist()
    assert quiet == loud and len(set(quiet)) == 5
    assert carps_like.run(Global, Noisy(), seed=5, trials=5).trials.config.tolist() != quiet

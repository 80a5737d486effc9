"""What every optimizer must keep, chosen by what it claims.

``check_optimizer(variant)`` runs all checks; ``checks_for(capabilities)`` lists them, so that a
test suite can make one case of each::

    @pytest.mark.parametrize("check", checks_for(MyOptimizer.capabilities), ids=str)
    def test_my_optimizer(check):
        check.run(Variant("mine", "my_module.MyOptimizer"))
"""

from __future__ import annotations

import math
import os
import pickle
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from carps_like.interface import Capabilities, Exhausted, Optimizer
from carps_like.seeds import GlobalSeeds
from carps_like.testing.problems import Problem, problems
from carps_like.testing.sequential import compare
from carps_like.trial import Result, Trial, proposed
from carps_like.variants import Variant

Run = list[tuple[Trial, Result]]


@dataclass(frozen=True)
class Effort:
    """How much a check spends. The full suite is the default; ``QUICK`` is the slice for tests."""

    trials: int = 60
    seeds: int = 30
    options: Mapping[str, Any] | None = None  # of the optimizer: a smaller initial design, ...
    patience: int | None = None  # trials by which told values must matter; None: `learns`


QUICK = Effort(trials=8, seeds=0)


class Driven:
    """An optimizer driven as the runner does it, with global generators of its own."""

    def __init__(self, variant: Variant, problem: Problem, seed: int, effort: Effort) -> None:
        self.problem = problem
        can = variant.capabilities
        self._seeded: Callable[[], Any] = GlobalSeeds(seed) if can.global_seeds else nullcontext
        with self._seeded():
            self.optimizer: Optimizer = variant.build(
                problem.description, seed, **(effort.options or {})
            )
        self.asked = 0

    def ask(self) -> Trial | None:
        with self._seeded():
            trial = proposed(self.optimizer.ask())
        self.asked += trial is not None
        return trial

    def evaluate(self, trial: Trial) -> Result:
        """The task's result; checks that the trial is legal."""
        return self.problem.evaluate(trial.config, trial.fidelity)

    def tell(self, trial: Trial, result: Result) -> None:
        with self._seeded():
            self.optimizer.tell(trial, result)

    def run(self, n_trials: int, workers: int = 1) -> Run:
        """At most ``n_trials``; with several workers the last asked is told first."""
        done: Run = []
        pending: list[Trial] = []
        exhausted = False
        while len(done) < n_trials:
            while len(pending) < workers and not exhausted and self.asked < n_trials:
                try:
                    trial = self.ask()
                except Exhausted:
                    exhausted = True
                    break
                if trial is None:
                    assert pending, "it waits though no trial is open"
                    break
                pending.append(trial)
            if not pending:
                return done
            trial = pending.pop()
            result = self.evaluate(trial)
            self.tell(trial, result)
            done.append((trial, result))
        return done


@contextmanager
def driven(variant: Variant, problem: Problem, seed: int, effort: Effort) -> Iterator[Driven]:
    found = Driven(variant, problem, seed, effort)
    try:
        yield found
    finally:
        found.optimizer.close()


def proposals(run: Run) -> list[tuple[dict[str, Any], float | None]]:
    return [(dict(trial.config), trial.fidelity) for trial, _ in run]


# --- the checks: each takes a variant and an effort, and fails by an AssertionError ---


def asks_lie_in_the_space(variant: Variant, effort: Effort) -> None:
    """Every proposal on every kind of task it claims is legal: native values, in bounds, inactive
    ones absent. ``Task.evaluate`` checks it. ``info`` is JSON, ``continues`` an earlier trial.
    """
    found = problems(variant.capabilities, effort.trials)
    assert found, "it takes no kind of task at all"
    for problem in found.values():
        with driven(variant, problem, 1, effort) as optimizer:
            run = optimizer.run(effort.trials)
        assert run, f"no trial on {problem.description.name}"
        for number, (trial, _) in enumerate(run):
            for name, value in trial.config.items():
                native = type(value) in (bool, int, float, str)
                assert native, f"{name} is {type(value)}, not a native value"
            orjson.dumps(trial.info, option=orjson.OPT_SERIALIZE_NUMPY)
            assert trial.continues is None or 0 <= trial.continues < number


def told_values_change_what_is_asked(variant: Variant, effort: Effort) -> None:
    """The same seed on a quadratic and on its negative ends up asking for something else."""
    learns = variant.capabilities.learns or 0
    n = max(effort.trials, learns) if effort.patience is None else effort.patience
    asked = []
    for sign in (1.0, -1.0):
        problem = _main(variant, n)
        functions = problem.functions
        problem.functions = tuple(_signed(f, sign) for f in functions)
        with driven(variant, problem, 1, effort) as optimizer:
            asked.append(proposals(optimizer.run(n)))
    assert asked[0] != asked[1], f"{n} trials were asked without a look at their values"


def _signed(function: Callable[[Any], float], sign: float) -> Callable[[Any], float]:
    return lambda config: sign * function(config)


def learns_from_its_data(variant: Variant, effort: Effort) -> None:
    """On a separable quadratic it beats random search at the 1 % level (Mann-Whitney, one-sided,
    with early stopping: :func:`carps_like.testing.sequential.compare`).

    With one objective the best value counts, at the full fidelity; with two the hypervolume.
    Random search, 100 runs of it, gets as many full evaluations as our dearest run was charged.
    """
    n = variant.capabilities.learns or 0
    problem = _main(variant, n)
    fidelity = problem.description.fidelity
    charged = [1.0]

    def ours(seed: int) -> float:
        with driven(variant, _main(variant, n), seed, effort) as optimizer:
            run = optimizer.run(n)
        charged.append(sum(1.0 if fidelity is None else fidelity.share(t.fidelity) for t, _ in run))
        return _score(problem, run)

    found = compare(ours, lambda: _random_search(problem, math.ceil(max(charged))), effort.seeds)
    middle = f"median {np.median(found.ours):.3g} against {np.median(found.others):.3g}"
    words = f"no better than random search in {n} trials: {middle} of it, p = {found.p:.2g}"
    assert found.better, f"{words} after {found.n} seeds"


_BASELINE: dict[tuple[str, bool], list[Run]] = {}


def _random_search(problem: Problem, n_trials: int) -> list[float]:
    """Scores of random search after ``n_trials``; its runs are made once and cut to length."""
    from carps_like.registry import variant as named

    key = (problem.description.name, problem.description.has_priors)
    runs = _BASELINE.get(key, [])
    if not runs or len(runs[0]) < n_trials:
        runs = []
        for seed in range(100):
            with driven(named("random"), problem, 1000 + seed, Effort()) as baseline:
                runs.append(baseline.run(n_trials))
        _BASELINE[key] = runs
    return [_score(problem, run[:n_trials]) for run in runs]


def _main(variant: Variant, n_trials: int) -> Problem:
    """The quadratic in the form that the variant takes, or what is nearest to it."""
    found = problems(variant.capabilities, n_trials)
    return found.get("continuous") or found.get("multi-objective") or next(iter(found.values()))


def _score(problem: Problem, run: Run) -> float:
    full = [r for t, r in run if t.fidelity is None or t.fidelity == _top(problem)]
    values = [r.values for r in full if r.ok]
    if not values:
        return 1e6
    if len(values[0]) == 1:
        return min(v[0] for v in values)
    return -_hypervolume(values, 250.0)


def _top(problem: Problem) -> float | None:
    fidelity = problem.description.fidelity
    return None if fidelity is None else fidelity.upper


def _hypervolume(points: Sequence[tuple[float, ...]], reference: float) -> float:
    """Area that two minimised objectives dominate, below ``reference`` in both."""
    area, ceiling = 0.0, reference
    for a, b in sorted(points):
        if a < reference and b < ceiling:
            area += (reference - a) * (ceiling - b)
            ceiling = b
    return area


def equal_seeds_give_equal_runs(variant: Variant, effort: Effort) -> None:
    """Whatever ran before: the global generators are disturbed in between, and found again as
    they were. Other seeds give other runs.
    """
    problem = _main(variant, effort.trials)
    with driven(variant, problem, 7, effort) as optimizer:
        first = proposals(optimizer.run(effort.trials))
    random.seed(123)
    np.random.seed(321)  # noqa: NPY002 - the global generator is what is meant
    before = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
    with driven(variant, problem, 7, effort) as optimizer:
        second = proposals(optimizer.run(effort.trials))
    after = (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
    assert before == after, "it draws from the global generators: declare global_seeds"
    assert first == second, "equal seeds, different proposals: declare deterministic=False"
    with driven(variant, problem, 8, effort) as optimizer:
        third = proposals(optimizer.run(effort.trials))
    assert first != third or not variant.capabilities.seeded, "another seed, the same proposals"


def a_replay_gives_the_same_bits(variant: Variant, effort: Effort) -> None:
    """A fresh optimizer that is answered from the log asks the same again, trial by trial; so a
    run that was cut at any of them goes on as if nothing had happened.
    """
    problem = _main(variant, effort.trials)
    problem.fails = lambda number: number % 4 == 2
    with driven(variant, problem, 3, effort) as optimizer:
        log = optimizer.run(effort.trials)
    with driven(variant, problem, 3, effort) as again:
        for number, (trial, result) in enumerate(log):
            asked = again.ask()
            assert asked is not None and (asked.config, asked.fidelity) == (
                trial.config,
                trial.fidelity,
            ), f"trial {number} is not the one of the log"
            again.tell(asked, result)


def failures_are_taken(variant: Variant, effort: Effort) -> None:
    """Failed trials, the very first and many in a row among them, do not stop it."""
    problem = _main(variant, effort.trials)
    problem.fails = lambda number: number in (0, 1) or number % 3 == 1
    with driven(variant, problem, 5, effort) as optimizer:
        run = optimizer.run(effort.trials)
    assert len(run) == effort.trials or variant.capabilities.learns is None


def parallel_asks_are_answered(variant: Variant, effort: Effort) -> None:
    """Four workers, the last asked is told first; it may wait only while trials are open."""
    problem = _main(variant, effort.trials)
    with driven(variant, problem, 2, effort) as optimizer:
        run = optimizer.run(effort.trials, workers=4)
    assert len(run) == effort.trials or variant.capabilities.learns is None


def it_pickles(variant: Variant, effort: Effort) -> None:
    """Half a run, there and back through pickle, goes on with the same proposals."""
    problem = _main(variant, effort.trials)
    with driven(variant, problem, 4, effort) as optimizer:
        optimizer.run(effort.trials // 2)
        copy = pickle.loads(pickle.dumps(optimizer.optimizer))
        assert copy.ask().config == optimizer.optimizer.ask().config  # type: ignore[union-attr]


def nothing_leaks(variant: Variant, effort: Effort) -> None:
    """After close: no thread and no file that was not there, and nothing was printed."""
    found = problems(variant.capabilities, effort.trials).values()
    with _elsewhere() as folder:
        with driven(variant, next(iter(found)), 6, effort) as optimizer:
            optimizer.run(2)  # threads of the first use may stay
        threads = set(threading.enumerate())
        with _printed() as printed:
            for problem in found:
                with driven(variant, problem, 6, effort) as optimizer:
                    optimizer.run(effort.trials)
        left = [t.name for t in set(threading.enumerate()) - threads if t.is_alive()]
        files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert not left, f"threads still run: {left}"
    assert not files, f"files were left: {files}"
    assert not printed, f"it printed {printed[0][:200]!r}"


@contextmanager
def _elsewhere() -> Iterator[Path]:
    """A fresh folder as the working and the temporary one."""
    before, chosen = Path.cwd(), tempfile.tempdir
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            os.chdir(before)
            tempfile.tempdir = chosen


@contextmanager
def _printed() -> Iterator[list[str]]:
    """What this process writes to its file descriptors 1 and 2 meanwhile; one item if anything."""
    texts: list[str] = []
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield texts
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
        file.seek(0)
        text = file.read().decode(errors="replace").strip()
        if text:
            texts.append(text)


def fidelities_rise(variant: Variant, effort: Effort) -> None:
    """More than one fidelity is asked for, the highest among them; a configuration that goes on
    to a higher one says which trial it continues, and that one is no higher.
    """
    n = max(effort.trials, 120)
    problem = _main(variant, n)
    with driven(variant, problem, 1, Effort(n, options=effort.options)) as optimizer:
        run = optimizer.run(n)
    asked = [t.fidelity for t, _ in run]
    assert len(set(asked)) > 1, f"only the fidelity {asked[0]} was asked for"
    assert _top(problem) in asked, "the full fidelity was never asked for"
    for trial, _ in run:
        if trial.continues is not None and trial.fidelity is not None:
            before = asked[trial.continues]
            assert before is not None and before <= trial.fidelity
    repeated = len({tuple(t.config.items()) for t, _ in run}) < len(run)
    assert not repeated or any(t.continues is not None for t, _ in run), "promotions are unmarked"


def priors_are_read(variant: Variant, effort: Effort) -> None:
    """With another prior, equal seeds ask for something else."""
    from carps_like.testing.problems import quadratic_space

    asked = []
    for center in (-3.0, 3.0):
        problem = _main(variant, effort.trials)
        moved = quadratic_space(priors=True, center=center)
        description = problem.description
        object.__setattr__(description, "make_space", lambda space=moved: space)
        with driven(variant, problem, 1, effort) as optimizer:
            asked.append(proposals(optimizer.run(effort.trials)))
    assert asked[0] != asked[1], "the prior changes nothing"


@dataclass(frozen=True)
class Check:
    """One check by name."""

    name: str
    function: Callable[[Variant, Effort], None]

    def __str__(self) -> str:
        return self.name

    def run(self, variant: Variant, effort: Effort = Effort()) -> None:
        """Raises AssertionError, with what is wrong, or whatever the optimizer raised."""
        self.function(variant, effort)


def checks_for(can: Capabilities, effort: Effort = Effort()) -> list[Check]:
    """The checks that capabilities like these ask for."""
    wanted: list[tuple[Any, bool]] = [
        (asks_lie_in_the_space, True),
        (failures_are_taken, True),
        (nothing_leaks, True),
        (parallel_asks_are_answered, can.parallel),
        (equal_seeds_give_equal_runs, can.deterministic),
        (a_replay_gives_the_same_bits, can.deterministic),
        (told_values_change_what_is_asked, can.learns is not None),
        (learns_from_its_data, can.learns is not None and can.continuous and effort.seeds > 0),
        (fidelities_rise, can.fidelity == "needs"),
        (priors_are_read, can.priors == "needs"),
        (it_pickles, can.pickles),
    ]
    return [Check(f.__name__.replace("_", " "), f) for f, on in wanted if on]


def check_optimizer(
    variant: Variant,
    effort: Effort = Effort(),
    report: Callable[[Check, str], None] = lambda check, problem: None,
) -> dict[str, str]:
    """Run every check that the variant's capabilities ask for.

    Args:
        variant: what to check; ``Variant(name, "module.Class")`` for a class of your own.
        effort: trials and seeds.
        report: called after each check with what is wrong, or "".

    Returns:
        Name of each failed check -> what is wrong.
    """
    failed = {}
    for check in checks_for(variant.capabilities, effort):
        problem = ""
        try:
            check.run(variant, effort)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            failed[check.name] = problem
        report(check, problem)
    return failed

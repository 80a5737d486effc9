"""``carps-like run``: Hydra's habits in front, our own plan behind."""

from __future__ import annotations

import os
import re
import sys
import time
from argparse import Namespace
from collections.abc import Container, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra

from carps_like.cli import INTERRUPTED, OK, SOME_FAILED, WRONG
from carps_like.commands.request import Asked, asked, configurations, executor_name, hydra_arguments
from carps_like.compose import Composer, register
from carps_like.errors import BadRequest, printable
from carps_like.executors.dask import Dask, client_of, run_generation
from carps_like.plan import UNSUPPORTED
from carps_like.progress import Progress
from carps_like.session import Outcome, environments_of, impossible, run_plan

CONFIGS = "pkg://carps_like.configs"


def main(argv: Sequence[str]) -> int:
    """Compose, plan, run, compact, summarize; the exit code."""
    parser = hydra_arguments("run")
    parser.add_argument("--force", action="store_true", help="the same as force=true")
    try:
        args = parser.parse_intermixed_args(list(argv))
    except SystemExit as stop:
        return OK if not stop.code else WRONG
    if args.force:
        args.overrides.append("force=true")
    flags = [a for a in argv if a not in args.overrides and a != "--force"]
    argv = [*args.overrides, *flags]  # Hydra's own parser wants them apart
    if args.help or args.hydra_help or args.cfg or args.info or args.shell_completion:
        return _hydra(argv, args)
    launcher = any(o.startswith("hydra/launcher=") for o in args.overrides)
    if args.multirun and launcher:
        return _hydra(argv, args)
    return _work(*configurations(args))


def _hydra(argv: Sequence[str], args: Namespace) -> int:
    """What Hydra does best itself: --cfg, --help, --info, completion, other people's launchers."""
    if not (args.shell_completion or args.help or args.hydra_help):
        composer = Composer(args.config_dir, args.config_name or "run")
        request = composer.request(args.overrides, multirun=True)
        if not request.axes:
            composer.compose(request.fixed)
    GlobalHydra.instance().clear()
    register()
    sys.argv = ["carps-like run", *argv]
    if args.shell_completion:
        sys.argv[0] = "carps-like"  # what the shell completes; the verb is no override
        _drop_verb()
    entry = hydra.main(config_path=CONFIGS, config_name="run", version_base="1.3")(_job)
    try:
        entry()
    except SystemExit as stop:
        return int(stop.code or 0)
    except ValueError as error:  # flags that exclude each other
        raise BadRequest(str(error).splitlines()[0]) from None
    return OK


def _drop_verb() -> None:
    """Turn the line that is being completed into one that Hydra knows: without ``run``."""
    line = os.environ.get("COMP_LINE", "")
    shorter = re.sub(r"^(\s*\S+)\s+run\b", r"\1", line)
    os.environ["COMP_LINE"] = shorter
    point = os.environ.get("COMP_POINT", "")
    if point.isdigit():
        os.environ["COMP_POINT"] = str(int(point) - len(line) + len(shorter))


def _job(config: Any) -> None:
    """One job of a foreign launcher: composed by Hydra, run by us."""
    from omegaconf import OmegaConf

    data = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(data, dict)
    code = _work([{str(k): v for k, v in data.items()}], [str(Path.cwd())])
    if code != OK:
        raise RuntimeError(f"the run ended with exit code {code}")


def _work(configurations: Any, paths: Sequence[str]) -> int:
    request = asked(configurations, paths)
    if executor_name(request) == "slurm":
        raise BadRequest("`carps-like run` works here; for executor=slurm use `carps-like submit`")
    return execute(request)


def execute(request: Asked) -> int:
    """Run what a request asks for, here and now; the exit code."""
    plan, folder, paths = request.plan, request.folder, request.paths
    workers, launch = request.config.get("workers", 1), None
    problem = impossible(plan)
    if problem is not None:
        raise problem
    _announce(plan.counts(), folder)
    started = time.monotonic()
    with ExitStack() as stack:
        if executor_name(request) == "dask" and plan.to_do:
            dask = Dask.of(request.config["executor"])
            workers = dask.workers
            for environment in environments_of(plan.to_do):
                environment.build(lambda line: print(line, file=sys.stderr))
            launch = partial(run_generation, stack.enter_context(client_of(dask)))
        progress = stack.enter_context(Progress(plan))
        try:
            outcome = run_plan(
                folder,
                plan,
                workers=workers,
                paths=paths,
                trusted=request.trusted,
                progress=progress,
                launch=launch,
            )
        except KeyboardInterrupt:
            progress.close()
            print(
                "carps-like: interrupted; everything finished is kept, the same command continues",
                file=sys.stderr,
            )
            return INTERRUPTED
    if plan.to_do:
        from carps_like.results import compact

        compact(folder)
    return _tell(outcome, folder, time.monotonic() - started, progress.named)


def _announce(counts: Any, folder: Path) -> None:
    total = sum(counts.values())
    parts = [f"{n} {state}" for state, n in sorted(counts.items())]
    print(f"{total} runs in {folder}: {', '.join(parts)}", file=sys.stderr)


def _tell(outcome: Outcome, folder: Path, seconds: float, named: Container[str]) -> int:
    """The last lines: what ran, what failed, unless it is ``named`` already, how to see why."""
    plan = outcome.plan
    for run in [r for r in plan.runs if r.state == UNSUPPORTED][:5]:
        name, task = run.spec.optimizer["name"], run.spec.task["name"]
        print(f"  {run.state}: {name} on {task}: {run.reason}", file=sys.stderr)
    for run, status, reason in [f for f in outcome.failed if f[0].spec.run_id not in named][:5]:
        name, task = run.spec.optimizer["name"], run.spec.task["name"]
        text = f"  {status}: {name} on {task}, seed {run.spec.seed}: {reason}"
        print(printable(text), file=sys.stderr)
    ended = [(run, outcome.index.best(run.spec.run_id)) for run in plan.to_do]
    for run, execution in [(r, e) for r, e in ended if e is not None and e.fruitless][:5]:
        name, task = run.spec.optimizer["name"], run.spec.task["name"]
        text = f"  every trial failed: {name} on {task}, seed {run.spec.seed}: "
        print(printable(text + execution.first_failure), file=sys.stderr)
    done = outcome.started - outcome.unfinished
    text = f"{max(0, done)} of {outcome.started} runs done in {seconds:.1f} s"
    if not outcome.started:
        text = "nothing left to do"
    if n := sum(e.n_failed for _, e in ended if e is not None):
        text += f"; {n} trials failed"
    if outcome.failed:
        text += f"; {len(outcome.failed)} failed: carps-like status {folder} --failed"
        text += "" if outcome.started else f"; again: carps-like retry {folder}"
    if outcome.unfinished:
        text += f"; {outcome.unfinished} not finished: the same command continues them"
    print(text, file=sys.stderr)
    return SOME_FAILED if outcome.failed or outcome.unfinished else OK

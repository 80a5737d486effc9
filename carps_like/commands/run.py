"""``carps-like run``: Hydra's habits in front, our own plan behind."""

from __future__ import annotations

import os
import re
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

from carps_like.cli import INTERRUPTED, OK, SOME_FAILED, WRONG
from carps_like.compose import BadRequest, Composer, register
from carps_like.plan import LIBRARY_MISSING, UNSUPPORTED, make_plan
from carps_like.progress import Progress
from carps_like.session import (
    Outcome,
    check_workers,
    impossible,
    results_folder,
    run_plan,
    use_data,
)
from carps_like.store import Index

CONFIGS = "pkg://carps_like.configs"


def main(argv: Sequence[str]) -> int:
    """Compose, plan, run, compact, summarize; the exit code."""
    parser = get_args_parser()
    parser.prog = "carps-like run"
    parser.add_argument("--force", action="store_true", help="the same as force=true")
    parser.error = _refuse  # type: ignore[method-assign]
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
    return _study(args)


def _refuse(message: str) -> NoReturn:
    raise BadRequest(f"{message}; see `carps-like run --help`")


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


def _study(args: Namespace) -> int:
    composer = Composer(args.config_dir, args.config_name or "run")
    request = composer.request(args.overrides, multirun=args.multirun)
    paths = [str(Path.cwd())]
    if args.config_dir:
        paths.append(str(Path(args.config_dir).expanduser().resolve()))
    sys.path.extend(p for p in paths if p not in sys.path)
    _early_data(args.overrides)
    return _work(composer.expand(request), paths)


def _early_data(overrides: Sequence[str]) -> None:
    """``data=`` decides which tasks there are, so it counts before anything is composed."""
    for override in overrides:
        if override.startswith("data=") and override not in ("data=null", "data="):
            use_data(override.removeprefix("data=").strip("'\""))


def _work(configurations: Any, paths: Sequence[str]) -> int:
    configurations = iter(configurations)
    first = next(configurations, None)
    if first is None:
        raise BadRequest("the request has no runs")
    for group in ("optimizer", "task"):
        if first.get(group) is None:
            raise BadRequest(f"choose {group}=<name>; `carps-like {group}s` lists them")
    folder, workers = results_folder(first), first.get("workers", 1)
    check_workers(workers)
    index = Index(folder).refresh()
    plan = make_plan(chain([first], configurations), index, force=bool(first.get("force")))
    problem = impossible(plan)
    if problem is not None:
        raise problem
    _announce(plan.counts(), folder)
    started = time.monotonic()
    with Progress(plan) as progress:
        try:
            outcome = run_plan(folder, plan, workers=workers, paths=paths, progress=progress)
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
    return _tell(outcome, folder, time.monotonic() - started)


def _announce(counts: Any, folder: Path) -> None:
    total = sum(counts.values())
    parts = [f"{n} {state}" for state, n in sorted(counts.items())]
    print(f"{total} runs in {folder}: {', '.join(parts)}", file=sys.stderr)


def _tell(outcome: Outcome, folder: Path, seconds: float) -> int:
    """The last lines: what ran, what failed and how to see why."""
    plan = outcome.plan
    for run in [r for r in plan.runs if r.state in (UNSUPPORTED, LIBRARY_MISSING)][:5]:
        name, task = run.spec.optimizer["name"], run.spec.task["name"]
        print(f"  {run.state}: {name} on {task}: {run.reason}", file=sys.stderr)
    for run, status, reason in outcome.failed[:5]:
        name, task = run.spec.optimizer["name"], run.spec.task["name"]
        print(f"  {status}: {name} on {task}, seed {run.spec.seed}: {reason}", file=sys.stderr)
    done = outcome.started - outcome.unfinished
    text = f"{max(0, done)} of {outcome.started} runs done in {seconds:.1f} s"
    if not outcome.started:
        text = "nothing left to do"
    if outcome.failed:
        text += f"; {len(outcome.failed)} failed: carps-like status {folder} --failed"
    if outcome.unfinished:
        text += f"; {outcome.unfinished} not finished: the same command continues them"
    print(text, file=sys.stderr)
    return SOME_FAILED if outcome.failed or outcome.unfinished else OK

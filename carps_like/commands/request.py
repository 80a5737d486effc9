"""What ``run``, ``plan`` and ``submit`` share: a command line composed into a plan."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser

from carps_like.commands.arguments import explained
from carps_like.commands.own import look_in, module_folders
from carps_like.compose import Composer
from carps_like.errors import BadRequest, UnknownName
from carps_like.heartbeat import INTERVAL, Watch
from carps_like.plan import Plan, make_plan
from carps_like.session import check_workers, own_targets, results_folder, use_data
from carps_like.store import LOGS, Index
from carps_like.worker import alive


def living_workers(index: Index) -> set[str]:
    """Attempts whose workers live: by process id on this machine, by heartbeat on others."""
    watch, living = Watch(index.folder), set[str]()
    for again in (True, False):
        unsure = False
        for attempt in watch.known():
            log = index.files.get(index.folder / LOGS / f"{attempt}.jsonl")
            lives = True if log is not None and alive(log.attempt) else watch.alive(attempt)
            if lives:
                living.add(attempt)
            unsure |= lives is None
        if not (again and unsure):
            break
        time.sleep(INTERVAL * 1.2)
    return living


EXECUTORS = ("local", "slurm", "dask")


@dataclass
class Asked:
    """A study as a command line asks for it."""

    plan: Plan
    folder: Path  # of its results
    config: Mapping[str, Any]  # the first configuration: name, workers, executor, ...
    paths: Sequence[str]  # where modules of the user's own are looked for
    trusted: Sequence[str]  # _target_s of the user's own that workers may import


def hydra_arguments(verb: str) -> ArgumentParser:
    """Hydra's flags and overrides, for ``carps-like verb``; a wrong flag is a BadRequest."""
    parser = get_args_parser()
    parser.prog = f"carps-like {verb}"

    def refuse(message: str) -> NoReturn:
        raise BadRequest(explained(parser, message))

    parser.error = refuse  # type: ignore[method-assign]
    return parser


def read_request(verb: str, argv: Sequence[str], flags: Sequence[str] = ()) -> Asked:
    """The plan of a command line of overrides; ``flags`` of the verb's own may stand in it.

    Raises:
        CarpsLikeError: an unknown name or flag, an empty glob, a value out of range.
    """
    words = ["force=true" if word == "--force" else word for word in argv]
    parser = hydra_arguments(verb)
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    return asked(*configurations(parser.parse_intermixed_args(words)), watch=True)


def configurations(args: Namespace) -> tuple[Iterable[dict[str, Any]], list[str]]:
    """Every configuration of a parsed command line, and the folders of the user's modules."""
    composer = Composer(args.config_dir, args.config_name or "run")
    request = composer.request(args.overrides, multirun=args.multirun)
    paths = module_folders(args.config_dir)
    look_in(paths)
    _early_data(args.overrides)
    return composer.expand(request), paths


def _early_data(overrides: Sequence[str]) -> None:
    """``data=`` decides which tasks there are, so it counts before anything is composed."""
    for override in overrides:
        if override.startswith("data=") and override not in ("data=null", "data="):
            use_data(override.removeprefix("data=").strip("'\""))


def asked(
    configurations: Iterable[dict[str, Any]], paths: Sequence[str], *, watch: bool = False
) -> Asked:
    """Plan configurations against what their results folder holds.

    Args:
        watch: look whether workers are at work, on other machines too (a few seconds).
    """
    rest = iter(configurations)
    first = next(rest, None)
    if first is None:
        raise BadRequest("the request has no runs")
    for group in ("optimizer", "task"):
        if first.get(group) is None:
            raise BadRequest(f"choose {group}=<name>; `carps-like {group}s` lists them")
    check_workers(first.get("workers", 1))
    folder = results_folder(first)
    index = Index(folder).refresh()
    living = living_workers(index) if watch else set()
    plan = make_plan(
        chain([first], rest),
        index,
        force=bool(first.get("force")),
        running=lambda e: index.files[e.path].current is e and e.path.stem in living,
    )
    return Asked(plan, folder, first, paths, own_targets(plan))


def executor_name(request: Asked) -> str:
    """``local``, ``slurm`` or ``dask``."""
    executor = request.config.get("executor")
    if not isinstance(executor, dict) or "name" not in executor:
        raise BadRequest(f"executor={executor!r}: choose executor=slurm, dask or local")
    name = str(executor["name"])
    if name not in EXECUTORS:
        raise UnknownName("executor", name, EXECUTORS, f"there are {', '.join(EXECUTORS)}")
    return name

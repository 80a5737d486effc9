"""``carps-like retry``: failed runs again, as a new round; earlier attempts are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from carps_like.cli import OK
from carps_like.commands.arguments import Arguments
from carps_like.commands.own import add_config_dir, module_folders
from carps_like.commands.request import Asked
from carps_like.commands.submit import execute
from carps_like.compose import Composer
from carps_like.errors import BadRequest, BadResults, UnknownName
from carps_like.plan import NEW, Plan, PlannedRun
from carps_like.session import own_targets, use_data
from carps_like.spec import Limits, Spec
from carps_like.store import Execution, Index, check_results
from carps_like.trial import Status

RETRIABLE = tuple(
    s.value for s in (Status.FAILED, Status.TIMEOUT, Status.OUT_OF_MEMORY, Status.CRASHED)
)
_KEYS = ("executor", "limits", "workers", "data")


def main(argv: Sequence[str]) -> int:
    """Do the failed runs of a folder again, here or where ``executor=`` says."""
    parser = Arguments(
        prog="carps-like retry",
        description="Run failed runs again. A later attempt counts, the earlier ones are kept.",
    )
    parser.add_argument("results", type=Path)
    parser.add_argument(
        "--status",
        default=",".join(RETRIABLE),
        help="which: failed, timeout, out_of_memory, crashed (default: all of them)",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="TARGET",
        help="a class of your own that the runs name as _target_; stored names import nothing",
    )
    add_config_dir(parser)
    parser.add_argument(
        "overrides", nargs="*", help="workers=4, limits.trial_seconds=60, executor=slurm, ..."
    )
    given = parser.parse_intermixed_args(argv)
    check_results([given.results])
    wanted = _statuses(given.status)
    config = _config(given.overrides)
    use_data(config.get("data"))
    plan = plan_again(given.results, wanted, config["limits"])
    if not plan.runs:
        print(f"{given.results} has no runs with status {', '.join(sorted(wanted))}")
        return OK
    _check_trusted(plan, given.trust)
    paths = module_folders(given.config_dir)
    return execute(Asked(plan, given.results, config, paths, given.trust))


def _check_trusted(plan: Plan, trusted: Collection[str]) -> None:
    """Raise :class:`BadRequest` for what workers would refuse to import."""
    for name in own_targets(plan):
        if name not in trusted:
            raise BadRequest(
                f"the runs use {name!r}, which is not part of carps-like; "
                f"if it is yours, add --trust {name}"
            )


def _statuses(text: str) -> set[str]:
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    for status in wanted:
        if status not in RETRIABLE:
            raise UnknownName("status", status, RETRIABLE, f"there are {', '.join(RETRIABLE)}")
    return wanted


def _config(overrides: Sequence[str]) -> dict[str, Any]:
    """What says where and how to run; what is run stands in the results."""
    for override in overrides:
        key = override.lstrip("+").partition("=")[0].partition(".")[0]
        if key not in _KEYS:
            raise BadRequest(f"retry takes {', '.join(_KEYS)}, not {override!r}")
    return Composer().compose(overrides)


def plan_again(folder: Path, wanted: Collection[str], limits: Mapping[str, Any]) -> Plan:
    """The runs whose outcome is one of ``wanted``, as the next round of each.

    Args:
        limits: replace those of the runs where they are not ``None``.
    """
    index = Index(folder).refresh()
    again = [e for e in index.winners() if e.finished and e.status in wanted]
    return Plan([_again(e, limits) for e in again])


def _again(execution: Execution, limits: Mapping[str, Any]) -> PlannedRun:
    stored = execution.header.get("spec")
    spec = Spec.of(stored if isinstance(stored, Mapping) else {})
    if spec.run_id != execution.run_id:
        raise BadResults(
            f"{execution.path}: run {execution.run_id!r} does not match its configuration"
        )
    changed = {**spec.limits, **{k: v for k, v in limits.items() if v is not None}}
    kept = {k: v for k, v in vars(Limits(**changed)).items() if v is not None}
    return PlannedRun(replace(spec, limits=kept), NEW, execution.status, 0.0, execution.round + 1)

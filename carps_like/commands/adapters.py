"""``carps-like env`` and ``carps-like check``: what adapters need, and whether they keep it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from carps_like.commands.arguments import Arguments
from carps_like.commands.own import add_config_dir, known_variants, look_in, module_folders
from carps_like.errors import BadValue, UnknownName
from carps_like.registry import variant
from carps_like.variants import Variant

if TYPE_CHECKING:
    from carps_like.isolation.environment import Environment


def environments(known: Mapping[str, Variant]) -> dict[str, Environment]:
    """Name -> environment of the variants that have one."""
    found = {}
    for one in known.values():
        if one.environment is not None:
            found[one.environment.name] = one.environment
    return found


def env(argv: Sequence[str]) -> int:
    """List, build or remove environments; exit code 2 for a name that none has."""
    parser = Arguments("carps-like env", description=env.__doc__)
    parser.add_argument("action", choices=("list", "build", "remove"))
    parser.add_argument("names", nargs="*", help="of environments or of optimizers; all")
    add_config_dir(parser)
    given = parser.parse_intermixed_args(argv)
    optimizers = known_variants(given.config_dir)
    known = environments(optimizers)
    if given.action == "list":
        for name, one in known.items():
            state = str(one.folder) if one.ready else "not built"
            print(f"{name:24s} {' '.join(one.requirements):60s} {state}")
        return 0
    names = list(known) if given.names == ["all"] else given.names
    if not names:
        raise BadValue(f"carps-like env {given.action} needs a name: {', '.join(known)}, or all")
    for name in names:
        one = _named(name, known, optimizers)
        if given.action == "build":
            print(one.build(lambda line: print(line, file=sys.stderr)).parent.parent)
        else:
            print(f"{one.folder} {'removed' if one.remove() else 'was not there'}")
    return 0


def _named(
    name: str, known: Mapping[str, Environment], optimizers: Mapping[str, Variant]
) -> Environment:
    if name in known:
        return known[name]
    owner = optimizers.get(name)
    if owner is not None and owner.environment is not None:
        return owner.environment
    if owner is not None:
        raise BadValue(f"optimizer {name!r} needs no environment of its own")
    raise UnknownName("environment", name, known, f"there are {', '.join(known)}")


def check(argv: Sequence[str]) -> int:
    """Run the conformance suite on an optimizer: a variant's name, or ``module:Class`` (the
    module may stand in the current folder). Exit code 1 if a check fails.
    """
    parser = Arguments("carps-like check", description=check.__doc__)
    parser.add_argument("optimizer", help="a variant's name, or my_module:MyOptimizer")
    parser.add_argument("--quick", action="store_true", help="fewer trials, no statistics")
    add_config_dir(parser)
    given = parser.parse_intermixed_args(argv)
    from carps_like.testing import QUICK, Check, Effort, check_optimizer

    def report(one: Check, problem: str) -> None:
        print(f"{'FAILED' if problem else 'ok':7s} {one}{': ' + problem if problem else ''}")

    chosen = _chosen(given.optimizer, given.config_dir)
    missing = chosen.missing()
    if missing is not None:
        raise missing
    failed = check_optimizer(chosen, QUICK if given.quick else Effort(), report)
    counted = f"{len(failed)} check{'s' if len(failed) > 1 else ''} failed"
    print(f"{given.optimizer}: {counted if failed else 'all checks passed'}")
    return 1 if failed else 0


def _chosen(text: str, config_dir: str | None) -> Variant:
    if ":" not in text:
        return variant(text, known_variants(config_dir))
    look_in(module_folders(config_dir))
    return Variant(text, text.replace(":", "."))

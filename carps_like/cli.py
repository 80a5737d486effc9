"""The command line: verbs with one job each; errors are one line, with exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from carps_like.errors import BadValue, CarpsLikeError, UnknownName, printable

OK, SOME_FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

USAGE = """\
carps-like: compare hyperparameter optimizers on benchmark tasks

  carps-like run optimizer=random task=bbob-d02-f01-i01 seed=3
  carps-like run -m 'optimizer=random,optuna-tpe' 'task=glob(bbob-d02-*-i01)' 'seed=range(0,5)'
  carps-like run study=demo workers=2

  run         run a study, or go on with it; what is finished is skipped
  plan        what a study has to run, its state and why: nothing is run
  submit      the same on a cluster: executor=slurm executor.partition=... executor.array=100
  retry       do failed runs again: retry RESULTS --status timeout,out_of_memory
  merge       join results of several machines: merge A B -o C
  tasks       list tasks: --type mf --collection yahpo --max-dim 5 --where "..." --json
  task        show one task with its search space
  optimizers  list optimizers: --type mo --json
  optimizer   show one optimizer with its options
  status      what a results folder holds, by state; --watch follows it
  report      one self-contained page: report RESULTS [-o FILE]
  analyze     which differences are real: analyze RESULTS [--against random]
  subset      few tasks that speak for all: subset RESULTS --k 20 --split dev,test -o mine.yaml
  compact     make runs.parquet and trials.parquet from the logs
  env         environments of optimizers that need one: env list, env build neps, env remove neps
  check       does an optimizer keep what it claims? check my_module:MyOptimizer [--quick]

Each verb has --help. Exit codes: 0 all good, 1 some runs failed, 2 the request was wrong,
130 interrupted (everything finished is kept).
"""


def _run(argv: Sequence[str]) -> int:
    from carps_like.commands.run import main

    return main(argv)


def _plan(argv: Sequence[str]) -> int:
    from carps_like.commands.plan import main

    return main(argv)


def _submit(argv: Sequence[str]) -> int:
    from carps_like.commands.submit import main

    return main(argv)


def _retry(argv: Sequence[str]) -> int:
    from carps_like.commands.retry import main

    return main(argv)


def _merge(argv: Sequence[str]) -> int:
    from carps_like.commands.merge import main

    return main(argv)


def _tasks(argv: Sequence[str]) -> int:
    from carps_like.commands.listing import tasks

    return tasks(argv)


def _task(argv: Sequence[str]) -> int:
    from carps_like.commands.listing import task

    return task(argv)


def _optimizers(argv: Sequence[str]) -> int:
    from carps_like.commands.listing import optimizers

    return optimizers(argv)


def _optimizer(argv: Sequence[str]) -> int:
    from carps_like.commands.listing import optimizer

    return optimizer(argv)


def _status(argv: Sequence[str]) -> int:
    from carps_like.commands.status import main

    return main(argv)


def _report(argv: Sequence[str]) -> int:
    from carps_like.commands.folder import report

    return report(argv)


def _analyze(argv: Sequence[str]) -> int:
    from carps_like.commands.analysis import analyze

    return analyze(argv)


def _subset(argv: Sequence[str]) -> int:
    from carps_like.commands.analysis import subset

    return subset(argv)


def _compact(argv: Sequence[str]) -> int:
    from carps_like.commands.folder import compact

    return compact(argv)


def _env(argv: Sequence[str]) -> int:
    from carps_like.commands.adapters import env

    return env(argv)


def _check(argv: Sequence[str]) -> int:
    from carps_like.commands.adapters import check

    return check(argv)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": _run,
    "plan": _plan,
    "submit": _submit,
    "retry": _retry,
    "merge": _merge,
    "tasks": _tasks,
    "task": _task,
    "optimizers": _optimizers,
    "optimizer": _optimizer,
    "status": _status,
    "report": _report,
    "analyze": _analyze,
    "subset": _subset,
    "compact": _compact,
    "env": _env,
    "check": _check,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``carps-like`` and ``python -m carps_like``; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return OK if args else WRONG
    if args[0] == "--version":
        from carps_like import __version__

        print(f"carps-like {__version__}")
        return OK
    if args[0] in ("-sc", "--shell-completion"):  # how the script of `run -sc install=bash` asks
        words = os.environ.get("COMP_LINE", "").split()
        if words[1:2] != ["run"]:
            print(*(VERBS if len(words) <= 2 else ()), sep="\n")
            return OK
        args.insert(0, "run")
    verb = VERBS.get(args[0])
    return guarded(lambda: verb(args[1:]) if verb else _unknown(args[0]))


def _unknown(verb: str) -> int:
    if "=" in verb:
        raise BadValue(f"{verb!r} is no command; did you mean 'carps-like run {verb}'?")
    raise UnknownName("command", verb, VERBS, f"there are {', '.join(VERBS)}")


def guarded(action: Callable[[], int]) -> int:
    """Run a verb: a user's mistake is one line and exit code 2, Ctrl-C is 130."""
    try:
        return action()
    except CarpsLikeError as error:
        print(f"carps-like: {printable(str(error))}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("carps-like: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return OK

"""``carps-like submit``: plan, freeze the plan, hand it to a cluster, return."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from carps_like.cli import OK
from carps_like.commands.plan import cpu_hours, summary
from carps_like.commands.request import Asked, executor_name, read_request
from carps_like.executors.slurm import FOLDER, Slurm, script, script_path, submit
from carps_like.isolation.environment import home
from carps_like.log import DiskFull
from carps_like.plan import chunk_size, write_generation
from carps_like.session import environments_of, has_run_limits, impossible, note_refused
from carps_like.store import Index

HELP = """\
usage: carps-like submit STUDY-ARGS executor=slurm [executor.FIELD=VALUE ...]

Plan a study, freeze the plan and submit an array of workers that do what is left; then return.
Submitting again is safe at any time: finished runs are skipped, cut ones are continued.

  carps-like submit study=bb-small executor=slurm executor.partition=main executor.array=20
  carps-like submit study=./mine.yaml executor=slurm executor.time=08:00:00
  carps-like submit study=bb-small executor=slurm executor.script_only=true

executor=slurm   fields: see configs/executor/slurm.yaml, or --cfg job of `carps-like run`
executor=dask    works until done, like `carps-like run executor=dask`
executor=local   the same as `carps-like run`

Afterwards: carps-like status RESULTS --watch
"""


def main(argv: Sequence[str]) -> int:
    """Submit; exit code 2 when the request is wrong or the cluster refuses it."""
    if "-h" in argv or "--help" in argv:
        print(HELP, end="")
        return OK
    request = read_request("submit", argv)
    return execute(request)


def execute(request: Asked) -> int:
    """Hand a request to the executor that it names."""
    if executor_name(request) == "slurm":
        return to_slurm(request)
    from carps_like.commands.run import execute as run

    return run(request)


def to_slurm(request: Asked) -> int:
    """Freeze the plan of a request, write the script, submit it."""
    slurm = Slurm.of(request.config["executor"])
    plan, folder = request.plan, request.folder
    problem = impossible(plan)
    if problem is not None:
        raise problem
    print(summary(plan, str(folder)), end="", file=sys.stderr)
    note_refused(folder, plan, Index(folder).refresh())
    to_do = plan.to_do
    if not to_do:
        print("nothing left to do", file=sys.stderr)
        return OK
    environments = environments_of(to_do)
    if not slurm.script_only:
        for environment in environments:  # once and here, not by each of many workers
            environment.build(lambda line: print(line, file=sys.stderr))
    generation = write_generation(folder, to_do, slurm.array)
    chunks = -(-len(to_do) // chunk_size(len(to_do), slurm.array))
    n_workers = min(slurm.array, chunks)
    path = _write(request, slurm, generation, n_workers)
    if slurm.script_only:
        for environment in environments:
            if not environment.ready:
                print(f"first, on the cluster: carps-like env build {environment.name}")
        print(f"script: {path}\nsubmit it on the cluster: sbatch {path}")
        return OK
    accepted = submit(path, n_workers, slurm.max_running)
    for array in accepted:
        print(f"submitted job {array.job}: {array.n_workers} workers")
    got = sum(array.n_workers for array in accepted)
    if got < n_workers:
        print(f"the cluster allows no more now: {got} of {n_workers} workers", file=sys.stderr)
    print(f"script: {path}\nwatch it: carps-like status {folder} --watch")
    return OK


def _write(request: Asked, slurm: Slurm, generation: int, n_workers: int) -> Path:
    to_do, folder = request.plan.to_do, request.folder
    about = f"{len(to_do)} runs of study {request.config.get('name')!r}, "
    about += f"generation {generation}, {cpu_hours(to_do):.3g} CPU hours of evaluations"
    names = ("CARPS_LIKE_DATA", "CARPS_LIKE_ENVS")
    environment = {name: value for name in names if (value := os.environ.get(name))}
    if environments_of(to_do):
        environment["CARPS_LIKE_ENVS"] = str(home())  # wherever the nodes think we are at home
    text = script(
        slurm,
        folder,
        generation,
        n_workers,
        about=about.replace("\n", " "),
        trusted=request.trusted,
        paths=request.paths,
        limited=has_run_limits(to_do),
        environment=environment,
    )
    path = script_path(folder, generation)
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    except OSError as error:
        raise DiskFull(f"cannot write the script {path}: {error.strerror}") from None
    return path

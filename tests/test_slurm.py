"""Studies on a real SLURM cluster of several nodes, started on this machine for the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusters import apart, digests, own_tasks, slow

from carps_like.cli import main
from carps_like.executors.slurm import Slurm, max_array_size, script, submit
from carps_like.plan import holders
from carps_like.store import Index
from carps_like.worker import alive

pytestmark = pytest.mark.xdist_group("slurm")  # there is one cluster

SCRIPT = Path(__file__).parents[1] / "scripts" / "slurm_local.sh"
N_RUNS, TRIALS = 24, 10


def local(*argv: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *argv], capture_output=True, text=True, timeout=seconds
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Three nodes of two CPUs; SLURM is installed where it is missing and apt is at hand."""
    if os.geteuid() != 0:
        pytest.skip("a SLURM cluster of one's own needs root")
    if shutil.which("slurmctld") is None and shutil.which("apt-get") is None:
        pytest.skip("SLURM is not installed, and there is no apt to install it with")
    running = local("status").returncode == 0
    try:
        up = local("up", seconds=480)
    except subprocess.TimeoutExpired:
        pytest.skip("SLURM did not start here within eight minutes")
    if up.returncode != 0:
        last = (up.stdout + up.stderr).strip().splitlines() or ["no reason given"]
        pytest.skip(f"SLURM cannot be started here: {last[-1]}")
    saved = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = local("env").stdout.strip().partition("=")[2]
    yield
    if saved is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = saved
    if not running:
        local("down")


@pytest.fixture
def jobs(cluster: None) -> Iterator[None]:
    """Whatever a test has submitted is gone afterwards, and every node is back."""
    yield
    subprocess.run(["scancel", "--user", str(os.getuid())], check=True)
    for line in slurm("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").splitlines():
        node, state = line.split()
        if not re.match("idle|mix|alloc|comp", state) or state.endswith("*"):
            local("start-node", node)
    until(no_jobs_left)


def no_jobs_left() -> bool:
    return not queue()


def finished(folder: Path) -> int:
    """Runs of the grid that are done; cheaper than reading the tables."""
    index = Index(folder).refresh()
    return sum(map(index.finished, index.executions))


def slurm(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def queue() -> list[str]:
    """``id state`` of each job that is not over."""
    return slurm("squeue", "-h", "-r", "-o", "%i %T").splitlines()


def until(
    condition: Callable[[], bool], seconds: float = 150, waiting_for: str = "the queue"
) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            state = queue() if waiting_for == "the queue" else "not asked"
            pytest.fail(f"waited {seconds:g} s for {waiting_for}; jobs: {state}")
        time.sleep(0.3)


def grid(conf: Path, folder: Path) -> list[str]:
    words = ["--config-dir", str(conf), "-m", "optimizer=random", "task=own-slow"]
    return [*words, f"seed=range(0,{N_RUNS})", f"budget.trials={TRIALS}", f"results={folder}"]


def submitted(conf: Path, folder: Path, *more: str) -> str:
    """Submit the grid; the script's text."""
    words = ["executor=slurm", "executor.array=6", "executor.memory_mb=300", "executor.time=10"]
    assert main(["submit", *grid(conf, folder), *words, *more]) == 0
    return sorted((folder / "slurm").glob("*.sh"))[-1].read_text()


def begun(folder: Path, trials: int = 1) -> bool:
    return (folder / "logs").is_dir() and Index(folder).refresh().n_trials >= trials


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_tasks(tmp_path_factory.mktemp("own") / "conf", **{"own-slow": slow(0.1)})


@pytest.fixture(scope="module")
def undisturbed(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed") / "r"
    assert main(["run", *grid(conf, folder), "workers=4"]) == 0
    found = digests(folder)
    assert len(found) == N_RUNS
    return found


def test_submit_returns_and_the_array_does_the_whole_study(
    jobs: None, conf: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "a study"  # a space in the path
    text = submitted(conf, out, "executor.partition=main")
    assert "#SBATCH --partition=main" in text and "#SBATCH --array=0-5" in text
    until(no_jobs_left)
    assert digests(out) == undisturbed
    index = Index(out).refresh()
    assert all(len(executions) == 1 for executions in index.executions.values())
    assert main(["status", str(out)]) == 0
    assert not list((out / "heartbeats").iterdir())  # every worker said that it ended
    submitted(conf, out)
    assert not queue()  # nothing left to do


def test_submitting_again_while_an_array_runs_disturbs_nothing(
    jobs: None, conf: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    submitted(conf, out, "executor.array=3")
    until(lambda: begun(out))
    submitted(conf, out, "executor.array=3")
    until(no_jobs_left)
    assert digests(out) == undisturbed


def test_editing_a_configuration_after_submit_changes_nothing_in_the_study(
    jobs: None, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    conf = own_tasks(tmp_path / "conf", **{"own-slow": slow(0.1)})
    out = tmp_path / "r"
    submitted(conf, out, "executor.script_only=true")
    (conf / "task" / "own-slow.yaml").write_text("name: something-else\n_target_: os.system\n")
    slurm("sbatch", str(out / "slurm" / "g000.sh"))
    until(no_jobs_left)
    assert digests(out) == undisturbed


def test_array_tasks_that_are_cancelled_leave_their_work_to_the_others(
    jobs: None, conf: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    submitted(conf, out)
    until(lambda: begun(out, 20))
    job = queue()[0].partition("_")[0]
    slurm("scancel", f"{job}_1", f"{job}_4")
    slurm("scancel", "--signal=KILL", "--full", f"{job}_2")
    until(no_jobs_left)
    assert digests(out) == undisturbed


def test_a_warning_before_the_time_limit_stops_with_exit_code_0_and_keeps_everything(
    jobs: None, conf: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    submitted(conf, out, "executor.array=4")
    until(lambda: begun(out, 40))
    job = queue()[0].partition("_")[0]
    for i, signal in enumerate(["USR1", "TERM", "USR1", "TERM"]):
        slurm("scancel", f"--signal={signal}", "--batch", f"{job}_{i}")
    until(no_jobs_left)
    shown = slurm("scontrol", "show", "job", job)
    assert set(re.findall(r"ExitCode=(\S+)", shown)) == {"0:0"}
    assert set(re.findall(r"JobState=(\S+)", shown)) == {"COMPLETED"}
    before = digests(out)
    assert len(before) < N_RUNS and begun(out, 40)
    submitted(conf, out)
    until(no_jobs_left)
    assert digests(out) == undisturbed


def test_no_run_is_started_after_the_deadline(
    jobs: None, conf: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    text = submitted(conf, out, "executor.time=1:12", "executor.margin=60", "executor.array=1")
    assert "#SBATCH --signal=B:USR1@60" in text and "--seconds 12" in text
    until(no_jobs_left)
    assert 0 < len(digests(out)) < N_RUNS
    shown = slurm("scontrol", "show", "job", _last_job())
    assert set(re.findall(r"ExitCode=(\S+)", shown)) == {"0:0"}


def _last_job() -> str:
    found = re.findall(r"ArrayJobId=(\d+)", slurm("scontrol", "show", "job"))
    return max(found, key=int)


def test_preempted_workers_are_requeued_and_lose_nothing(
    jobs: None, conf: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    out = tmp_path / "r"
    submitted(conf, out, "executor.partition=low")
    until(lambda: begun(out, 20))
    slurm(
        "sbatch", "-p", "high", "--array=0-5", "--mem=300", "-o", "/dev/null", "--wrap", "sleep 3"
    )
    until(lambda: any("PENDING" in line for line in queue()), 60)
    until(_kicked, 200)
    assert digests(out) == undisturbed


def _kicked() -> bool:
    local("kick")
    return not queue()


def test_a_node_that_dies_and_zombies_that_go_on_cost_time_and_nothing_else(
    jobs: None, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """One node dies with its jobs; of another only the daemon does, so that its jobs go on while
    SLURM, which takes them for dead, starts them again elsewhere."""
    conf = own_tasks(tmp_path / "conf", **{"own-slow": slow(0.65)})
    out = tmp_path / "r"
    submitted(conf, out, "executor.array=4")
    until(lambda: begun(out, 12))
    where = [line.split()[1] for line in slurm("squeue", "-hr", "-o%i %N").splitlines()]
    dead, undead = sorted(set(where))  # two workers on each; the third node is free
    assert local("kill-node", dead).returncode == 0
    assert local("kill-slurmd", undead).returncode == 0
    first = set((out / "logs").iterdir())
    until(lambda: sum("PENDING" in line for line in queue()) == 4)

    def again() -> bool:  # the same array tasks on the third node
        local("kick")
        return len(set((out / "logs").iterdir()) - first) >= 2

    until(again)
    index = Index(out).refresh()
    assert sum(alive(index.files[path].attempt) for path in first) == 2  # beside the zombies
    until(lambda: finished(out) == N_RUNS, 200)
    # the pause is an option of the task, so the runs have other ids and the same trajectories
    assert sorted(digests(out).values()) == sorted(undisturbed.values())
    assert any(level for level, _ in holders(out, 0).values())  # what the dead had begun


def test_more_workers_than_an_array_can_have_become_several_arrays(
    jobs: None, tmp_path: Path
) -> None:
    assert max_array_size() == 1001  # the largest index is 1000
    slurm_options = Slurm(memory_mb=100, options=("--hold",))
    path = tmp_path / "job.sh"
    text = script(slurm_options, tmp_path, 0, 1500, about="a test")
    path.write_text(re.sub(r"(?m)^#SBATCH --output=.*$", "#SBATCH --output=/dev/null", text))
    arrays = submit(path, 1500)
    assert [a.n_workers for a in arrays] == [1001, 499]
    assert len(queue()) == 1500


@pytest.fixture
def seven_jobs(jobs: None) -> Iterator[str]:
    """An account whose users can have seven jobs at once, on a cluster that enforces it."""
    conf = Path(os.environ["SLURM_CONF"])
    saved = conf.read_text()
    subprocess.run(["sacctmgr", "-i", "add", "account", "seven"], capture_output=True)
    user = ["sacctmgr", "-i", "add", "user", "root", "account=seven", "MaxSubmitJobs=7"]
    subprocess.run(user, capture_output=True)
    if "seven" not in slurm("sacctmgr", "-n", "-P", "show", "assoc", "format=account"):
        pytest.skip("this cluster has no accounting")
    _restart(conf, saved + "AccountingStorageEnforce=limits\n")
    yield "seven"
    slurm("scancel", "--user", str(os.getuid()))
    _restart(conf, saved)


def _restart(conf: Path, text: str) -> None:
    """Only a new controller looks at what is to be enforced."""
    conf.write_text(text)
    controller = (conf.parents[1] / "run" / "slurmctld.own").read_text().split()[0]
    slurm("scontrol", "shutdown", "slurmctld")
    until(lambda: not Path("/proc", controller).exists(), 60, waiting_for="the old controller")
    until(lambda: local("up").returncode == 0, 60)


def test_a_limit_on_submitted_jobs_costs_workers_and_no_runs(
    seven_jobs: str, conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["executor=slurm", "executor.array=12", "executor.memory_mb=300", "executor.time=10"]
    words += [f"executor.account={seven_jobs}"]
    assert main(["submit", *grid(conf, tmp_path / "r"), *words]) == 0
    assert "7 of 12 workers" in capsys.readouterr().err
    until(no_jobs_left)
    assert len(digests(tmp_path / "r")) == N_RUNS


def test_an_environment_of_an_optimizers_own_is_built_once_before_the_array_starts(
    jobs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARPS_LIKE_ENVS", str(tmp_path / "environments"))
    conf, out = apart(tmp_path / "conf"), tmp_path / "r"
    words = ["--config-dir", str(conf), "-m", "optimizer=apart", "task=bbob-d02-f01-i01"]
    words += ["seed=range(0,6)", "budget.trials=10"]
    executor = ["executor=slurm", "executor.array=2", "executor.time=10", "executor.memory_mb=300"]
    assert main(["submit", *words, *executor, f"results={out}"]) == 0
    assert capsys.readouterr().err.count("building the environment") == 1
    (built,) = (tmp_path / "environments").glob("*/complete")
    text = (out / "slurm" / "g000.sh").read_text()
    assert f"CARPS_LIKE_ENVS={tmp_path / 'environments'}" in text
    until(no_jobs_left)
    assert built.stat().st_mtime < min(p.stat().st_mtime for p in (out / "logs").iterdir())
    assert main(["run", *words, f"results={tmp_path / 'here'}"]) == 0
    assert digests(out) == digests(tmp_path / "here") and len(digests(out)) == 6


def test_a_refused_job_is_one_line(
    jobs: None, conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["executor=slurm", "executor.partition=nowhere"]
    assert main(["submit", *grid(conf, tmp_path / "r"), *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("carps-like: sbatch refused") and "partition" in error

"""The progress of a grid, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from carps_like.errors import printable
from carps_like.plan import Plan
from carps_like.store import Index
from carps_like.trial import Status

EVERY = 30.0  # seconds between lines where there is no terminal


class Progress:
    """Called with what is logged so far; shows runs done, trials, and each new failure."""

    def __init__(self, plan: Plan) -> None:
        self._wanted = {run.spec.run_id: run for run in plan.to_do}
        self._done: set[str] = set()
        self.named: set[str] = set()  # failed runs that a line was printed for
        self._seen_trials = -1
        self._next_line = time.monotonic() + EVERY
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=len(self._wanted),
            unit="run",
            disable=not (terminal and self._wanted),
            leave=False,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._bar.close()

    def __call__(self, index: Index) -> None:
        if index.n_trials == self._seen_trials and index.n_done == len(self._done):
            return
        self._seen_trials = index.n_trials
        for run_id in self._wanted.keys() - self._done:
            best = index.best(run_id)
            if best is not None and best.finished and best.round >= self._wanted[run_id].round:
                self._done.add(run_id)
                self._bar.update()
                if best.status not in (Status.OK, Status.UNSUPPORTED):
                    self._failure(run_id, best.status, best.error)
        self._bar.set_postfix_str(f"{index.n_trials} trials", refresh=False)
        self._line(index)

    def _failure(self, run_id: str, status: str, error: str) -> None:
        self.named.add(run_id)
        spec = self._wanted[run_id].spec
        first = error.splitlines()[0] if error else ""
        where = f"{spec.optimizer['name']} on {spec.task['name']}, seed {spec.seed}"
        tqdm.write(printable(f"  {status}: {where}: {first}"), file=sys.stderr)

    def _line(self, index: Index) -> None:
        if self._bar.disable and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + EVERY
            n = f"{len(self._done)}/{len(self._wanted)}"
            print(f"  {n} runs, {index.n_trials} trials", file=sys.stderr)

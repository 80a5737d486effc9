"""A cache simulator: a set-associative cache in front of a DRAM with open rows.

It stands for the architecture simulators of ArchGym (Krishnan et al., 2023): parameters in, metrics
out, one process per evaluation. Run ``python -m carps_like.tasks.simulators.cache`` with a JSON
object on standard input; the answer is a JSON object on standard output.

Input: ``size_kib``, ``line_bytes``, ``ways``, ``policy`` (lru, fifo, random), ``write`` (back,
through), ``prefetch`` (lines fetched ahead), ``banks`` and ``row_bytes`` of the DRAM,
``interleave`` (row, line: which address bits choose the bank); ``accesses`` is the length of the
trace, ``workload`` one of ``WORKLOADS``, ``seed`` draws it.

Output: ``latency`` (average of an access, cycles), ``energy`` (of an access, pJ), ``area`` (mm^2),
``miss_rate``. Latencies: hit 1 cycle + 1 per doubling of the ways; DRAM 20 cycles in an open row,
60 in another. Energies and areas grow with size and ways as in common textbook fits; they are a
model, not a measurement.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

WORKLOADS = ("stream", "pointers", "matrix", "mixed")
OPEN_ROW, CLOSED_ROW = 20, 60  # cycles


def trace(workload: str, n: int, rng: random.Random) -> Iterator[tuple[int, bool]]:
    """Addresses in bytes, and whether they are written; ``n`` of them."""
    side, working_set = 96, 1 << 19
    for k in range(n):
        kind = workload if workload != "mixed" else WORKLOADS[k // 64 % 3]
        if kind == "stream":
            yield 8 * k % (1 << 22), k % 4 == 0
        elif kind == "pointers":
            yield int(working_set * rng.random() ** 3) & ~7, rng.random() < 0.2
        else:  # a column walk through a matrix of doubles beside a row walk
            i, j = k // 2 % side, k // (2 * side) % side
            yield (8 * (i * side + j), False) if k % 2 else (1 << 20 | 8 * (j * side + i), True)


class Cache:
    """Tags only: sets of at most ``ways`` lines, each with its dirty bit."""

    def __init__(self, options: dict[str, Any], rng: random.Random) -> None:
        self.line = int(options["line_bytes"])
        self.ways = int(options["ways"])
        self.n_sets = max(1, 1024 * int(options["size_kib"]) // (self.line * self.ways))
        self.policy, self.rng = str(options["policy"]), rng
        self.sets: list[OrderedDict[int, bool]] = [OrderedDict() for _ in range(self.n_sets)]

    def touch(self, number: int, dirty: bool) -> bool:
        """Whether line ``number`` was there; it is marked dirty if asked."""
        lines = self.sets[number % self.n_sets]
        if number not in lines:
            return False
        lines[number] = lines[number] or dirty
        if self.policy == "lru":
            lines.move_to_end(number)
        return True

    def fill(self, number: int, dirty: bool) -> int | None:
        """Bring a line in; the dirty line that it pushes out, if any."""
        lines, out = self.sets[number % self.n_sets], None
        if len(lines) >= self.ways:
            victim = next(iter(lines))
            if self.policy == "random":
                victim = self.rng.choice(list(lines))
            out = victim if lines.pop(victim) else None
        lines[number] = dirty
        return out


class Dram:
    """Banks with one open row each."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.banks, self.row = int(options["banks"]), int(options["row_bytes"])
        self.by_line = options["interleave"] == "line"
        self.open: dict[int, int] = {}

    def access(self, address: int) -> int:
        """Cycles of one transfer."""
        row = address // self.row
        bank = (address // 64 if self.by_line else row) % self.banks
        cycles = OPEN_ROW if self.open.get(bank) == row else CLOSED_ROW
        self.open[bank] = row
        return cycles


def simulate(options: dict[str, Any]) -> dict[str, float]:
    """Run one trace; see the module for options and metrics."""
    rng = random.Random(int(options.get("seed", 0)))
    cache, dram = Cache(options, rng), Dram(options)
    n = int(options["accesses"])
    through = options["write"] == "through"
    hit_cycles = 1 + math.log2(cache.ways)
    cycles = transfers = misses = 0.0
    for address, write in trace(str(options["workload"]), n, rng):
        number = address // cache.line
        cycles += hit_cycles
        if not cache.touch(number, write and not through):
            misses += 1
            for ahead in range(1 + int(options["prefetch"])):
                wanted = number + ahead
                if ahead and cache.touch(wanted, False):
                    continue
                spent = dram.access(wanted * cache.line) + cache.line / 16
                cycles += spent if ahead == 0 else 0.25 * spent
                transfers += 1
                pushed_out = cache.fill(wanted, write and not through and ahead == 0)
                if pushed_out is not None:
                    cycles += 0.5 * dram.access(pushed_out * cache.line)
                    transfers += 1
        if write and through:
            cycles += 0.25 * dram.access(address)
            transfers += 0.25
    return _metrics(options, cycles / n, transfers / n, misses / n)


def _metrics(
    options: dict[str, Any], latency: float, transfers: float, miss_rate: float
) -> dict[str, float]:
    size, ways = int(options["size_kib"]), int(options["ways"])
    hit_energy = 2.0 * math.sqrt(size) * (1 + 0.1 * ways)
    line_energy = 8.0 * int(options["line_bytes"])
    area = 0.02 * size * (1 + 0.02 * ways) + 0.05 * int(options["banks"])
    return {
        "latency": latency,
        "energy": hit_energy + transfers * line_energy,
        "area": area,
        "miss_rate": miss_rate,
    }


if __name__ == "__main__":
    json.dump(simulate(json.load(sys.stdin)), sys.stdout)

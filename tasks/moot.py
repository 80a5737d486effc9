"""MOOT (Menzies et al., 2025): measured configurations of software systems, and of learners.

83 tables: run time, throughput, size and the like of compilers, databases, encoders and stream
processors; settings of random forests and of reinforcement learning. 19 are full grids. The others
are finite pools, and come twice: ``-bb`` and ``-mo`` answer with the nearest row, ``-strict-bb``
and ``-strict-mo`` fail a trial that is not in the pool. Repeated rows are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from carps_like.description import TaskDescription
from carps_like.registry import Collection
from carps_like.tasks._tables import TableTask, catalogue, counts, objectives, space


class Moot(Collection):
    name = "moot"

    def names(self) -> Iterator[str]:
        for table in catalogue("moot"):
            yield from self._names_of(table)

    def describe(self, name: str) -> TaskDescription:
        parts = name.split("-")
        row = catalogue("moot").get(parts[1]) if len(parts) in (3, 4) else None
        if row is None or name not in set(self._names_of(parts[1])):
            raise self.unknown(name)
        n = len(row["objectives"]) if parts[-1] == "mo" else 1
        pool = "grid" if row["grid"] else "strict" if len(parts) == 4 else "nearest row"
        return TaskDescription(
            name=name,
            make_space=partial(space, "moot", parts[1]),
            objectives=objectives(row["objectives"][:n]),
            collection="moot",
            kind="table",
            optimum_source="the whole table (Menzies et al., 2025)",
            hypervolume=row["hypervolume"] if n > 1 else None,
            evaluation_seconds=1e-5 if row["grid"] else 1e-3,
            metadata={
                "folder": "moot",
                "table": parts[1],
                "title": row["title"],
                "columns": tuple(f"y{i}" for i in range(n)),
                "rows": row["rows"],
                "pool": pool,
            },
            **counts(row["inputs"]),
        )

    def _names_of(self, table: str) -> Iterator[str]:
        row = catalogue("moot")[table]
        for pool in ("",) if row["grid"] else ("", "-strict"):
            for kind in ("bb", "mo")[: 1 + (len(row["objectives"]) > 1)]:
                yield f"moot-{table}{pool}-{kind}"

    def build(self, description: TaskDescription) -> TableTask:
        return TableTask(description)


collections = (Moot(),)

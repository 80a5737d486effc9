"""Tables of neural networks: HPOBench, FCNet, NAS-Bench-201, NAS-Bench-Graph.

- ``hpobench``: an MLP on 8 data sets, 30,000 configurations x 5 repetitions (Eggensperger, 2021).
- ``fcnet``: an MLP on 4 regression data sets, 62,208 x 4 (Klein and Hutter, 2019).
- ``nb201``: cells on 3 image data sets, 15,625 x 2 or 3 (Dong and Yang, 2020).
- ``nbgraph``: graph networks on 9 data sets, 26,206 or 2,021 different architectures, which many
  descriptions of an architecture share (Qin et al., 2022).

All hold the full training only. The fidelity of the first three is the number of repetitions that
are averaged; each costs the average training time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from carps_like.budget import Budget
from carps_like.description import Fidelity, TaskDescription
from carps_like.registry import Collection
from carps_like.tasks._tables import TableTask, catalogue, counts, objectives, space

_LAW = "each repetition costs the configuration's average training time"


class Table(Collection):
    """One folder of tables as a collection; names are <collection>-<table>-<type>."""

    repeated = True

    def __init__(self, name: str, source: str, repeated: bool = True) -> None:
        self.name = name  # type: ignore[misc]
        self._source = source
        self.repeated = repeated

    @property
    def types(self) -> tuple[str, ...]:
        return ("bb", "mf", "mo", "momf") if self.repeated else ("bb", "mo")

    def names(self) -> Iterator[str]:
        for table in catalogue(self.name):
            for kind in self.types:
                yield f"{self.name}-{table}-{kind}"

    def describe(self, name: str) -> TaskDescription:
        prefix, _, rest = name.partition("-")
        table, _, kind = rest.rpartition("-")
        row = catalogue(self.name).get(table)
        if prefix != self.name or row is None or kind not in self.types:
            raise self.unknown(name)
        n = 2 if kind.startswith("mo") else 1
        fidelity = None
        if kind.endswith("mf"):
            fidelity = Fidelity(
                "repetitions", 1, row["repetitions"], True, "repetitions", _LAW, continuable=True
            )
        metadata: dict[str, Any] = {
            "folder": self.name,
            "table": table,
            "columns": ("first", "second")[:n],
            "cost": self.repeated,
            "rows": row["rows"],
        }
        return TaskDescription(
            name=name,
            make_space=partial(space, self.name, table),
            objectives=objectives(row["objectives"][:n]),
            fidelity=fidelity,
            collection=self.name,
            kind="table",
            n_forbidden=len(row.get("forbidden", ())),
            optimum_source=f"the whole table ({self._source})",
            hypervolume=row["hypervolume"] if n == 2 else None,
            evaluation_seconds=5e-6,
            budget=Budget(trials=100) if fidelity is None else Budget(trials=500, evaluations=100),
            metadata=metadata,
            **counts(row["inputs"]),
        )

    def build(self, description: TaskDescription) -> TableTask:
        return TableTask(description)


collections = (
    Table("hpobench", "Eggensperger et al., 2021"),
    Table("fcnet", "Klein and Hutter, 2019"),
    Table("nb201", "Dong and Yang, 2020"),
    Table("nbgraph", "Qin et al., 2022", repeated=False),
)

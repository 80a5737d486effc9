"""Write tasks/data/checksums.json: the SHA-256 of every binary data file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "tasks" / "data"
BINARY = {".onnx", ".npz", ".npy", ".gz", ".xz", ".parquet"}


def main() -> None:
    sums = {
        path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(DATA.rglob("*"))
        if path.suffix in BINARY
    }
    (DATA / "checksums.json").write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    print(f"{len(sums)} checksums")


if __name__ == "__main__":
    main()

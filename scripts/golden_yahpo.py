"""Rows of YAHPO's surrogates from ``yahpo_gym`` 1.0.2 itself, to compare our reader with.

Run it in an environment of its own, since yahpo_gym needs an old ConfigSpace::

    uv venv yahpo && uv pip install -p yahpo yahpo-gym==1.0.2
    YAHPO_LOCAL_CONFIG=$(mktemp) yahpo/bin/python scripts/golden_yahpo.py tasks/data/yahpo \
        tests/golden/yahpo/rows.json 25 lcbench rbv2_xgboost rbv2_rpart iaml_glmnet

The arguments are the data folder, the file to write, the rows per scenario, and the scenarios.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path


def rows_of(scenario: str, n: int) -> list[dict[str, object]]:
    from yahpo_gym import BenchmarkSet

    bench = BenchmarkSet(scenario, check=False, multithread=False)
    rng = random.Random(scenario)
    rows: list[dict[str, object]] = []
    for i in range(n):
        instance = rng.choice(bench.instances)
        bench.set_instance(instance)
        space = bench.get_opt_space(seed=i)
        config = dict(space.sample_configuration().get_dictionary())
        if "repl" in config:
            config["repl"] = 10
        values = bench.objective_function(config, seed=0)[0]
        outputs = {name: float(value) for name, value in values.items()}
        rows.append(
            {"scenario": scenario, "instance": instance, "config": config, "outputs": outputs}
        )
    return rows


def main() -> None:
    data, target, n, *scenarios = sys.argv[1:]
    from yahpo_gym import local_config

    if "YAHPO_LOCAL_CONFIG" not in os.environ:
        sys.exit("set YAHPO_LOCAL_CONFIG to a file that may be written")
    local_config.init_config()
    local_config.set_data_path(str(Path(data).resolve()))
    rows = [row for scenario in scenarios for row in rows_of(scenario, int(n))]
    lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
    Path(target).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(rows)} rows in {target}")


if __name__ == "__main__":
    main()

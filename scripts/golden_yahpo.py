"""Rows of YAHPO's surrogates from ``yahpo_gym`` 1.0.2 itself, to compare our reader with.

Run it in an environment of its own, since yahpo_gym needs an old ConfigSpace::

    uv venv yahpo && uv pip install -p yahpo yahpo-gym==1.0.2
    YAHPO_LOCAL_CONFIG=$(mktemp) yahpo/bin/python scripts/golden_yahpo.py tasks/data \
        tests/golden/yahpo/rows.json 25 lcbench rbv2_xgboost rbv2_rpart iaml_glmnet \
        fair_ranger fair_super nb301_v2 rbv2_ranger_v2 rbv2_rpart_v2

The arguments are the data folder, the file to write, the rows per scenario, and the scenarios.
yahpo_gym 1.0.2 has no entry for versions 1.9 and 2.0: they are entered in its own ``config_dict``
from ``scenarios.json``. Spaces, encoding, order of the inputs and the call of the network are then
its own code for them, too.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

FOLDERS = {"1.9": "yahpo_v1_9", "2.0": "yahpo_v2"}


def enter(scenario: str, data: Path) -> None:
    """Make ``scenario`` known to yahpo_gym, unless it is one of its own."""
    from yahpo_gym.configuration import config_dict

    meta = json.loads((data / "yahpo" / "scenarios.json").read_text())[scenario]
    if meta["version"] not in FOLDERS:
        return
    space, encoding, model = meta["files"]
    config_dict.update(
        {
            scenario: {
                "basedir": str(data / FOLDERS[meta["version"]]),
                "config_id": scenario.removesuffix("_v2"),
                "model": model,
                "config_space": space,
                "encoding": encoding,
                "y_names": meta["outputs"],
                "cat_names": meta["categorical"],
                "cont_names": meta["continuous"],
                "fidelity_params": [meta["fidelity"]],
                "instance_names": meta["instance"],
                "instances": ["CIFAR10"],
                "runtime_name": meta["runtime"][0],
            }
        }
    )


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
            config["repl"] = type(config["repl"])(10)
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
    folder = Path(data).resolve()
    local_config.set_data_path(str(folder / "yahpo"))
    for scenario in scenarios:
        enter(scenario, folder)
    rows = [row for scenario in scenarios for row in rows_of(scenario, int(n))]
    lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
    Path(target).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(rows)} rows in {target}")


if __name__ == "__main__":
    main()

"""Write tasks/data/coco: optima of bbob-constrained, best known hypervolumes of bbob-biobj.

The optima are the values at the best parameters that coco-experiment itself writes down; the
hypervolumes stand as text in its extension module (suite_biobj_best_values_hyp.c; BSD-3-Clause).
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import cocoex
import numpy as np

DATA = Path(__file__).resolve().parents[1] / "tasks" / "data" / "coco"
DIMENSIONS = (2, 3, 5, 10, 20, 40)


def constrained() -> np.ndarray:
    """Shape (6 dimensions, 54 functions, 15 instances): the best feasible value."""
    optima = np.full((6, 54, 15), np.nan)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for problem in cocoex.Suite("bbob-constrained", "", ""):
            f, d, i = problem.id_triple
            problem._best_parameter("print")
            x = np.loadtxt("._bbob_problem_best_parameter.txt", ndmin=1)
            assert problem.constraint(x).max() < 1e-6, problem.id
            optima[DIMENSIONS.index(d), f - 1, i - 1] = problem(x)
    return optima


def hypervolumes() -> np.ndarray:
    """Shape (6 dimensions, 92 functions, 10 instances); nan where none is known."""
    found = np.full((6, 92, 10), np.nan)
    module = next(Path(cocoex.__file__).parent.glob("interface*.so"))
    pattern = rb"bbob-biobj_f(\d+)_i(\d+)_d(\d+) ([0-9.]+)"
    for f, i, d, value in re.findall(pattern, module.read_bytes()):
        if float(value) < 1:
            found[DIMENSIONS.index(int(d)), int(f) - 1, int(i) - 1] = float(value)
    return found


def main() -> None:
    DATA.mkdir(exist_ok=True)
    np.save(DATA / "constrained_optima.npy", constrained())
    np.save(DATA / "biobj_hypervolumes.npy", hypervolumes())


if __name__ == "__main__":
    main()

"""The quick slice of the conformance suite, for every variant that can run here.

`make conformance` runs all of it. Environments of their own are built for neps and openbox; the
others are checked where they have been built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carps_like.registry import variant, variants
from carps_like.testing import Check, Effort, checks_for
from carps_like.testing.conformance import driven
from carps_like.testing.problems import problems, quadratic, quadratic_space

# initial designs small enough that a model is asked within a few trials
SMALL: dict[str, dict[str, Any]] = {
    "optuna-gp": {"n_startup_trials": 3},
    "optuna-tpe": {"n_startup_trials": 3},
    "smac-": {"n_configs": 3, "retrain_after": 1},
    "skopt-": {"n_initial_points": 3},
    "botorch-": {"n_initial": 3, "raw_samples": 16, "num_restarts": 2},
    "hyperopt-tpe": {"n_startup_jobs": 3},
    "neps-bo": {"initial_design_size": 3},
    "neps-pibo": {"initial_design_size": 3},
    "ax": {"initialization_budget": 3},
    "bayes-opt-": {"init_points": 3},
    "openbox-ea": {"population_size": 3, "subset_size": 2},
    "cmaes-warmstarted": {"n_startup_trials": 10},
}
NO_DESIGN = ("smac-random", "smac-hyperband")
# a model per ask: two checks, few trials
SLOW = ("smac-", "skopt-", "botorch-", "optuna-gp", "neps-bo", "neps-pibo", "neps-primo", "ax",
        "bayes-opt", "openbox-", "syne-tune-bo", "syne-tune-cqr", "evosax-", "bohb")  # fmt: skip
SLOW_CHECKS = ("a replay gives the same bits", "told values change what is asked")
ALWAYS_BUILT = ("neps", "openbox")
# seconds and more per ask: in `make conformance` alone
NEVER_HERE = ("botorch-saasbo", "botorch-mfkg", "botorch-qlognehvi", "botorch-qlognparego")
# their models are asked later than this slice is long
LATER = ("smac-ac", "smac-hyperband", "smac-mf", "openbox-tpe", "neps-priorband-bo")
# (variant, check) -> why it is known to fail
KNOWN: dict[tuple[str, str], str] = {}


def _effort(name: str) -> Effort:
    slow = name.startswith(SLOW)
    found = next((o for prefix, o in SMALL.items() if name.startswith(prefix)), None)
    options = None if name in NO_DESIGN else found
    if slow:
        return Effort(trials=6, seeds=0, options=options, patience=8)
    return Effort(trials=20, seeds=0, options=options)


def _cases() -> list[Any]:
    cases = []
    for name in variants():
        if name in NEVER_HERE or name in LATER:
            continue
        for check in checks_for(variant(name).capabilities, _effort(name)):
            if name.startswith(SLOW) and check.name not in SLOW_CHECKS:
                continue
            known = KNOWN.get((name, check.name))
            marks = [pytest.mark.xfail(reason=known, strict=True)] if known else []
            cases.append(pytest.param(name, check, id=f"{name}: {check}", marks=marks))
    return cases


@pytest.mark.parametrize(("name", "check"), _cases())
def test_every_variant_keeps_what_it_claims(name: str, check: Check) -> None:
    chosen = variant(name)
    missing = chosen.missing()
    if missing is not None:
        pytest.skip(str(missing))
    environment = chosen.environment
    if environment is not None and not environment.ready and environment.name not in ALWAYS_BUILT:
        pytest.skip(f"not built: {chosen.to_build()}")
    check.run(chosen, _effort(name))


def test_smac_hpo_asks_what_smacs_own_loop_asks(tmp_path: Path) -> None:
    pytest.importorskip("smac")
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario

    n, own = 9, []

    def target(config: Any, seed: int = 0) -> float:
        own.append(dict(config))
        return quadratic(config)

    space = quadratic_space()
    scenario = Scenario(space, deterministic=True, n_trials=n, output_directory=tmp_path, seed=3)
    Facade(
        scenario,
        target,
        initial_design=Facade.get_initial_design(scenario, n_configs=4, max_ratio=0.5),
        config_selector=Facade.get_config_selector(scenario, retrain_after=4),
        overwrite=True,
        logging_level=False,
    ).optimize()

    effort = Effort(options={"n_configs": 4, "max_ratio": 0.5, "retrain_after": 4})
    chosen = variant("smac-hpo")
    with driven(chosen, problems(chosen.capabilities, n)["continuous"], 3, effort) as optimizer:
        asked = optimizer.run(n)
    assert [dict(trial.config) for trial, _ in asked] == own

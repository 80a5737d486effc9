"""The quick slice of the conformance suite, for every variant that can run here.

`make conformance` runs all of it. Environments of their own are built for neps and openbox; the
others are checked where they have been built.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carps_like.budget import Budget
from carps_like.description import Fidelity, describe
from carps_like.errors import BadValue
from carps_like.isolation.client import server_of
from carps_like.registry import variant, variants
from carps_like.testing import KNOWN, Check, Effort, checks_for
from carps_like.testing.conformance import driven
from carps_like.testing.problems import Problem, problems, quadratic, quadratic_space

# initial designs small enough that a model is asked within a few trials; the longest prefix counts
SMALL: dict[str, dict[str, Any]] = {
    "optuna-gp": {"n_startup_trials": 3},
    "optuna-tpe": {"n_startup_trials": 3},
    "smac-": {"n_configs": 3, "retrain_after": 1},
    "smac-ac": {"retrain_after": 4, "probability": 0.05},
    "smac-pibo": {"n_configs": 3, "retrain_after": 1, "challengers": 100},
    "smac-random": {},
    "smac-hyperband": {},
    "skopt-": {"n_initial_points": 3},
    "botorch-": {"n_initial": 3, "raw_samples": 16, "num_restarts": 2},
    "botorch-saasbo": {
        "n_initial": 3,
        "raw_samples": 16,
        "num_restarts": 2,
        "max_tree_depth": 3,
        "warmup_steps": 16,
        "num_samples": 16,
    },
    "botorch-mfkg": {"n_initial": 3, "raw_samples": 8, "num_restarts": 1, "num_fantasies": 2},
    "hebo": {"rand_sample": 3},
    "hyperopt-tpe": {"n_startup_jobs": 3},
    "neps-bo": {"initial_design_size": 3},
    "neps-pibo": {"initial_design_size": 3},
    "ax": {"initialization_budget": 4},
    "bayes-opt-": {"init_points": 3},
    "openbox-ea": {"population_size": 3, "subset_size": 2},
    "cmaes-warmstarted": {"n_startup_trials": 10},
    "syne-tune-tpe": {"num_min_data_points": 6},
    "syne-tune-rea": {"population_size": 5, "sample_size": 3},
    "syne-tune-morea": {"population_size": 5, "sample_size": 3},
}
# a model per ask, or a second to import: two checks of few trials. By how many the values matter:
# after the initial design, or where the first rung of 27 is promoted
SLOW = {
    "smac-": 6, "smac-bb": 5, "smac-pibo": 5, "smac-ac": 12, "smac-hyperband": 30, "smac-mf": 30,
    "skopt-": 8, "skopt-gp": 6, "botorch-": 6, "botorch-mfkg": 4, "optuna-gp": 6,
    "neps-bo": 6, "neps-pibo": 6, "neps-primo": 8, "neps-priorband-bo": 30, "ax": 6,
    "bayes-opt": 6, "openbox-": 6,
    "openbox-ea": 8, "openbox-tpe": 20, "evosax-": 12, "bohb": 30,
    "syne-tune-bohb": 30, "syne-tune-bore": 12,
    "syne-tune-botorch": 8, "syne-tune-cqr": 8, "syne-tune-tpe": 20, "syne-tune-asha-bore": 12,
    "syne-tune-asha-cqr": 12, "syne-tune-mobster": 12, "syne-tune-hypertune": 12,
    "syne-tune-sync-bohb": 30, "openbox-prf": 12,
    "hebo": 5,
}  # fmt: skip
SLOW_CHECKS = ("a replay gives the same bits", "told values change what is asked")
ALWAYS_BUILT = ("neps", "openbox", "syne-tune-013")


def _longest(name: str, by_prefix: dict[str, Any]) -> Any:
    found = [prefix for prefix in by_prefix if name.startswith(prefix)]
    return by_prefix[max(found, key=len)] if found else None


def _effort(name: str) -> Effort:
    options, patience = _longest(name, SMALL), _longest(name, SLOW)
    if patience is not None:
        return Effort(trials=min(5, patience), seeds=0, options=options, patience=patience)
    return Effort(trials=20, seeds=0, options=options)


def _cases() -> list[Any]:
    cases = []
    for name in variants():
        for check in checks_for(variant(name).capabilities, _effort(name)):
            if _longest(name, SLOW) is not None and check.name not in SLOW_CHECKS:
                continue
            known = KNOWN.get((name, check.name))
            marks = [pytest.mark.xfail(reason=known, strict=True)] if known else []
            cases.append(pytest.param(name, check, id=f"{name}: {check}", marks=marks))
    return cases


def test_what_is_known_to_fail_is_a_check_of_a_variant() -> None:
    for name, check in KNOWN:
        assert check in [c.name for c in checks_for(variant(name).capabilities, Effort())]


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


@pytest.mark.parametrize("name", list(variants()))
def test_the_options_that_a_variant_lists_are_its_librarys_and_no_others_are_taken(
    name: str,
) -> None:
    chosen = variant(name)
    if chosen.missing() is not None or chosen.to_build():
        pytest.skip("not here")
    if chosen.environment is not None:
        server_of(chosen.environment)  # one for all of its variants
    found = problems(chosen.capabilities, 60)
    description = next(iter(found.values())).description
    chosen.check_options(chosen.options)
    chosen.try_options(description, chosen.options)
    strange = replace(chosen, options={**chosen.options, "unknown_option": 1})
    with pytest.raises(BadValue, match="no option 'unknown_option'"):
        strange.check_options(strange.options)
        strange.try_options(description)


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


def test_turbo_begins_anew_when_its_region_is_small() -> None:
    pytest.importorskip("botorch")
    chosen = variant("botorch-turbo")
    effort = Effort(options={"n_initial": 3, "raw_samples": 8, "num_restarts": 1})
    # nothing is ever better, so that each fifth proposal halves the region: 35 after the design
    quadratics = problems(chosen.capabilities, 60)["continuous"]
    flat = Problem(quadratics.description, (lambda config: 1.0,))
    with driven(chosen, flat, 0, effort) as optimizer:
        assert len(optimizer.run(45)) == 45


def test_local_search_goes_on_where_clauses_forbid_every_neighbour() -> None:
    from ConfigSpace import Categorical, ConfigurationSpace, ForbiddenEqualsClause

    space = ConfigurationSpace()
    space.add(Categorical("h", ["a", "b"]))
    space.add(ForbiddenEqualsClause(space["h"], "b"))
    alone = Problem(describe("alone", space), (lambda config: 1.0,))
    with driven(variant("local-search"), alone, 0, Effort()) as optimizer:
        run = optimizer.run(5)
    assert [trial.config for trial, _ in run] == [{"h": "a"}] * 5


def test_syne_tune_of_old_pauses_and_promotes_where_it_is_told_to() -> None:
    chosen = variant("syne-tune-mobster")
    problem = problems(chosen.capabilities, 40)["continuous"]
    with driven(chosen, problem, 0, Effort(options={"type": "promotion"})) as optimizer:
        run = [trial for trial, _ in optimizer.run(40)]
    jumps = {(run[t.continues].fidelity, t.fidelity) for t in run if t.continues is not None}
    assert {(1.0, 3.0), (3.0, 9.0)} <= jumps <= {(1.0, 3.0), (3.0, 9.0), (9.0, 27.0)}
    # a paused trial waits while others begin, which one of the stopping form never does
    assert any(t.continues is not None and t.continues < n - 1 for n, t in enumerate(run))
    with (
        pytest.raises(BadValue, match="MOBSTER has no option 'typ'; did you mean 'type'"),
        driven(chosen, problem, 0, Effort(options={"typ": "promotion"})),
    ):
        pass


@pytest.mark.parametrize(
    ("factor", "words"),
    [(50, "'continuous' is too narrow for reduction_factor 50"), (2.5, "a whole number, not 2.5")],
)
def test_syne_tune_of_old_refuses_rungs_that_it_cannot_count(factor: float, words: str) -> None:
    chosen = variant("syne-tune-dehb")
    problem = problems(chosen.capabilities, 40)["continuous"]
    with (
        pytest.raises(BadValue, match=words),
        driven(chosen, problem, 0, Effort(options={"reduction_factor": factor})),
    ):
        pass


@pytest.mark.parametrize("name", ["smac-hpo", "nevergrad-ngopt"])
def test_a_noisy_task_is_evaluated_again_at_good_configurations(name: str) -> None:
    chosen = variant(name)
    assert chosen.capabilities.noise
    if chosen.missing() is not None:
        pytest.skip(str(chosen.missing()))

    def distinct(noisy: bool) -> int:
        noise = np.random.default_rng(0)
        task = describe("noise", quadratic_space(), noisy=noisy, budget=Budget(trials=60))
        problem = Problem(task, (lambda config: quadratic(config) + float(noise.normal()),))
        with driven(chosen, problem, 1, Effort()) as optimizer:
            return len({tuple(trial.config.values()) for trial, _ in optimizer.run(60)})

    assert distinct(noisy=False) == 60
    assert distinct(noisy=True) < 58


def test_what_knows_no_log_scale_is_kept_from_tasks_that_have_one() -> None:
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    space.add(Float("rate", (1e-3, 1.0), log=True))
    linear = replace(variant("random").capabilities, log=False)
    assert "logarithmic scale" in linear.problem(describe("log", space))
    assert not linear.problem(describe("linear", quadratic_space()))
    assert not variant("random").capabilities.problem(describe("log", space))


@pytest.mark.parametrize(
    ("what", "said"), [("value", "probability tensor"), ("gradient", "gradient array")]
)
def test_random_starts_are_drawn_again_where_an_acquisition_is_nan(what: str, said: str) -> None:
    pytest.importorskip("botorch")
    from botorch.acquisition import PosteriorMean

    chosen = variant("botorch-logei")
    effort = Effort(options={"n_initial": 4, "raw_samples": 8, "num_restarts": 2})
    calls = []

    class Mean(PosteriorMean):  # type: ignore[misc]
        broken = 1

        def forward(self, x):  # type: ignore[no-untyped-def]
            values = super().forward(x)
            if what == "gradient" and not x.requires_grad:
                return values
            calls.append(x.shape)
            if len(calls) > self.broken:
                return values
            if what == "gradient":
                return values + (0.0 * x.sum()).sqrt()
            values[0] = np.nan
            return values

    with driven(chosen, problems(chosen.capabilities, 6)["continuous"], 0, effort) as optimizer:
        optimizer.run(5)
        inside = optimizer.optimizer
        found = inside._best(Mean(inside._model(*inside._data())))
        assert np.isfinite(found).all() and len(calls) > 1
        Mean.broken = 10**6
        with pytest.raises(RuntimeError, match=said):
            inside._best(Mean(inside._model(*inside._data())))


def test_a_population_goes_on_where_nearly_all_is_forbidden() -> None:
    from ConfigSpace import ConfigurationSpace, Float, ForbiddenLessThanRelation

    space = ConfigurationSpace()
    space.add(Float("small", (0.0, 1.0), default=1.0))
    space.add(Float("large", (0.9, 2.0), default=0.9))
    space.add(ForbiddenLessThanRelation(space["small"], space["large"]))
    narrow = Problem(describe("narrow", space), (lambda config: config["large"],))
    with driven(variant("cmaes-margin"), narrow, 0, Effort()) as optimizer:
        run = optimizer.run(12)
    assert len(run) == 12
    assert all(t.config["small"] >= t.config["large"] for t, _ in run)


def test_a_hyperparameter_may_be_named_as_what_syne_tune_is_told() -> None:
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    for name in ("resource", "max_resource", "m0"):
        space.add(Float(name, (0.0, 1.0)))
    fidelity = Fidelity("epochs", 1, 27, integer=True)
    task = describe("names", space, fidelity=fidelity)
    for name in ("syne-tune-mobster", "syne-tune-dehb"):
        problem = Problem(task, (lambda config: config["resource"] + config["max_resource"],))
        with driven(variant(name), problem, 0, Effort()) as optimizer:
            asked = [trial.config for trial, _ in optimizer.run(12)]
        assert all(set(c) == {"resource", "max_resource", "m0"} for c in asked)
        assert len({c["max_resource"] for c in asked}) > 3

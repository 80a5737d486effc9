"""Random configurations evaluated by hand through the library itself, and by our task: the same.

What is called is written out here from the task's name alone, with nothing of ``carps_like.tasks``
but the splits of its data sets.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import carps_like
from carps_like.errors import MissingLibrary
from carps_like.registry import collections, describe_task, missing_for_task
from carps_like.space import Sampler
from carps_like.tasks.training import split

Config = dict[str, Any]
Values = tuple[list[float], list[float]]  # objectives, constraints
POINTS = 5


def coordinates(config: Config) -> list[float]:
    return [config[name] for name in sorted(config)]


def numbers(pattern: str, name: str) -> list[int]:
    match = re.fullmatch(pattern, name)
    assert match is not None, name
    return [int(part) for part in match.groups()]


def pbo(name: str) -> Callable[[Config], Values]:
    ioh = pytest.importorskip("ioh")
    d, f, i = numbers(r"pbo-d(\d+)-f(\d+)-i(\d+)", name)
    problem = ioh.get_problem(f, i, d, ioh.ProblemClass.PBO)
    return lambda config: ([problem(coordinates(config))], [])


def graph(name: str) -> Callable[[Config], Values]:
    ioh = pytest.importorskip("ioh")
    (f,) = numbers(r"graph-[a-z]+-(\d+)", name)
    problem = ioh.get_problem(f, 1, 1, ioh.ProblemClass.GRAPH)
    return lambda config: ([problem(coordinates(config))], [])


def star(name: str) -> Callable[[Config], Values]:
    ioh = pytest.importorskip("ioh")
    _, kind, dimension, points, n = name.split("-")
    family = getattr(ioh.ProblemClass, f"STAR_{kind.upper()}")
    title = f"{points}stardiscrepancy{int(n)}"
    (f,) = (k for k, known in family.problems.items() if known.lower() == title)
    problem = ioh.get_problem(f, 1, int(dimension[1:]), family)
    return lambda config: ([problem(coordinates(config))], [])


def cec2013(name: str) -> Callable[[Config], Values]:
    ioh = pytest.importorskip("ioh")
    d, f = numbers(r"cec2013-d(\d+)-f(\d+)", name)
    problem = ioh.get_problem(1100 + f, 1, d, ioh.ProblemClass.CEC2013)
    return lambda config: ([problem(coordinates(config))], [])


def cec2022(name: str) -> Callable[[Config], Values]:
    ioh = pytest.importorskip("ioh")
    d, f = numbers(r"cec2022-d(\d+)-f(\d+)", name)
    problem = ioh.get_problem(1000 + f, 1, d, ioh.ProblemClass.CEC2022)
    return lambda config: ([problem(coordinates(config)) - problem.optimum.y], [])


def pymoo(name: str) -> Callable[[Config], Values]:
    problems = pytest.importorskip("pymoo.problems")
    key, *rest = name.removeprefix("pymoo-").split("-")
    given = {part[0]: int(part[1:]) for part in rest}
    if "k" in given:
        problem = problems.get_problem(key, given["k"])
    elif given and not re.match("mw|ctp", key):
        asked = {"n_var": given["d"]} | ({"n_obj": given["m"]} if key[0] in "dcwz" else {})
        asked.pop("n_obj" if key.startswith("zdt") else "", None)
        problem = problems.get_problem(key, **asked)
    else:
        problem = problems.get_problem(re.sub(r"^g0(\d)$", r"g\1", key))

    def call(config: Config) -> Values:
        x = np.array([coordinates(config)])
        out = problem.evaluate(x, return_as_dictionary=True)
        return out["F"][0].tolist(), [
            *(out["G"][0] if problem.n_ieq_constr else []),
            *(np.abs(out["H"][0]) - 1e-4 if problem.n_eq_constr else []),
        ]

    return call


def botorch(name: str) -> Callable[[Config], Values]:
    torch = pytest.importorskip("torch")
    functions = pytest.importorskip("botorch.test_functions")
    title, *rest = name.split("-")[1].split("_")
    modules = [functions, *(
        importlib.import_module(f"botorch.test_functions.{m}")
        for m in ("synthetic", "multi_objective", "multi_fidelity",
                  "multi_objective_multi_fidelity")
    )]  # fmt: skip
    known = {n.lower(): getattr(m, n) for m in modules for n in dir(m) if n[0].isupper()}
    words = {"d": "dim", "n": "num_objectives", "m": "m"}
    problem = known[title](**{words[part[0]]: int(part[1:]) for part in rest}, dtype=torch.double)
    # BoTorch counts the levels of two problems down to 0, and shares up to 1
    full = 0.0 if title.endswith("multifidelity") else 1.0

    def call(config: Config) -> Values:
        x = coordinates(config)
        x += [full] * (problem.dim - len(x))
        point = torch.tensor([x], dtype=torch.double)
        limits = []
        if hasattr(problem, "evaluate_slack"):
            limits = (-problem.evaluate_slack(point, noise=False)).reshape(-1).tolist()
        return problem(point, noise=False).reshape(-1).tolist(), limits

    return call


def nevergrad(name: str) -> Callable[[Config], Values]:
    functions = pytest.importorskip("nevergrad.functions")
    title, d, i = re.fullmatch(r"nevergrad-(\w+)-d(\d+)-i(\d+)", name).groups()  # type: ignore[union-attr]
    known = {n.lower(): n for n in functions.ArtificialFunction.list_sorted_function_names()}
    function = functions.ArtificialFunction(known[title], int(d), rotation=int(i) > 1)
    function.transform_var.random_state = np.random.RandomState(int(i))
    return lambda config: ([function(np.array(coordinates(config)))], [])


def program(name: str) -> Callable[[Config], Values]:
    workload = name.split("-")[2]

    def call(config: Config) -> Values:
        given = json.dumps(config | {"workload": workload, "accesses": 20_000, "seed": 3})
        command = [sys.executable, "-m", "carps_like.tasks.simulators.cache"]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        out = json.loads(done.stdout)
        wanted = ("latency", "energy", "area") if "-mo" in name else ("latency",)
        return [out[k] for k in wanted], []

    return call


def priorband(name: str) -> Callable[[Config], Values]:
    _, base, _, kind = name.split("-")
    family, rest = base.split("_", 1)
    plain = "-".join([family, *(rest.rsplit("_", 1) if family == "yahpo" else [rest]), kind])
    task = carps_like.task(plain)
    return lambda config: (list(task.evaluate(config, seed=3).objectives.values()), [])


WAYS = {
    f.__name__: f
    for f in (pbo, graph, star, cec2013, cec2022, pymoo, botorch, nevergrad, program, priorband)
}
MANY = {"pymoo": 40, "botorch": 25, "nevergrad": 12, "program": 2, "graph": 4}


def spread(collection: str) -> list[str]:
    names = [n for n in collections()[collection].names() if not re.search("-st1", n)]
    names = [n for n in names if "-penicillin" not in n or collection != "botorch"]
    return names[:: max(1, len(names) // MANY.get(collection, 8))]


@pytest.mark.parametrize("collection", WAYS)
def test_a_task_answers_what_the_library_answers(collection: str) -> None:
    missing = missing_for_task(describe_task(spread(collection)[0]))
    if isinstance(missing, MissingLibrary):
        pytest.skip(str(missing))
    for name in spread(collection):
        task, call = carps_like.task(name), WAYS[collection](name)
        sampler = Sampler(task.description.checker, 11)
        for _ in range(2 if collection in ("program", "graph") else 5):
            config = sampler.sample()
            values, limits = call(config)
            result = task.evaluate(config, seed=3)
            assert list(result.objectives.values()) == values, name
            assert list(result.constraints) == limits, name


@pytest.mark.parametrize("data", ["iris", "digits", "diabetes"])
@pytest.mark.parametrize("learner", ["svm", "forest", "tree"])
def test_a_training_scores_what_scikit_learn_scores(learner: str, data: str) -> None:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.metrics import accuracy_score, root_mean_squared_error
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kinds = {
        "svm": (SVC, SVR),
        "forest": (RandomForestClassifier, RandomForestRegressor),
        "tree": (DecisionTreeClassifier, DecisionTreeRegressor),
    }
    x, y, x_valid, y_valid, x_test, y_test = split(data)
    if learner == "svm":
        scaler = StandardScaler().fit(x)
        x, x_valid, x_test = map(scaler.transform, (x, x_valid, x_test))
    task = carps_like.task(f"training-{learner}-{data}-bb")
    sampler = Sampler(task.description.checker, 11)
    for _ in range(3):
        config = sampler.sample()
        seed = {} if learner == "svm" else {"random_state": 3}
        model = kinds[learner][data == "diabetes"](**config, **seed).fit(x, y)
        score = root_mean_squared_error if data == "diabetes" else accuracy_score
        result = task.evaluate(config, seed=3)
        assert result.value * (1 if data == "diabetes" else -1) == pytest.approx(
            score(y_valid, model.predict(x_valid)), rel=1e-12
        )
        (test,) = (v for k, v in result.extra.items() if k.startswith("test_"))
        assert test == pytest.approx(score(y_test, model.predict(x_test)), rel=1e-12)


# --- COCO: its values, shifted and scaled so that the best is 0 ---


def suite_problem(name: str) -> tuple[Any, Any]:
    cocoex = pytest.importorskip("cocoex")
    suite, d, f, i = name.rsplit("-", 3)
    opened = cocoex.Suite(suite, "", f"dimensions:{int(d[1:])}")
    place = (int(f[1:]), int(d[1:]), int(i[1:]))
    return opened, opened.get_problem_by_function_dimension_instance(*place)


@pytest.mark.parametrize(
    "name",
    [
        "bbob-largescale-d020-f17-i03",
        "bbob-boxed-d03-f21-i104",
        "bbob-mixint-d010-f09-i05",
        "bbob-constrained-d03-f33-i07",
    ],
)
def test_one_objective_of_coco_is_its_own_above_the_best(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, problem = suite_problem(name)
    task = carps_like.task(name)
    sampler = Sampler(task.description.checker, 11)
    config, *others = (sampler.sample() for _ in range(12))
    gap = problem(coordinates(config)) - task.evaluate(config).objectives["precision"]
    monkeypatch.chdir(tmp_path)
    problem._best_parameter("print")
    best = np.loadtxt("._bbob_problem_best_parameter.txt")
    assert gap == pytest.approx(problem(best), rel=1e-9, abs=1e-9)
    for config in others:
        result, x = task.evaluate(config), np.array(coordinates(config), float)
        assert result.objectives["precision"] == pytest.approx(problem(x) - gap, rel=1e-12)
        if result.constraints:
            assert list(result.constraints) == problem.constraint(x).tolist()
    del suite


@pytest.mark.parametrize("function", [101, 103, 106, 111, 117, 126, 130])
def test_the_seed_of_a_noisy_function_is_the_call_of_a_fresh_suite(
    function: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the whole sequence of COCO is there, above the value at the best point less the constant
    that Cauchy noise adds; at the best point there is no other noise.
    """
    name = f"bbob-noisy-d05-f{function}-i02"
    task = carps_like.task(name)
    config = Sampler(task.description.checker, 11).sample()
    suite, problem = suite_problem(name)
    values = [problem(coordinates(config)) for _ in range(64)]
    ours = [task.evaluate(config, seed=k).objectives["precision"] for k in range(64)]
    assert len(set(ours)) > 1  # an outlier in twenty where the Cauchy noise is moderate
    monkeypatch.chdir(tmp_path)
    problem._best_parameter("print")
    best = np.loadtxt("._bbob_problem_best_parameter.txt")
    lowest = float(np.median([problem(best) for _ in range(200)]))  # outliers are a fifth
    np.testing.assert_allclose(np.subtract(values, ours), lowest, rtol=1e-9, atol=1e-6)
    del suite


@pytest.mark.parametrize(
    "name",
    [
        "bbob-biobj-d05-f37-i03",
        "bbob-biobj-ext-d02-f77-i12",
        "bbob-biobj-mixint-d005-f60-i09",
    ],
)
def test_two_objectives_of_coco_lie_between_its_ideal_and_its_nadir(name: str) -> None:
    ioh = pytest.importorskip("ioh")
    suite, problem = suite_problem(name)
    task = carps_like.task(name)
    sampler = Sampler(task.description.checker, 11)
    configs = [sampler.sample() for _ in range(12)]
    ours = np.array([list(task.evaluate(c).objectives.values()) for c in configs])
    theirs = np.array([problem(coordinates(c)) for c in configs])
    low = np.argsort(theirs, axis=0)[:2]  # from the highest, the ideal would lose its digits
    first, second = (np.take_along_axis(v, low, axis=0) for v in (theirs, ours))
    one = (first[1] - first[0]) / (second[1] - second[0])
    zero = first[0] - second[0] * one
    np.testing.assert_allclose(zero + ours * one, theirs, rtol=1e-6)
    np.testing.assert_allclose(zero + one, problem.largest_fvalues_of_interest, rtol=1e-6)
    if "mixint" not in name:
        parts = re.findall(r"bbob_f(\d+)_i(\d+)", problem.name)
        kind = ioh.ProblemClass.BBOB
        best = [ioh.get_problem(int(f), int(i), 2, kind).optimum.y for f, i in parts]
        np.testing.assert_allclose(zero, best, rtol=1e-6, atol=1e-6)
    del suite

"""Real trainings on the data sets that scikit-learn bundles.

``training-<learner>-<data>-<type>``: a support vector machine, a random forest, gradient boosting,
a linear model, nearest neighbours, a decision tree; fidelity is the share of the training data.
``-mo`` adds the size of the model (numbers it stores); ``training-<learner>-<data>-timed-mo`` also
the seconds that the training really took, which no two runs share.

``training-mlp-<data>-<type>`` and ``training-cnn-digits-<type>`` train a small network with torch;
fidelity is the number of epochs. Their trials hand on a checkpoint (weights, momentum, epoch), and
a trial may continue another's, with other hyperparameters, as Population Based Training does.

Half of the data is for training, a quarter for validation, a quarter for the test; the objective is
the validation score, the test score stands in ``extra`` alone. A seed drives the learner's own
randomness; the split is fixed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from carps_like.budget import Budget
from carps_like.description import TYPES, Fidelity, Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks import _declared
from carps_like.tasks._declared import Parameter, one_of, real, whole
from carps_like.trial import Configuration, Outcome

Array = np.ndarray[Any, np.dtype[Any]]
CLASSES = ("iris", "wine", "breast_cancer", "digits")
DATA = (*CLASSES, "diabetes")
ROWS = {"iris": 150, "wine": 178, "breast_cancer": 569, "digits": 1797, "diabetes": 442}
EPOCHS = 20
_SHARE = Fidelity(
    "trainsize",
    0.1,
    1.0,
    unit="share of the training data",
    cost_law="the share, in seconds; a training from scratch",
    continuable=False,
)
_EPOCHS = Fidelity(
    "epoch", 1, EPOCHS, True, "epochs", "one part in 20 a epoch, cumulative", continuable=True
)


@dataclass(frozen=True)
class Learner:
    """One learner: its hyperparameters, how to build it, how big it is."""

    parameters: tuple[Parameter, ...]
    build: Callable[..., Any]
    size: Callable[[Any], int]
    seeded: bool = False
    scaled: bool = True


def _svm(config: Configuration, regression: bool, seed: int) -> Any:
    from sklearn.svm import SVC, SVR

    return SVR(**config) if regression else SVC(**config)


def _forest(config: Configuration, regression: bool, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if regression else RandomForestClassifier
    return kind(**config, random_state=seed, n_jobs=1)


def _boosting(config: Configuration, regression: bool, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return kind(**config, early_stopping=False, random_state=seed)


def _linear(config: Configuration, regression: bool, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    penalty = config["regularization"]
    intercept = bool(config["fit_intercept"])
    if regression:
        return Ridge(alpha=penalty, fit_intercept=intercept)
    weight = None if config["class_weight"] == "none" else "balanced"
    return LogisticRegression(
        C=1 / float(penalty), fit_intercept=intercept, class_weight=weight, max_iter=200
    )


def _neighbours(config: Configuration, regression: bool, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    return (KNeighborsRegressor if regression else KNeighborsClassifier)(**config)


def _tree(config: Configuration, regression: bool, seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    return (DecisionTreeRegressor if regression else DecisionTreeClassifier)(
        **config, random_state=seed
    )


def _boosting_size(model: Any) -> int:
    return sum(len(tree.nodes) for stage in model._predictors for tree in stage)


LEARNERS = {
    "svm": Learner(
        (
            real("C", 1e-3, 1e3, log=True, default=1.0),
            one_of("kernel", "rbf", "poly", "sigmoid", "linear"),
            real(
                "gamma", 1e-5, 10.0, True, default=0.05, when=("kernel", ("rbf", "poly", "sigmoid"))
            ),
            whole("degree", 2, 5, default=3, when=("kernel", ("poly",))),
            real("coef0", -1.0, 1.0, default=0.0, when=("kernel", ("poly", "sigmoid"))),
        ),
        _svm,
        lambda model: int(model.support_vectors_.size + model.dual_coef_.size),
    ),
    "forest": Learner(
        (
            whole("n_estimators", 5, 200, log=True, default=50),
            whole("max_depth", 1, 30, default=20),
            real("max_features", 0.05, 1.0, default=0.3),
            whole("min_samples_leaf", 1, 20, default=1),
            real("min_impurity_decrease", 0.0, 0.05, default=0.0),
        ),
        _forest,
        lambda model: sum(int(tree.tree_.node_count) for tree in model.estimators_),
        seeded=True,
        scaled=False,
    ),
    "boosting": Learner(
        (
            whole("max_iter", 5, 80, log=True, default=40),
            real("learning_rate", 1e-3, 1.0, log=True, default=0.1),
            whole("max_leaf_nodes", 2, 32, log=True, default=16),
            whole("min_samples_leaf", 1, 50, default=20),
            real("l2_regularization", 1e-10, 10.0, log=True, default=1e-3),
        ),
        _boosting,
        _boosting_size,
        scaled=False,
    ),
    "linear": Learner(
        (
            real("regularization", 1e-4, 1e4, log=True, default=1.0),
            one_of("fit_intercept", True, False),
            one_of("class_weight", "none", "balanced"),
        ),
        _linear,
        lambda model: int(np.count_nonzero(model.coef_) + np.count_nonzero(model.intercept_)),
    ),
    "neighbours": Learner(
        (
            whole("n_neighbors", 1, 15, log=True, default=5),
            one_of("weights", "uniform", "distance"),
            whole("p", 1, 3, default=2),
        ),
        _neighbours,
        lambda model: int(model._fit_X.size),
    ),
    "tree": Learner(
        (
            whole("max_depth", 1, 20, default=10),
            whole("min_samples_leaf", 1, 20, default=1),
            real("max_features", 0.1, 1.0, default=1.0),
            real("ccp_alpha", 1e-5, 0.1, log=True, default=1e-4),
        ),
        _tree,
        lambda model: int(model.tree_.node_count),
        seeded=True,
        scaled=False,
    ),
}
NETWORK = (
    real("learning_rate", 1e-4, 1.0, log=True, default=0.05),
    real("momentum", 0.0, 0.99, default=0.9),
    real("weight_decay", 1e-6, 1e-1, log=True, default=1e-4),
    real("dropout", 0.0, 0.8, default=0.1),
    whole("batch_size", 32, 256, log=True, default=64),
)


@cache
def split(data: str) -> tuple[Array, ...]:
    """x and y for training, validation and test: half, a quarter, a quarter; always the same."""
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{data}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    if data in CLASSES:  # interleave the classes, so that each part has its share of each
        order = order[np.argsort(_place_in_class(y[order]), kind="stable")]
    parts = [order[k::4] for k in range(4)]
    train = np.concatenate(parts[:2])
    return x[train], y[train], x[parts[2]], y[parts[2]], x[parts[3]], y[parts[3]]


def _place_in_class(y: Array) -> Array:
    """0, 1, ... within each class, as a share of the class."""
    place = np.empty(len(y))
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return place


class FitTask(Task):
    """A learner of scikit-learn, fitted and scored."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        self._data = description.metadata["data"]
        self._learner = LEARNERS[description.metadata["learner"]]
        self._score = description.objectives[0].name

    def __reduce__(self) -> Any:
        return FitTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        x, y, x_valid, y_valid, x_test, y_test = split(self._data)
        share = 1.0 if fidelity is None else fidelity
        n = max(2 * len(np.unique(y)) if self._score == "accuracy" else 10, round(share * len(y)))
        model = self._learner.build(config, self._score == "rmse", (seed or 0) % 2**32)
        pipeline = make_pipeline(StandardScaler(), model) if self._learner.scaled else model
        started = time.perf_counter()
        with threadpool_limits(1):
            pipeline.fit(x[:n], y[:n])
            seconds = time.perf_counter() - started
            values = {
                self._score: self._scored(pipeline, x_valid, y_valid),
                "size": float(self._learner.size(model)),
                "time": seconds,
            }
            test = self._scored(pipeline, x_test, y_test)
        wanted = {o.name: values[o.name] for o in self.description.objectives}
        extra = {f"test_{self._score}": test}
        return Outcome(wanted, seconds if "time" in wanted else share, extra=extra)

    def _scored(self, model: Any, x: Array, y: Array) -> float:
        if self._score == "accuracy":
            return float(np.mean(model.predict(x) == y))
        return float(np.sqrt(np.mean((model.predict(x) - y) ** 2)))


@cache
def _tensors(data: str) -> tuple[Any, ...]:
    """The parts of :func:`split`, scaled by the training part."""
    import torch

    x, y, x_valid, y_valid, x_test, y_test = split(data)
    centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    arrays = [(x - centre) / spread, y, (x_valid - centre) / spread, y_valid]
    arrays += [(x_test - centre) / spread, y_test]
    return tuple(
        torch.tensor(a, dtype=torch.float32 if k % 2 == 0 else torch.int64)
        for k, a in enumerate(arrays)
    )


class NetworkTask(Task):
    """A small network, trained by stochastic gradient descent with momentum."""

    def __init__(self, description: TaskDescription) -> None:
        self.description = description
        self._parts = _tensors(description.metadata["data"])
        self._classes = int(self._parts[1].max()) + 1

    def __reduce__(self) -> Any:
        return NetworkTask, (self.description,)

    def _network(self, dropout: float) -> Any:
        from torch import nn

        inputs = self._parts[0].shape[1]
        if self.description.metadata["learner"] == "cnn":
            return nn.Sequential(
                nn.Unflatten(1, (1, 8, 8)),
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(64, self._classes),
            )
        return nn.Sequential(
            nn.Linear(inputs, 32),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(32, self._classes),
        )

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        """``state`` is a checkpoint ``{"epoch", "network", "optimizer"}`` of tensors."""
        import torch

        torch.set_num_threads(1)
        epochs = int(EPOCHS if fidelity is None else fidelity)
        seed = (seed or 0) % 2**31
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._network(float(config["dropout"]))
            descent = torch.optim.SGD(
                network.parameters(),
                lr=config["learning_rate"],
                momentum=config["momentum"],
                weight_decay=config["weight_decay"],
            )
            done = 0
            if state is not None:
                done = state["epoch"]
                network.load_state_dict(state["network"])
                self._resume(descent, state["optimizer"])
            for epoch in range(done, epochs):
                torch.manual_seed(seed + 1_000_003 * (epoch + 1))
                self._epoch(network, descent, int(config["batch_size"]))
        return self._outcome(network, descent, max(done, epochs))

    @staticmethod
    def _resume(descent: Any, saved: Any) -> None:
        """The momentum of a checkpoint, under this configuration's own hyperparameters."""
        groups = descent.state_dict()["param_groups"]
        descent.load_state_dict({"state": saved["state"], "param_groups": groups})

    def _epoch(self, network: Any, descent: Any, batch: int) -> None:
        import torch

        x, y = self._parts[:2]
        network.train()
        for rows in torch.randperm(len(y)).split(batch):
            descent.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            descent.step()

    def _outcome(self, network: Any, descent: Any, epoch: int) -> Outcome:
        import copy

        import torch

        network.eval()
        scores = {}
        with torch.no_grad():
            for name, x, y in (("valid", *self._parts[2:4]), ("test", *self._parts[4:6])):
                out = network(x)
                hits = (out.argmax(dim=1) == y).double().mean().item()
                loss = torch.nn.functional.cross_entropy(out.double(), y).item()
                scores[name] = {"accuracy": hits, "cross_entropy": loss}
        values = {o.name: scores["valid"][o.name] for o in self.description.objectives}
        extra = {"test_accuracy": scores["test"]["accuracy"], "epoch": epoch}
        checkpoint = {
            "epoch": epoch,
            "network": copy.deepcopy(network.state_dict()),
            "optimizer": copy.deepcopy(descent.state_dict()),
        }
        return Outcome(values, epoch / EPOCHS, extra=extra, state=checkpoint)


_NETWORKS = {"mlp": CLASSES, "cnn": ("digits",)}
_SECONDS = {"svm": 0.02, "forest": 0.2, "boosting": 0.3, "linear": 0.02}


class Training(Collection):
    name, requires, extra = "training", ("sklearn",), "training"

    def names(self) -> Iterator[str]:
        for learner in LEARNERS:
            for data in DATA:
                yield from (f"training-{learner}-{data}-{kind}" for kind in TYPES)
                yield f"training-{learner}-{data}-timed-mo"
        for network, sets in _NETWORKS.items():
            for data in sets:
                yield from (f"training-{network}-{data}-{kind}" for kind in TYPES)

    def describe(self, name: str) -> TaskDescription:
        if name not in _NAMES:
            raise self.unknown(name)
        _, learner, data, *rest = name.split("-")
        network = learner in _NETWORKS
        parameters = NETWORK if network else LEARNERS[learner].parameters
        if data == "diabetes" and learner == "linear":
            parameters = tuple(p for p in parameters if p.name != "class_weight")
        fidelity = _EPOCHS if network else _SHARE
        timed, momf = len(rest) == 2, rest[-1].startswith("mo")
        n = 40 if momf else 50
        return TaskDescription(
            name=name,
            make_space=partial(_declared.space, parameters),
            objectives=self._objectives(data, network, momf, timed),
            fidelity=fidelity if rest[-1].endswith("mf") else None,
            collection="training",
            kind="training",
            noisy=network or timed or LEARNERS[learner].seeded,
            stateful=network,
            evaluation_seconds={"mlp": 0.4, "cnn": 1.0}[learner]
            if network
            else _SECONDS.get(learner, 0.01),
            unit_cost=None if timed else 1.0,
            budget=Budget(trials=5 * n, evaluations=n)
            if rest[-1].endswith("mf")
            else Budget(trials=n),
            requires=("sklearn", "torch") if network else ("sklearn",),
            extra="training,torch" if network else "training",
            metadata={"learner": learner, "data": data, "rows": ROWS[data]},
            **_declared.counts(parameters),
        )

    @staticmethod
    def _objectives(data: str, network: bool, many: bool, timed: bool) -> tuple[Objective, ...]:
        if data in CLASSES:
            first = Objective("accuracy", False, "", 0.0, 1.0, reference=0.0)
        else:
            first = Objective("rmse", lower=0.0, reference=200.0, penalty=200.0)
        if not many:
            return (first,)
        if network:
            return (first, Objective("cross_entropy", lower=0.0, reference=10.0, penalty=10.0))
        goals: tuple[Objective, ...] = (
            first,
            Objective("size", unit="numbers", lower=0.0, reference=1e6, penalty=1e6),
        )
        if timed:
            goals += (Objective("time", unit="s", lower=0.0, reference=60.0, penalty=60.0),)
        return goals

    def build(self, description: TaskDescription) -> Task:
        if description.metadata["learner"] in _NETWORKS:
            return NetworkTask(description)
        return FitTask(description)


collections = (Training(),)
_NAMES = frozenset(collections[0].names())

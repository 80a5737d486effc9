"""Policy search on gymnasium's classic control: hyperparameters of an evolution strategy.

A task trains a policy with a simple evolution strategy (Salimans et al., 2017: antithetic samples,
ranked returns) and scores what it learned. The hyperparameters are those of the strategy and the
scale of the policy; ``-linear`` policies have one weight per observation, ``-mlp`` one hidden layer
of 8. Seeds are apart, as Eimer et al. (2023) ask: training episodes and tuning episodes start from
seeds of the evaluation, test episodes from seeds above 10^6 that no training sees. The objective is
the mean return of the tuning episodes, the test score stands in ``extra`` alone.

``-bb`` trains for 20 generations; ``-mf`` has the number of generations as fidelity, and hands on
the state of the strategy, from which a trial may continue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from carps_like.budget import Budget
from carps_like.description import Fidelity, Objective, TaskDescription
from carps_like.interface import Task
from carps_like.registry import Collection
from carps_like.tasks import _declared
from carps_like.tasks._declared import one_of, real, whole
from carps_like.trial import Configuration, Outcome

Array = np.ndarray[Any, np.dtype[Any]]
GENERATIONS = 20
EPISODES = 5  # of a tuning or test score
TEST_SEEDS = 1_000_000  # test episodes start here and above, all others below
HIDDEN = 8


@dataclass(frozen=True)
class Environment:
    """One environment: what a policy sees and does, and what a return is worth."""

    id: str
    observations: int
    actions: int  # discrete ones, or 0 for one number
    bound: float  # of that number
    worst: float  # return of an episode
    best: float  # no return is above
    steps: int  # an episode ends after
    seconds: float  # of a whole evaluation


ENVIRONMENTS = {
    "cartpole": Environment("CartPole-v1", 4, 2, 0.0, 0.0, 500.0, 500, 0.4),
    "acrobot": Environment("Acrobot-v1", 6, 3, 0.0, -500.0, 0.0, 500, 2.5),
    "mountaincar": Environment("MountainCar-v0", 2, 3, 0.0, -200.0, 0.0, 200, 0.6),
    "mountaincarcontinuous": Environment(
        "MountainCarContinuous-v0", 2, 0, 1.0, -100.0, 100.0, 999, 1.0
    ),
    "pendulum": Environment("Pendulum-v1", 3, 0, 2.0, -2000.0, 0.0, 200, 0.7),
}
PARAMETERS = (
    real("learning_rate", 1e-3, 2.0, log=True, default=0.2),
    real("noise", 1e-2, 2.0, log=True, default=0.3),
    whole("pairs", 1, 8, default=3),
    real("decay", 0.0, 0.1, default=0.0),
    real("scale", 0.1, 10.0, log=True, default=1.0),
    one_of("normalize", True, False),
)
_LAW = "one part in 20 a generation, cumulative"


class ControlTask(Task):
    """One environment under one kind of policy."""

    def __init__(self, description: TaskDescription) -> None:
        import gymnasium

        self.description = description
        self._spec = ENVIRONMENTS[description.metadata["environment"]]
        self._mlp = description.metadata["policy"] == "mlp"
        self._env = gymnasium.make(self._spec.id).unwrapped
        outputs = self._spec.actions or 1
        inputs = self._spec.observations + 1
        self._shapes = (
            [(inputs, HIDDEN), (HIDDEN + 1, outputs)] if self._mlp else [(inputs, outputs)]
        )
        self._size = sum(a * b for a, b in self._shapes)

    def __reduce__(self) -> Any:
        return ControlTask, (self.description,)

    def compute(
        self, config: Configuration, fidelity: float | None, seed: int | None, state: Any
    ) -> Outcome:
        """``state`` is ``{"generation", "weights", "seen"}``."""
        generations = int(GENERATIONS if fidelity is None else fidelity)
        start = (seed or 0) % 1000
        weights, seen, done = np.zeros(self._size), self._nothing_seen(), 0
        if state is not None:
            weights, done = state["weights"].copy(), state["generation"]
            seen = tuple(a.copy() for a in state["seen"])
        for generation in range(done, generations):
            rng = np.random.default_rng((start, generation))
            weights = self._step(weights, config, rng, seen)
        score = self._score(weights, config, seen, 500_000 + start * EPISODES)
        test = self._score(weights, config, seen, TEST_SEEDS + start * EPISODES)
        generation = max(done, generations)
        return Outcome(
            {"return": score},
            generation / GENERATIONS,
            extra={"test_return": test},
            state={"generation": generation, "weights": weights, "seen": seen},
        )

    def _nothing_seen(self) -> tuple[Array, ...]:
        """Count, sum and sum of squares of the observations of training."""
        n = self._spec.observations
        return np.zeros(1), np.zeros(n), np.zeros(n)

    def _step(
        self, weights: Array, config: Configuration, rng: Any, seen: tuple[Array, ...]
    ) -> Array:
        noise, pairs = float(config["noise"]), int(config["pairs"])
        steps = rng.standard_normal((pairs, self._size))
        episode = int(rng.integers(400_000))
        returns = np.array([
            [self._episode(weights + sign * noise * s, config, episode, seen, True) for s in steps]
            for sign in (1, -1)
        ])  # fmt: skip
        ranks = returns.ravel().argsort(kind="stable").argsort(kind="stable").reshape(2, pairs)
        gain = (ranks[0] - ranks[1]) / max(2 * pairs - 1, 1)
        slope = gain @ steps / (pairs * noise)
        kept = (1 - float(config["decay"])) * weights
        moved: Array = kept + float(config["learning_rate"]) * noise * slope
        return moved

    def _score(
        self, weights: Array, config: Configuration, seen: tuple[Array, ...], first: int
    ) -> float:
        returns = [self._episode(weights, config, first + k, seen, False) for k in range(EPISODES)]
        return float(np.mean(returns))

    def _episode(
        self,
        weights: Array,
        config: Configuration,
        seed: int,
        seen: tuple[Array, ...],
        learning: bool,
    ) -> float:
        layers, k = [], 0
        for a, b in self._shapes:
            layers.append(weights[k : k + a * b].reshape(a, b) * float(config["scale"]))
            k += a * b
        centre, spread = np.zeros(self._spec.observations), np.ones(self._spec.observations)
        if config["normalize"] and seen[0][0] > 1:
            centre = seen[1] / seen[0]
            spread = np.sqrt(np.maximum(seen[2] / seen[0] - centre**2, 1e-8))
        observation, _ = self._env.reset(seed=seed)
        total = 0.0
        for _ in range(self._spec.steps):
            if learning:
                seen[0][0] += 1
                seen[1][:] += observation
                seen[2][:] += observation**2
            action = self._act(layers, (observation - centre) / spread)
            observation, reward, ended, _, _ = self._env.step(action)
            total += float(reward)
            if ended:
                break
        return total

    def _act(self, layers: list[Array], x: Array) -> Any:
        for layer in layers[:-1]:
            x = np.tanh(np.append(x, 1.0) @ layer)
        out = np.append(x, 1.0) @ layers[-1]
        if self._spec.actions:
            return int(out.argmax())
        force: Array = self._spec.bound * np.tanh(out)
        return force


class Control(Collection):
    name, requires, extra = "control", ("gymnasium",), "control"

    def names(self) -> Iterator[str]:
        for environment in ENVIRONMENTS:
            for policy in ("linear", "mlp"):
                for kind in ("bb", "mf"):
                    yield f"control-{environment}-{policy}-{kind}"

    def describe(self, name: str) -> TaskDescription:
        if name not in set(self.names()):
            raise self.unknown(name)
        _, environment, policy, kind = name.split("-")
        spec = ENVIRONMENTS[environment]
        fidelity = Fidelity("generations", 1, GENERATIONS, True, "generations", _LAW)
        return TaskDescription(
            name=name,
            make_space=partial(_declared.space, PARAMETERS),
            objectives=(
                Objective(
                    "return", False, upper=spec.best, reference=spec.worst, penalty=spec.worst
                ),
            ),
            fidelity=fidelity if kind == "mf" else None,
            collection="control",
            kind="simulator",
            noisy=True,
            stateful=True,
            evaluation_seconds=spec.seconds,
            budget=Budget(trials=250, evaluations=50) if kind == "mf" else Budget(trials=50),
            metadata={"environment": environment, "id": spec.id, "policy": policy},
            **_declared.counts(PARAMETERS),
        )

    def build(self, description: TaskDescription) -> ControlTask:
        return ControlTask(description)


collections = (Control(),)

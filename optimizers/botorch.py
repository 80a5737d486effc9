"""Bayesian optimization with BoTorch (Balandat et al., 2020): a loop of our own around its parts.

BoTorch has no optimizer; this is the loop of its tutorials, on the unit cube of the space, in
double precision: a scrambled Sobol design of 2d + 2 points (at most ``n_initial``), a GP with its
default priors on standardised values, and one point per ask by ``optimize_acqf``. Open trials
enter as ``X_pending``. Trials that failed are left out. Proposals that clauses forbid give way to
the best legal ones of a random sample. Constraint values get a GP each.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from carps_like.description import TaskDescription
from carps_like.errors import BadValue, did_you_mean
from carps_like.interface import Capabilities, Optimizer
from carps_like.optimizers._common import TRIES, no_legal
from carps_like.space import Cube
from carps_like.trial import Result, Trial, Value

Array = np.ndarray[Any, np.dtype[np.float64]]
_STARTS = 5  # sets of random starts of an acquisition


def maximised(
    acquisition: Any, bounds: Any, restarts: int, raw: int, options: dict[str, int] | None = None
) -> tuple[Array, Any]:
    """The point where ``optimize_acqf`` finds the acquisition highest, and its value there."""
    from botorch.exceptions.errors import OptimizationGradientError
    from botorch.optim import optimize_acqf

    for attempt in range(_STARTS):
        try:
            candidate, value = optimize_acqf(
                acquisition,
                bounds=bounds,
                q=1,
                num_restarts=restarts,
                raw_samples=raw,
                options=options,
            )
            break
        except RuntimeError as error:
            # the acquisition is nan at one of the random starts, or its gradient on the way from
            # one; the next ones are others
            nan = isinstance(error, OptimizationGradientError)
            if attempt == _STARTS - 1 or not (nan or "probability tensor" in str(error)):
                raise
    found: Array = candidate.squeeze(0).detach().numpy()
    return found, value


class _BoTorch(Optimizer):
    """Design, data, and proposals; subclasses name their acquisitions.

    Args:
        n_initial: size of the Sobol design.
        num_restarts, raw_samples: of ``optimize_acqf``, 10 and 512 as in the tutorials.
    """

    requires: ClassVar[tuple[str, ...]] = ("botorch", "torch")
    extra = "botorch"

    def __init__(
        self,
        task: TaskDescription,
        seed: int,
        acquisition: str,
        n_initial: int | None = None,
        num_restarts: int = 10,
        raw_samples: int = 512,
    ) -> None:
        from scipy.stats import qmc

        self._acquisition = self._known(acquisition)
        self._cube = Cube(task.checker)
        self._rng = np.random.default_rng(seed)
        self._sobol = qmc.Sobol(self._cube.dimension, rng=self._rng)
        self._initial = n_initial or 2 * self._cube.dimension + 2
        self._restarts, self._raw = num_restarts, raw_samples
        self._stop: dict[str, int] | None = None
        self._x: list[Array] = []
        self._y: list[tuple[float, ...]] = []
        self._c: list[tuple[float, ...]] = []
        self._constrained = bool(task.constraints) and self.capabilities.constraints
        self._reference = task.reference_point
        self._open: dict[int, Array] = {}
        self._asked = 0

    acquisitions: ClassVar[tuple[str, ...]] = ()

    def _known(self, acquisition: str) -> str:
        if acquisition not in self.acquisitions:
            known = ", ".join(self.acquisitions)
            hint = did_you_mean(acquisition, self.acquisitions, f"there are {known}")
            raise BadValue(f"no acquisition {acquisition!r}{hint}")
        return acquisition

    def ask(self) -> Trial:
        designed = self._asked < self._initial or len(self._y) < 2
        config, x = self._designed() if designed else self._modelled()
        self._open[self._asked] = x
        self._asked += 1
        return Trial(config, tag=(self._asked - 1, x))

    def _designed(self) -> tuple[dict[str, Value], Array]:
        for _ in range(TRIES):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one point at a time is no power of two
                x = self._sobol.random(1)[0]
            config = self._cube.config(x.tolist())
            if not self._cube.checker.forbidden(config):
                return config, self._cube.point(config)
        raise no_legal(self._cube.checker.where)

    def _modelled(self) -> tuple[dict[str, Value], Array]:
        import torch
        from botorch.utils.sampling import manual_seed

        # torch's global generator is seeded for this proposal and found again as it was
        with warnings.catch_warnings(), manual_seed(int(self._rng.integers(2**31))):
            warnings.simplefilter("ignore")  # of fits that stop early
            acquisition = self._built()
            x = self._best(acquisition)
            config = self._cube.config(x.tolist())
            if not self._cube.checker.forbidden(config):
                return config, self._cube.point(config)
            found = [(c, p) for c, p in (self._designed() for _ in range(64))]
            points = torch.tensor(np.array([p for _, p in found])).unsqueeze(1)
            with torch.no_grad():
                return found[int(acquisition(points).argmax())]

    def _best(self, acquisition: Any) -> Array:
        best, _ = maximised(acquisition, self._bounds(), self._restarts, self._raw, self._stop)
        return best

    def _bounds(self) -> Any:
        import torch

        d = self._cube.dimension
        return torch.stack([torch.zeros(d), torch.ones(d)]).double()

    def _data(self) -> tuple[Any, Any]:
        """Points, and negated values: BoTorch maximises. Constraint values come after."""
        import torch

        y = -np.array(self._y)
        if self._constrained:
            y = np.hstack([y, np.array(self._c)])
        return torch.tensor(np.array(self._x)), torch.tensor(y)

    def _model(self, x: Any, y: Any) -> Any:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import ModelListGP, SingleTaskGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood, SumMarginalLogLikelihood

        parts = [
            SingleTaskGP(x, y[:, i : i + 1], outcome_transform=Standardize(m=1))
            for i in range(y.shape[1])
        ]
        if len(parts) == 1:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(parts[0].likelihood, parts[0]))
            return parts[0]
        model = ModelListGP(*parts)
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        return model

    def _pending(self) -> Any:
        import torch

        return torch.tensor(np.array(list(self._open.values()))) if self._open else None

    def _limits(self, n_objectives: int) -> list[Any] | None:
        """Constraints as functions of a sample of the outcomes; satisfied below 0."""
        if not self._constrained:
            return None
        return [lambda z, i=i: z[..., n_objectives + i] for i in range(len(self._c[0]))]

    @abstractmethod
    def _built(self) -> Any:
        """The acquisition function on a fitted model."""

    def tell(self, trial: Trial, result: Result) -> None:
        number, x = trial.tag
        del self._open[number]
        if result.ok:
            self._x.append(x)
            self._y.append(result.values)
            self._c.append(result.constraints)


class BoTorch(_BoTorch):
    """One objective. ``acquisition``: logei (log expected improvement, Ament et al., 2023; its
    Monte Carlo form while trials are open or with constraints), qlognei (noisy), ucb.
    """

    capabilities = Capabilities(constraints=True, noise=True)
    acquisitions: ClassVar[tuple[str, ...]] = ("logei", "qlognei", "ucb")

    def _built(self) -> Any:
        from botorch.acquisition import (
            LogExpectedImprovement,
            qLogExpectedImprovement,
            qLogNoisyExpectedImprovement,
            qUpperConfidenceBound,
        )
        from botorch.acquisition.objective import GenericMCObjective

        x, y = self._data()
        model, pending = self._model(x, y), self._pending()
        more: dict[str, Any] = {"X_pending": pending}
        if self._constrained:
            more["objective"] = GenericMCObjective(lambda z, X=None: z[..., 0])
        if self._acquisition == "ucb":
            return qUpperConfidenceBound(model, beta=4.0, **more)
        if self._constrained:
            more["constraints"] = self._limits(1)
        if self._acquisition == "qlognei":
            return qLogNoisyExpectedImprovement(model, x, prune_baseline=True, **more)
        values = y[(y[:, 1:] <= 0).all(dim=1), 0]  # of the feasible ones
        best = float(values.max() if len(values) else y[:, 0].min())
        if pending is None and not self._constrained:
            return LogExpectedImprovement(model, best)
        return qLogExpectedImprovement(model, best, **more)


class Turbo(BoTorch):
    """TuRBO-1 (Eriksson et al., 2019): Thompson sampling or log EI in a trust region around the
    incumbent, which doubles after ``successes`` in a row and halves after as many failures as
    there are dimensions (at least 4), and begins anew below 0.5^7.
    """

    capabilities = Capabilities(noise=True)
    acquisitions: ClassVar[tuple[str, ...]] = ("logei",)

    def __init__(
        self, task: TaskDescription, seed: int, acquisition: str = "logei", successes: int = 3,
        n_initial: int | None = None, num_restarts: int = 10, raw_samples: int = 512,
    ) -> None:  # fmt: skip
        super().__init__(task, seed, acquisition, n_initial, num_restarts, raw_samples)
        self._successes = successes
        self._failures = max(4, self._cube.dimension)
        self._begin()

    def _begin(self) -> None:
        self._length, self._good, self._bad = 0.8, 0, 0
        self._first, self._start = len(self._x), self._asked

    def ask(self) -> Trial:
        if self._length < 0.5**7:
            self._begin()
        designed = self._asked - self._start < self._initial or len(self._y) - self._first < 2
        config, x = self._designed() if designed else self._modelled()
        self._open[self._asked] = x
        self._asked += 1
        return Trial(config, tag=(self._asked - 1, x))

    def _data(self) -> tuple[Any, Any]:
        x, y = super()._data()
        return x[self._first :], y[self._first :]

    def _model(self, x: Any, y: Any) -> Any:
        self._center = x[int(y[:, 0].argmax())]
        self._fitted = super()._model(x, y)
        return self._fitted

    def _bounds(self) -> Any:
        import torch

        scales = getattr(self._fitted.covar_module, "base_kernel", self._fitted.covar_module)
        weights = scales.lengthscale.detach().squeeze()
        weights = weights / weights.mean()
        weights = weights / torch.prod(weights.pow(1.0 / len(weights)))
        half = weights * self._length / 2
        return torch.stack([self._center - half, self._center + half]).clamp(0.0, 1.0)

    def tell(self, trial: Trial, result: Result) -> None:
        before = min((v[0] for v in self._y[self._first :]), default=np.inf)
        modelled = len(self._y) - self._first >= self._initial
        super().tell(trial, result)
        if not modelled:
            return
        better = result.ok and result.value < before - 1e-3 * abs(before)
        self._good, self._bad = (self._good + 1, 0) if better else (0, self._bad + 1)
        if self._good >= self._successes:
            self._length, self._good = min(1.6, 2.0 * self._length), 0
        elif self._bad >= self._failures:
            self._length, self._bad = self._length / 2.0, 0


class BoTorchMany(_BoTorch):
    """Several objectives. ``acquisition``: qlognehvi (Ament et al., 2023) or qlognparego
    (Daulton et al., 2021: one random augmented Chebyshev scalarisation per ask).
    """

    capabilities = Capabilities(
        multi_objective=True, single_objective=False, constraints=True, noise=True
    )
    acquisitions: ClassVar[tuple[str, ...]] = ("qlognehvi", "qlognparego")

    def _built(self) -> Any:
        import torch
        from botorch.acquisition import qLogNoisyExpectedImprovement
        from botorch.acquisition.multi_objective import qLogNoisyExpectedHypervolumeImprovement
        from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
        from botorch.acquisition.objective import GenericMCObjective
        from botorch.utils.multi_objective.hypervolume import infer_reference_point
        from botorch.utils.multi_objective.scalarization import get_chebyshev_scalarization
        from botorch.utils.sampling import sample_simplex

        x, y = self._data()
        m = len(self._y[0])
        model = self._model(x, y)
        more: dict[str, Any] = {"X_pending": self._pending(), "constraints": self._limits(m)}
        if self._acquisition == "qlognparego":
            weights = sample_simplex(m, dtype=torch.double).squeeze(0)
            scalar = get_chebyshev_scalarization(weights, y[:, :m])
            objective = GenericMCObjective(lambda z, X=None: scalar(z[..., :m]))
            return qLogNoisyExpectedImprovement(
                model, x, objective=objective, prune_baseline=True, **more
            )
        if self._reference is not None:
            point = -torch.tensor(self._reference)
        else:
            point = infer_reference_point(_front(y[:, :m]))
        return qLogNoisyExpectedHypervolumeImprovement(
            model,
            ref_point=point.double(),
            X_baseline=x,
            objective=IdentityMCMultiOutputObjective(outcomes=list(range(m))),
            prune_baseline=True,
            **more,
        )


def _front(y: Any) -> Any:
    from botorch.utils.multi_objective.pareto import is_non_dominated

    return y[is_non_dominated(y)]

"""The multi-fidelity knowledge gradient with BoTorch, in the loop of its tutorial."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities
from carps_like.optimizers.botorch import Array, _BoTorch, maximised
from carps_like.trial import Trial, Value


class MultiFidelity(_BoTorch):
    """Cost-aware multi-fidelity knowledge gradient (Poloczek et al., 2017; Wu et al., 2020).

    The GP has the fidelity, scaled to [0, 1], as one more input; the cost is ``fixed_cost`` plus
    the fidelity's share, and the gain in the mean at the full fidelity is divided by it. The
    design is evaluated at fidelities of 1/3 and 1 of the range, in turn. The method ends with a
    recommendation, the best mean at the full fidelity; here each ``recommend_every``-th proposal
    is that point at that fidelity, or no trial would ever show what has been learnt. ``maxiter``
    are the steps of L-BFGS-B per proposal, 200 as in BoTorch's tutorial of the method.
    """

    capabilities = Capabilities(fidelity="needs", noise=True)
    acquisitions: ClassVar[tuple[str, ...]] = ("qmfkg",)

    def __init__(
        self, task: TaskDescription, seed: int, acquisition: str = "qmfkg",
        fixed_cost: float = 0.1, num_fantasies: int = 16, recommend_every: int = 4,
        n_initial: int | None = None, num_restarts: int = 4, raw_samples: int = 128,
        maxiter: int = 200,
    ) -> None:  # fmt: skip
        assert task.fidelity is not None  # the capabilities say so
        super().__init__(task, seed, acquisition, n_initial, num_restarts, raw_samples)
        self._stop = {"maxiter": maxiter}
        self._fidelity = task.fidelity
        self._cost, self._fantasies, self._every = fixed_cost, num_fantasies, recommend_every

    def ask(self) -> Trial:
        designed = self._asked < self._initial or len(self._y) < 2
        if designed:
            config, x = self._designed()
            level = 1.0 if self._asked % 2 else 1.0 / 3.0
        else:
            config, x, level = self._proposed()
        lower, upper = self._fidelity.lower, self._fidelity.upper
        fidelity = self._fidelity.nearest(lower + level * (upper - lower))
        point = np.append(x, (fidelity - lower) / (upper - lower))
        self._open[self._asked] = point
        self._asked += 1
        return Trial(config, fidelity, tag=(self._asked - 1, point))

    def _proposed(self) -> tuple[dict[str, Value], Array, float]:
        from botorch.utils.sampling import manual_seed

        with warnings.catch_warnings(), manual_seed(int(self._rng.integers(2**31))):
            warnings.simplefilter("ignore")
            found = None
            if self._asked % self._every == 0:
                x, _ = self._recommended(self._model(*self._data()))
                x = np.append(self._cube.point(self._cube.config(x.tolist())), 1.0)
                found = None if any(np.array_equal(x, known) for known in self._x) else x
            if found is None:
                found = self._best(self._built())
        x, level = found[:-1], float(found[-1])
        config = self._cube.config(x.tolist())
        if self._cube.checker.forbidden(config):
            config, x = self._designed()
        return config, self._cube.point(config), level

    def _bounds(self) -> Any:
        import torch

        d = self._cube.dimension + 1
        return torch.stack([torch.zeros(d), torch.ones(d)]).double()

    def _model(self, x: Any, y: Any) -> Any:
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskMultiFidelityGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood

        model = SingleTaskMultiFidelityGP(
            x, y, data_fidelities=[x.shape[1] - 1], outcome_transform=Standardize(m=1)
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model

    def _recommended(self, model: Any) -> tuple[Array, Any]:
        """The point whose mean at the full fidelity is best, and that mean."""
        from botorch.acquisition import PosteriorMean
        from botorch.acquisition.fixed_feature import FixedFeatureAcquisitionFunction

        d = self._cube.dimension
        mean = FixedFeatureAcquisitionFunction(
            PosteriorMean(model), d=d + 1, columns=[d], values=[1.0]
        )
        return maximised(mean, self._bounds()[:, :-1], restarts=4, raw=128)

    def _built(self) -> Any:
        from botorch.acquisition.cost_aware import InverseCostWeightedUtility
        from botorch.acquisition.knowledge_gradient import qMultiFidelityKnowledgeGradient
        from botorch.acquisition.utils import project_to_target_fidelity
        from botorch.models.cost import AffineFidelityCostModel

        model, last = self._model(*self._data()), self._cube.dimension
        _, best = self._recommended(model)
        cost = AffineFidelityCostModel(fidelity_weights={last: 1.0}, fixed_cost=self._cost)
        return qMultiFidelityKnowledgeGradient(
            model,
            num_fantasies=self._fantasies,
            current_value=best,
            cost_aware_utility=InverseCostWeightedUtility(cost_model=cost),
            project=lambda z: project_to_target_fidelity(
                X=z, target_fidelities={last: 1.0}, d=last + 1
            ),
            X_pending=self._pending(),
        )

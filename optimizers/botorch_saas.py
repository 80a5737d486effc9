"""SAASBO with BoTorch: its fully Bayesian GP, sampled by numpyro."""

from __future__ import annotations

from typing import Any, ClassVar

from carps_like.description import TaskDescription
from carps_like.interface import Capabilities
from carps_like.optimizers.botorch import BoTorch


class Saas(BoTorch):
    """SAASBO (Eriksson and Jankowiak, 2021): a fully Bayesian GP by MCMC. Seconds per ask."""

    capabilities = Capabilities(global_seeds=True, noise=True)
    requires: ClassVar[tuple[str, ...]] = ("botorch", "torch", "numpyro")
    acquisitions: ClassVar[tuple[str, ...]] = ("logei", "qlognei")

    def __init__(
        self, task: TaskDescription, seed: int, acquisition: str = "logei",
        n_initial: int | None = None, num_restarts: int = 10, raw_samples: int = 512,
        max_tree_depth: int = 6, warmup_steps: int = 512, num_samples: int = 256,
        thinning: int = 16,
    ) -> None:  # fmt: skip
        super().__init__(task, seed, acquisition, n_initial, num_restarts, raw_samples)
        self._fits = 0
        self._depth, self._thinning = max_tree_depth, thinning
        self._warmup, self._samples = warmup_steps, num_samples

    def _model(self, x: Any, y: Any) -> Any:
        """As BoTorch's ``fit_fully_bayesian_model_nuts``, to the bit, but that the data are
        arguments of what is compiled, not constants in it: then it serves all data of a shape.
        """
        import jax
        from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP
        from botorch.models.transforms import Standardize
        from numpyro.infer import MCMC, NUTS

        if self._fits % 5 == 0:  # what it compiles for each number of trials takes 240 MB
            jax.clear_caches()
        self._fits += 1
        model = SaasFullyBayesianSingleTaskGP(x, y, outcome_transform=Standardize(m=1))
        model.train()
        inner = model.pyro_model
        data = inner.train_X_jax, inner.train_Y_jax

        def sample(x: Any, y: Any) -> None:
            inner.train_X_jax, inner.train_Y_jax = x, y
            inner.sample()

        sampler = MCMC(
            NUTS(sample, dense_mass=True, max_tree_depth=self._depth),
            num_warmup=self._warmup,
            num_samples=self._samples,
            progress_bar=False,
            jit_model_args=True,
        )
        sampler.run(jax.random.PRNGKey(0), *data)
        inner.train_X_jax, inner.train_Y_jax = data  # no tracers stay behind
        samples = inner.postprocess_mcmc_samples(sampler.get_samples())
        model.load_mcmc_samples({k: v[:: self._thinning] for k, v in samples.items()})
        model.eval()
        return model

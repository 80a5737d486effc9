"""Golden data and the dense oracle shared by the tests of the mixed models."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, optimize

GOLDEN = Path(__file__).parent / "golden"


@cache
def reference() -> dict[str, Any]:
    """R's values, see golden/lmem/README.md."""
    text = (GOLDEN / "lmem" / "r_reference.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def priorband() -> pd.DataFrame:
    frame = pd.read_parquet(GOLDEN / "priorband" / "priorband_data.parquet")
    return frame.assign(log_regret=np.log10(frame["simple_regret"] + 1e-3))


@cache
def synthetic() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "lmem" / "hpo_synth.csv")


def case_data(case: dict[str, Any]) -> pd.DataFrame:
    """The rows that a case of the reference was fitted to."""
    if case["dataset"] == "hpo_singular":
        return pd.read_csv(GOLDEN / "lmem" / "hpo_singular.csv")
    if case["dataset"] == "hpo_synth":
        frame = synthetic()
        return frame[frame["budget"] == 100]
    frame = priorband()
    frame = frame[frame["used_fidelity"] == 10]
    if "kept once" in case["subset"]:
        own = frame["algorithm"] == "PB"
        frame = frame[own | (frame["prior"] == "bad")]
        frame = frame.assign(
            arm=np.where(
                frame["algorithm"] == "PB", "PB_" + frame["prior"].astype(str), frame["algorithm"]
            )
        )
    return frame


class DenseModel:
    """Marginal likelihood with the full covariance matrix of the rows: slow, obvious, independent.

    ``terms`` are pairs of group codes (n,) and columns (n, k).
    """

    def __init__(
        self,
        y: np.ndarray,
        x: np.ndarray,
        terms: list[tuple[np.ndarray, np.ndarray]],
        reml: bool,
        weights: np.ndarray | None = None,
    ) -> None:
        self.y, self.x, self.reml = y, x, reml
        self.noise = np.diag(1 / (np.ones(len(y)) if weights is None else weights))
        self.terms = terms
        self.sizes = [z.shape[1] for _, z in terms]

    def deviance(self, theta: np.ndarray) -> float:
        """Minus two log-likelihood, profiled over beta and sigma."""
        v, start = self.noise.copy(), 0
        for (codes, z), k in zip(self.terms, self.sizes, strict=True):
            lower = np.zeros((k, k))
            columns, rows = np.triu_indices(k)
            lower[rows, columns] = theta[start : start + len(rows)]
            start += len(rows)
            v += (codes[:, None] == codes) * (z @ lower @ lower.T @ z.T)
        factor = linalg.cholesky(v, lower=True)
        a = linalg.solve_triangular(factor, np.column_stack([self.x, self.y]), lower=True)
        r = linalg.qr(a, mode="economic")[1]
        n, p = self.x.shape
        rss = r[p, p] ** 2
        nu = n - p if self.reml else n
        value = 2 * np.log(np.diag(factor)).sum() + nu * (1 + np.log(2 * np.pi * rss / nu))
        if self.reml:
            value += 2 * np.log(np.abs(np.diag(r)[:p])).sum()
        return float(value)

    def best(self, starts: int = 4) -> float:
        """Lowest deviance found from several starts without derivatives."""
        n = sum(k * (k + 1) // 2 for k in self.sizes)
        rng = np.random.default_rng(0)
        results = []
        for scale in np.geomspace(0.05, 5, starts):
            start = []
            for k in self.sizes:
                lower = scale * np.eye(k)
                columns, rows = np.triu_indices(k)
                start.append(lower[rows, columns])
            x0 = np.concatenate(start) + 0.01 * rng.normal(size=n)
            options = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000, "maxfev": 4000}
            result = optimize.minimize(self.deviance, x0, method="Nelder-Mead", options=options)
            results.append(float(result.fun))
        return min(results)

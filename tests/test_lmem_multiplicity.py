"""Simultaneous inference: studentised range, Dunnett's maximum, families."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from carps_like.analysis.lmem import multiplicity as m


@pytest.mark.parametrize("k", [2, 3, 10, 40])
@pytest.mark.parametrize("df", [1.3, 4.0, 23.7, 400.0])
@pytest.mark.parametrize("q", [0.3, 2.0, 4.5])
def test_the_studentised_range_agrees_with_scipy_where_scipy_is_exact(
    q: float, k: int, df: float
) -> None:
    assert m.range_sf(q, k, df) == pytest.approx(stats.studentized_range.sf(q, k, df), abs=1e-10)


@pytest.mark.parametrize("df", [3.0, 12.5, 200.0, 30_000.0, np.inf])
@pytest.mark.parametrize("q", [1.0, 8.0, 30.0, 45.0])
def test_two_means_are_a_t_test_however_small_the_p_value(q: float, df: float) -> None:
    t = q / np.sqrt(2)
    exact = 2 * (stats.norm.sf(t) if np.isinf(df) else stats.t.sf(t, df))
    assert m.range_sf(q, 2, df) == pytest.approx(exact, rel=1e-8)


def test_small_tukey_p_values_are_sums_over_pairs_and_never_zero() -> None:
    """Far out the pairs exclude each other: p is the number of pairs times the p of one."""
    for k in (3, 6):
        pair = 2 * stats.norm.sf(25 / np.sqrt(2))
        assert m.range_sf(25.0, k, np.inf) == pytest.approx(k * (k - 1) / 2 * pair, rel=1e-6)
        assert 0 < m.range_sf(50.0, k, 300) < 1e-60


@pytest.mark.parametrize(("k", "df"), [(3, 8.0), (6, 60.3), (12, np.inf)])
def test_quantiles_invert_the_tail(k: int, df: float) -> None:
    assert m.range_sf(m.range_quantile(0.05, k, df), k, df) == pytest.approx(0.05, rel=1e-7)


@pytest.mark.parametrize("df", [6.0, 30.0, np.inf])
def test_dunnett_by_one_factor_and_by_lattice_agree(df: float) -> None:
    loadings = np.array([0.9, 0.5, 0.7, 0.6])
    r = np.outer(loadings, loadings)
    np.fill_diagonal(r, 1)
    for t in (0.5, 2.0, 3.0):
        assert m.modulus_sf(t, r, df) == pytest.approx(m._modulus_qmc(t, r, df), abs=5e-5)


def test_the_maximum_of_any_contrasts_has_the_simulated_distribution() -> None:
    r = np.array([[1, 0.6, -0.2], [0.6, 1, 0.1], [-0.2, 0.1, 1.0]])
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(np.zeros(3), r, 400_000)
    x /= np.sqrt(rng.chisquare(9, 400_000) / 9)[:, None]
    for t in (1.0, 2.0, 3.0):
        simulated = np.mean(np.max(np.abs(x), axis=1) > t)
        assert m.modulus_sf(t, r, 9.0) == pytest.approx(simulated, abs=3e-3)


def test_families_ignore_what_cannot_be_estimated() -> None:
    p = np.array([0.01, np.nan, 0.02, 0.5])
    df = np.array([10.0, np.nan, 10.0, 10.0])
    t = stats.t.isf(p / 2, 10)
    np.testing.assert_allclose(m.adjusted(t, df, p, "holm", 3, None), [0.03, np.nan, 0.04, 0.5])
    np.testing.assert_allclose(m.adjusted(t, df, p, "bonferroni", 3, None)[0], 0.03)
    np.testing.assert_allclose(m.adjusted(t, df, p, "sidak", 3, None)[0], 1 - 0.99**3)


def test_the_smallest_p_values_keep_their_digits() -> None:
    p = np.array([1e-200, 1e-20])
    t, df = np.array([50.0, 10.0]), np.array([np.inf, np.inf])
    assert m.adjusted(t, df, p, "sidak", 3, None)[0] == pytest.approx(2e-200)
    assert m.adjusted(t, df, p, "holm", 3, None)[0] == pytest.approx(2e-200)

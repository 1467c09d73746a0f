"""The small statistics against plain definitions and published examples."""

from __future__ import annotations

import math
import statistics as plain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.agents.statistics import (
    Ewma,
    Moments,
    Once,
    PageHinkley,
    Recent,
    WindowMedian,
    clamp,
    deflated_sharpe,
    expected_best_sharpe,
    normal_cdf,
    normal_quantile,
    t_quantile,
)

NUMBERS = st.floats(-1000, 1000, allow_nan=False)


def test_deflated_sharpe_equals_the_published_example() -> None:
    """Bailey and Lopez de Prado (2014): 100 trials, 5 years of days, a Sharpe ratio of 2.5."""
    benchmark = expected_best_sharpe(100, 0.5 / 250)
    assert benchmark == pytest.approx(0.1132, abs=5e-5)
    found = deflated_sharpe(
        sharpe=2.5 / math.sqrt(250), count=1250, skewness=-3, kurtosis=10, benchmark=benchmark
    )
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_deflated_sharpe_with_fewer_trials_equals_the_published_example() -> None:
    found = deflated_sharpe(
        sharpe=2.5 / math.sqrt(250),
        count=1250,
        skewness=-3,
        kurtosis=10,
        benchmark=expected_best_sharpe(46, 0.5 / 250),
    )
    assert found == pytest.approx(0.9505, abs=1e-4)


def test_a_single_trial_has_no_luck_to_deflate() -> None:
    assert expected_best_sharpe(1, 0.5) == 0
    assert deflated_sharpe(sharpe=1, count=1, skewness=0, kurtosis=3, benchmark=0) == 0


def test_normal_quantile_inverts_the_distribution() -> None:
    for p in (1e-9, 0.01, 0.5, 0.975, 1 - 1e-6):
        assert normal_cdf(normal_quantile(p)) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(
    ("p", "freedom", "table"),
    [(0.95, 5, 2.0150), (0.95, 19, 1.7291), (0.975, 10, 2.2281), (0.05, 30, -1.6973)],
)
def test_students_quantiles_equal_the_table(p: float, freedom: int, table: float) -> None:
    assert t_quantile(p, freedom) == pytest.approx(table, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=4, max_size=60))
def test_moments_equal_their_definitions(values: list[float]) -> None:
    moments = Moments()
    for value in values:
        moments.add(value)
    array = np.array(values)
    spread = array.std()
    assert moments.mean == pytest.approx(array.mean(), abs=1e-8)
    assert moments.deviation == pytest.approx(array.std(ddof=1), rel=1e-6, abs=1e-6)
    if spread > 1e-2:
        normed = (array - array.mean()) / spread
        assert moments.skewness == pytest.approx((normed**3).mean(), rel=1e-5, abs=1e-5)
        assert moments.kurtosis == pytest.approx((normed**4).mean(), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=60), st.integers(1, 20))
def test_the_window_median_is_that_of_the_last_values(values: list[float], size: int) -> None:
    median = WindowMedian(size)
    for value in values:
        median.add(value)
    assert median.value == pytest.approx(plain.median(values[-size:]))
    assert len(median) == min(size, len(values))


def test_a_median_of_nothing_is_zero() -> None:
    assert WindowMedian(3).value == 0


def test_an_ewma_starts_as_the_plain_mean_and_then_halves_what_is_old() -> None:
    ewma = Ewma(half_life=10)
    for value in (1.0, 2.0, 3.0):
        ewma.add(value)
    assert ewma.value == pytest.approx(2.0)
    for _ in range(200):
        ewma.add(0.0)
    before = ewma.value = 1.0
    for _ in range(10):
        ewma.add(0.0)
    assert ewma.value == pytest.approx(before / 2)


def test_page_hinkley_rises_when_the_mean_falls_and_not_before() -> None:
    test = PageHinkley(0.1)
    for i in range(100):
        test.add(0.3 + (0.5 if i % 2 else -0.5))
    assert test.fall < 2
    for _ in range(10):
        test.add(-1.0)
    assert test.fall > 6


def test_the_bound_of_a_mean_is_unknown_below_three_values() -> None:
    moments = Moments()
    moments.add(1)
    moments.add(1)
    assert moments.mean_bound(0.95) == math.inf
    assert moments.mean_bound(0.05) == -math.inf


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    recent: Recent[int, int] = Recent(3)
    for i in range(10):
        recent.set(i, i)
    assert recent.values() == (7, 8, 9)
    once = Once(2)
    assert [once.is_new(k) for k in "aabca"] == [True, False, True, True, True]


def test_clamp_gives_the_lower_end_for_nan() -> None:
    assert clamp(math.nan, 0.1, 1) == 0.1
    assert (clamp(5, 0, 1), clamp(-5, 0, 1), clamp(0.5, 0, 1)) == (1, 0, 0.5)

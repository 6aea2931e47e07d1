"""E_abs, E_rel and the floor."""

import math

import pytest

from ipt.recovery import bootstrap, recovery

REFERENCE = {"a": 0.8, "b": 0.5, "c": 0.0, "d": 0.55}
FLOOR = {"a": 0.3, "b": 0.1, "c": 0.0, "d": 0.5}


def test_the_reference_recovers_itself_and_the_floor_nothing():
    itself = recovery(REFERENCE, REFERENCE, FLOOR)
    assert itself.relative == itself.ratio_of_means == itself.floored == 1
    nothing = recovery(FLOOR, REFERENCE, FLOOR)
    assert nothing.floored == 0 and 0 < nothing.relative < 0.6  # doing nothing does score in E_rel


def test_figures_by_hand():
    found = recovery({"a": 0.4, "b": 0.5, "c": 0.2, "d": 0.5}, REFERENCE, FLOOR)
    assert found.relative == pytest.approx((0.5 + 1 + 0.5 / 0.55) / 3)
    assert found.ratio_of_means == pytest.approx(1.6 / 1.85)
    assert found.floored == pytest.approx((0.1 / 0.5 + 1) / 2)
    assert found.below_floor == ("c", "d") and found.undefined == ("c",)


def test_interval_covers_the_mean_and_is_empty_for_no_task():
    import numpy as np

    low, high = bootstrap(np.array([0.0, 1.0] * 20))
    assert low < 0.5 < high and high - low < 0.4
    assert math.isnan(bootstrap(np.array([]))[0])

"""E_abs, E_rel, the ratio of means and the floored mean by hand; their intervals; JSON."""

import json
import math
import warnings

import numpy as np
import pytest

from ipt.recovery import (
    MARGIN,
    Recovery,
    absolute_score,
    bootstrap,
    from_json,
    recovery,
    relative_score,
    to_json,
)

REFERENCE = {"a": 0.8, "b": 0.5, "c": 0.0, "d": 0.55}
FLOOR = {"a": 0.3, "b": 0.1, "c": 0.0, "d": 0.5}
SCORES = {"a": 0.4, "b": 0.5, "c": 0.2, "d": 0.5}


def resampled(values, seed=0, resamples=2000):
    """The interval by plain loops: the mean of each resample, sorted, read at 2.5 and 97.5 %."""
    picks = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    means = []
    for row in picks:
        chosen = [values[i] for i in row]
        means.append(sum(chosen) / len(chosen))
    means.sort()
    ends = []
    for share in (0.025, 0.975):
        place = share * (resamples - 1)
        below = int(place)
        step = means[below + 1] - means[below]
        ends.append(means[below] + (place - below) * step)
    return tuple(ends)


def test_the_reference_recovers_itself_and_the_floor_nothing():
    itself = recovery(REFERENCE, REFERENCE, FLOOR)
    assert itself.relative == itself.ratio_of_means == itself.floored == 1
    nothing = recovery(FLOOR, REFERENCE, FLOOR)
    assert nothing.floored == 0 and 0 < nothing.relative < 0.6  # doing nothing does score in E_rel


def test_figures_by_hand():
    found = recovery(SCORES, REFERENCE, FLOOR)
    assert found.tasks == 4
    assert found.absolute == pytest.approx((0.4 + 0.5 + 0.2 + 0.5) / 4)
    assert found.relative == pytest.approx((0.5 + 1 + 0.5 / 0.55) / 3)
    assert found.ratio_of_means == pytest.approx(1.6 / 1.85)
    assert found.floored == pytest.approx((0.1 / 0.5 + 1) / 2)
    assert found.below_floor == ("c", "d") and found.undefined == ("c",)


def test_the_mean_of_ratios_is_not_the_ratio_of_means():
    found = recovery({"a": 0.1, "b": 0.9}, {"a": 0.2, "b": 0.9}, {"a": 0.0, "b": 0.0})
    assert found.relative == pytest.approx((0.5 + 1) / 2)
    assert found.ratio_of_means == pytest.approx(1.0 / 1.1)


def test_a_score_below_its_floor_counts_against_the_method():
    found = recovery({"a": 0.2, "b": 0.9}, {"a": 0.8, "b": 0.7}, {"a": 0.4, "b": 0.2})
    assert found.floored == pytest.approx((-0.2 / 0.4 + 0.7 / 0.5) / 2)


def test_every_figure_is_a_mean_and_no_median():
    scores = {"a": 0.2, "b": 0.3, "c": 0.9}
    found = recovery(scores, dict.fromkeys("abc", 1.0), {"a": 0.0, "b": 0.2, "c": 0.5})
    assert found.absolute == found.relative == pytest.approx(1.4 / 3)
    assert found.ratio_of_means == pytest.approx(1.4 / 3)
    assert found.floored == pytest.approx((0.2 + 0.125 + 0.8) / 3)


def test_only_tasks_that_have_a_score_count_and_they_come_by_name():
    reference = {"z": 0.0, "y": 0.0, "x": 0.5, "not scored": 1.0}
    floor = dict.fromkeys(reference, 0.0)
    found = recovery({"z": 0.1, "x": 0.25, "y": 0.1}, reference, floor)
    assert found.tasks == 3
    assert found.relative == 0.5
    assert found.ratio_of_means == pytest.approx(0.45 / 0.5)
    assert found.undefined == found.below_floor == ("y", "z")


def test_the_order_of_tasks_changes_nothing():
    turned = dict(reversed(SCORES.items()))
    assert recovery(turned, REFERENCE, FLOOR) == recovery(SCORES, REFERENCE, FLOOR)


def test_the_margin_is_a_tenth():
    assert MARGIN == 0.10


@pytest.mark.parametrize(
    ("reference", "floor", "counts"),
    [
        (0.1, 0.0, True),  # exactly the margin
        (0.2, 0.1, True),
        (0.099999, 0.0, False),  # a run keeps six digits: the next smaller score
        (0.5, 0.400001, False),
        (0.0999999996, 0.0, True),  # half a billionth is rounding, a billionth is not
        (0.099999999, 0.0, False),
        (0.5, 0.3, True),
        (0.3, 0.5, False),
    ],
)
def test_a_task_counts_from_a_tenth_above_its_floor_on(reference, floor, counts):
    found = recovery({"x": 0.05, "y": 0.75}, {"x": reference, "y": 1.0}, {"x": floor, "y": 0.5})
    assert found.below_floor == (() if counts else ("x",))
    lifted = (0.05 - floor) / (reference - floor)
    assert found.floored == pytest.approx((lifted + 0.5) / 2 if counts else 0.5)


def test_a_tenth_is_a_tenth_wherever_it_lies():
    """In binary 0.6 - 0.5 is a little less than 0.1, and 0.4 - 0.3 a little more."""
    assert 0.6 - 0.5 < 0.1 < 0.4 - 0.3
    for hundredths in range(91):
        floor = {"x": hundredths / 100}
        exact = {"x": (hundredths + 10) / 100}
        less = {"x": (hundredths + 9) / 100}
        assert recovery(exact, exact, floor).below_floor == ()
        assert recovery(less, less, floor).below_floor == ("x",)  # control


def test_a_negative_reference_has_no_ratio_but_is_in_the_sums():
    found = recovery({"a": 0.5, "b": 0.1}, {"a": 1.0, "b": -0.2}, {"a": 0.0, "b": -0.5})
    assert found.undefined == ("b",) and found.relative == 0.5
    assert found.ratio_of_means == pytest.approx(0.6 / 0.8)
    assert found.floored == pytest.approx((0.5 + 2.0) / 2)  # a floor may be negative too


def test_a_small_reference_above_zero_has_a_ratio():
    found = recovery({"a": 0.01}, {"a": 0.02}, {"a": 0.0})
    assert found.undefined == () and found.relative == 0.5


def test_without_a_task_every_figure_is_missing_and_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = recovery({}, {}, {})
    assert found.tasks == 0 and found.below_floor == found.undefined == ()
    single = (found.absolute, found.relative, found.ratio_of_means, found.floored)
    assert all(math.isnan(x) for x in (*single, *found.interval, *found.floored_interval))


def test_without_a_reference_only_the_mean_is_there():
    found = recovery({"a": 0.5}, {"a": 0.0}, {"a": 0.1})
    assert found.absolute == 0.5 and found.undefined == found.below_floor == ("a",)
    figures = (found.relative, found.ratio_of_means, found.floored)
    assert all(math.isnan(x) for x in (*figures, *found.interval, *found.floored_interval))


def test_e_abs_and_e_rel_of_lists():
    assert absolute_score([0.25, 0.75, 0.2]) == pytest.approx(0.4)
    assert relative_score([0.25, 0.75], [0.5, 1.0]) == pytest.approx((0.5 + 0.75) / 2)
    assert type(absolute_score([0.5])) is type(relative_score([0.5], [1.0])) is float
    assert math.isnan(absolute_score([])) and math.isnan(relative_score([], []))


def test_interval_covers_the_mean_as_widely_as_the_normal_one_and_is_empty_for_no_task():
    values = np.random.default_rng(5).normal(0.7, 0.2, 400)
    low, high = bootstrap(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)
    assert (high - low) / (2 * half) == pytest.approx(1, abs=0.05)
    assert all(math.isnan(end) for end in bootstrap(np.array([])))


def test_four_times_the_tasks_halve_the_interval():
    values = np.array([0.0, 1.0] * 50)
    few, many = bootstrap(values), bootstrap(np.tile(values, 4))
    assert (many[1] - many[0]) / (few[1] - few[0]) == pytest.approx(0.5, abs=0.05)


def test_tasks_are_drawn_again_as_often_as_there_are_tasks():
    """With two tasks a resample's mean is one of three values: the interval is the whole range."""
    assert bootstrap(np.array([0.0, 1.0])) == (0.0, 1.0)
    assert bootstrap(np.array([0.3])) == (0.3, 0.3)


def test_the_interval_is_of_2000_resamples_with_seed_0():
    values = np.random.default_rng(7).normal(0.7, 0.2, 30).tolist()
    found = bootstrap(np.array(values))
    assert found == pytest.approx(resampled(values), abs=1e-12)
    assert found != pytest.approx(resampled(values, seed=1), abs=1e-4)  # control: the seed is seen
    assert found != pytest.approx(resampled(values, resamples=1999), abs=1e-6)
    assert bootstrap(np.array(values), seed=3) == pytest.approx(resampled(values, 3), abs=1e-12)
    fewer = bootstrap(np.array(values), resamples=50)
    assert fewer == pytest.approx(resampled(values, 0, 50), abs=1e-12)
    assert type(found[0]) is type(found[1]) is float


def test_each_interval_is_of_its_own_values():
    scores = {"a": 0.5, "b": 0.3, "c": 0.65, "d": 0.35, "e": 0.05, "f": 0.1}
    reference = {"a": 0.8, "b": 0.6, "c": 0.7, "d": 0.5, "e": 0.15, "f": 0.0}
    floor = {"a": 0.2, "b": 0.1, "c": 0.3, "d": 0.25, "e": 0.1, "f": 0.0}
    found = recovery(scores, reference, floor)  # e is not above its floor, f has no ratio
    ratios = [0.5 / 0.8, 0.3 / 0.6, 0.65 / 0.7, 0.35 / 0.5, 0.05 / 0.15]
    lifted = [0.3 / 0.6, 0.2 / 0.5, 0.35 / 0.4, 0.1 / 0.25]
    assert found.interval == pytest.approx(resampled(ratios), abs=1e-12)
    assert found.floored_interval == pytest.approx(resampled(lifted), abs=1e-12)
    assert abs(found.floored_interval[0] - found.interval[0]) > 0.03  # control: they differ


def test_json_has_six_digits_lists_and_null_where_there_is_none():
    nan = float("nan")
    figures = Recovery(
        tasks=3,
        absolute=0.12345678,
        relative=nan,
        interval=(0.1, nan),
        ratio_of_means=1 / 3,
        floored=2 / 3,
        floored_interval=(0.5, 1.0000004),
        below_floor=("a", "b"),
        undefined=(),
    )
    assert to_json(figures) == {
        "tasks": 3,
        "absolute": 0.123457,
        "relative": None,
        "interval": [0.1, None],
        "ratio_of_means": 0.333333,
        "floored": 0.666667,
        "floored_interval": [0.5, 1.0],
        "below_floor": ["a", "b"],
        "undefined": [],
    }


def test_figures_survive_json():
    figures = recovery(SCORES, REFERENCE, FLOOR)
    read = from_json(json.loads(json.dumps(to_json(figures), allow_nan=False)))
    assert read.tasks == 4 and read.absolute == pytest.approx(0.4, abs=1e-6)
    assert read.relative == round(figures.relative, 6) and read.floored == round(figures.floored, 6)
    assert read.interval == tuple(round(x, 6) for x in figures.interval)
    assert read.floored_interval == tuple(round(x, 6) for x in figures.floored_interval)
    assert (read.below_floor, read.undefined) == (("c", "d"), ("c",))
    assert to_json(read) == to_json(figures)


def test_missing_figures_survive_json_as_missing():
    figures = recovery({"a": 0.5}, {"a": 0.0}, {"a": 0.1})
    read = from_json(json.loads(json.dumps(to_json(figures), allow_nan=False)))
    assert len(read.interval) == len(read.floored_interval) == 2
    missing = (read.relative, read.floored, read.ratio_of_means)
    assert all(math.isnan(x) for x in (*missing, *read.interval, *read.floored_interval))
    assert read.absolute == 0.5 and read.undefined == ("a",)

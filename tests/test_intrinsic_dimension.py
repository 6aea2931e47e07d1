"""d90 on planted curves: its value, where it is not reached, and how often its interval has it."""

import math

import numpy as np
import pytest

from ipt.analysis.intrinsic_dimension import (
    Dimension,
    Point,
    TaskFigures,
    curve,
    intrinsic_dimension,
    median_dimension,
    recovered,
    recovered_intervals,
    task_dimensions,
)

DIMS = (2, 5, 10, 20, 50)
# 0.9 is reached half of the way in log d from 10 to 20.
SHARES = (0.3, 0.55, 0.8, 1.0, 1.05)
D90 = math.sqrt(10 * 20)


def planted(shares=SHARES, tasks=24, per_cluster=1, noise=0.0, seed=0):
    """Return points of tasks whose own shares scatter by cluster, and the clusters."""
    generator = np.random.default_rng(seed)
    clusters = {f"t{i}": f"c{i // per_cluster}" for i in range(tasks)}
    shifts = generator.normal(0, noise, 1 + (tasks - 1) // per_cluster)
    floors = generator.uniform(0.1, 0.3, tasks)
    spans = generator.uniform(0.4, 0.6, tasks)
    points = []
    for dim, share in zip(DIMS, shares, strict=True):
        figures = {}
        for i in range(tasks):
            own = share + shifts[i // per_cluster]
            score = floors[i] + own * spans[i]
            figures[f"t{i}"] = TaskFigures(score, floors[i] + spans[i], floors[i])
        points.append(Point(dim, figures))
    return points, clusters


def flat(*tasks):
    """Return a curve of tasks, each (shares by d), with reference 0.8 and floor 0.3."""
    points = []
    for place, dim in enumerate(DIMS[: len(tasks[0])]):
        figures = {}
        for i, shares in enumerate(tasks):
            figures[f"t{i}"] = TaskFigures(0.3 + 0.5 * shares[place], 0.8, 0.3)
        points.append(Point(dim, figures))
    return curve(points)


def test_a_planted_dimension_is_found():
    points, clusters = planted()
    found = curve(points)
    assert recovered(found) == pytest.approx(SHARES)
    measured = intrinsic_dimension(found, clusters=clusters)
    assert measured.value == pytest.approx(D90) and measured.tasks == 24
    # Without noise each resample is the same.
    assert (measured.low, measured.high) == (pytest.approx(D90), pytest.approx(D90))
    assert measured.text() == "14 (14 … 14)"
    assert set(task_dimensions(found)) == set(clusters)
    assert median_dimension(task_dimensions(found)) == pytest.approx(D90)


def test_by_hand_a_ratio_of_sums_and_a_mean_of_ratios():
    figures = {
        "a": TaskFigures(0.5, 0.9, 0.1),  # 0.4 of 0.8
        "b": TaskFigures(0.6, 0.6, 0.4),  # 0.2 of 0.2
        "c": TaskFigures(0.1, 0.55, 0.5),  # less than 0.1 above its floor
        "d": TaskFigures(0.0, 0.0, 0.0),  # no reference
    }
    found = curve([Point(5, figures)])
    assert recovered(found) == pytest.approx([0.6 / 1.0])
    assert recovered(found, "relative") == pytest.approx([np.mean([5 / 9, 1, 2 / 11])])
    assert intrinsic_dimension(found).tasks == 2
    assert intrinsic_dimension(found, "relative").tasks == 3


def test_control_a_share_that_is_never_reached_is_no_number():
    points, clusters = planted(shares=(0.2, 0.3, 0.5, 0.7, 0.88), noise=0.3)
    measured = intrinsic_dimension(curve(points), clusters=clusters)
    assert measured.value == math.inf and measured.high == math.inf
    assert measured.text().startswith("> 50 (")
    again = Dimension.from_json(measured.to_json())
    assert again.low == pytest.approx(measured.low) and again.text() == measured.text()
    assert again.value == math.inf == again.high
    points, _ = planted(shares=(0.2, 0.3, 0.4, 0.5, 0.6))
    assert intrinsic_dimension(curve(points)).text() == "> 50"
    # A lower share of the same curve is reached.
    assert intrinsic_dimension(curve(points), share=0.5).value == pytest.approx(20)


def test_the_smallest_d_is_an_upper_bound_and_a_grid_value_is_exact():
    assert intrinsic_dimension(flat((0.95, 0.97, 1.0))).text() == "≤ 2"
    assert intrinsic_dimension(flat((0.5, 0.9, 0.2))).value == 5
    # The first crossing counts, not the last.
    assert intrinsic_dimension(flat((0.5, 0.9, 0.2, 0.95, 1))).value == 5
    assert intrinsic_dimension(flat((0.5, 0.6, 0.9))).text() == "10"
    assert intrinsic_dimension(flat((0.5, 0.6, 0.7, 0.9))).value == 20


def test_one_cluster_has_no_interval():
    found = flat((0.5, 1.0), (0.4, 1.0))
    measured = intrinsic_dimension(found, clusters={"t0": "same", "t1": "same"})
    assert math.isnan(measured.low) and "(" not in measured.text()
    again = Dimension.from_json(measured.to_json())
    assert again.text() == measured.text() and math.isnan(again.high)
    assert np.isnan(recovered_intervals(found, clusters={"t0": "c", "t1": "c"})).all()
    assert not math.isnan(intrinsic_dimension(found).low)


def test_no_task_above_its_floor_has_no_dimension():
    found = curve([Point(5, {"a": TaskFigures(0.5, 0.5, 0.45)})])
    assert intrinsic_dimension(found) is None and np.isnan(recovered(found)).all()
    assert task_dimensions(found) == {} and math.isnan(median_dimension({}))
    with pytest.raises(ValueError, match="needs a point"):
        curve([])


def test_seeds_are_averaged_and_only_common_tasks_count():
    two, five = {"a": TaskFigures(0.3, 0.9, 0.1)}, TaskFigures(0.9, 0.9, 0.1)
    other = {"a": TaskFigures(0.5, 0.7, 0.1), "b": five}
    found = curve([Point(5, {"a": five, "b": five}), Point(2, two), Point(2, other)])
    assert found.dims == (2, 5) and found.tasks == ("a",)
    assert found.scores[0, 0] == pytest.approx(0.4) and found.references[0, 0] == pytest.approx(0.8)
    assert recovered(found) == pytest.approx([0.3 / 0.7, 1.0])


def test_another_reference_is_of_the_tasks_that_it_has():
    found = flat((0.5, 1.0), (1.0, 1.0)).against({"t1": 1.3, "elsewhere": 0.4})
    assert found.tasks == ("t1",) and recovered(found) == pytest.approx([0.5, 0.5])


def test_tasks_by_themselves():
    found = flat((0.2, 0.5, 1.0), (0.95, 0.95, 0.95), (0.1, 0.2, 0.3))
    assert task_dimensions(found) == {
        "t0": pytest.approx(5 * 2**0.8),
        "t1": 2,
        "t2": math.inf,
    }
    assert median_dimension(task_dimensions(found)) == pytest.approx(5 * 2**0.8)
    assert median_dimension({"a": 2.0, "b": math.inf, "c": math.inf}) == math.inf


@pytest.mark.parametrize("per_cluster", [1, 3])
def test_the_interval_has_the_planted_value_about_as_often_as_it_says(per_cluster):
    """96 tasks: 96 clusters or 32; 250 repeats have the stated 95 % within about 3 points."""
    inside = 0
    widths = []
    for repeat in range(250):
        points, clusters = planted(tasks=96, per_cluster=per_cluster, noise=0.3, seed=repeat)
        measured = intrinsic_dimension(curve(points), clusters=clusters, resamples=200)
        inside += measured.low <= D90 <= measured.high
        widths.append(measured.high - measured.low)
    assert 0.90 <= inside / 250 <= 0.98
    assert np.median(widths) > 1


def test_control_clusters_that_are_not_named_make_intervals_too_narrow():
    """Tasks of a cluster share their shift: taken one by one they claim more than they know."""
    inside = 0
    for repeat in range(100):
        points, _ = planted(tasks=96, per_cluster=8, noise=0.3, seed=repeat)
        measured = intrinsic_dimension(curve(points), resamples=200)
        inside += measured.low <= D90 <= measured.high
    assert inside / 100 < 0.75

"""Drawings show what they are given, texts never overlap, and strange names do no harm."""

from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from ipt.analysis import geometry
from ipt.analysis.plots import bars as figures
from ipt.analysis.plots import maps
from ipt.analysis.plots.style import printable

HOSTILE = [
    "$x_1$",
    "_hidden",
    "a" * 200,
    "unpaired $",
    r"\frac{1}{0}$$",
    "tab\tand\nline",
    "müßig — Ærø ✓",
    "50 % & {more}",
    " ",
    "^",
]


def canvas(width=5.0, height=3.5):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure.subplots()


def shown(axes):
    """Return the texts that are drawn in the axes' figure."""
    drawn, draw = [], Text.draw

    def note(text, renderer):
        drawn.extend([text] if text.get_visible() and text.get_text().strip() else [])
        draw(text, renderer)

    with patch.object(Text, "draw", note):
        FigureCanvasAgg(axes.figure).draw()
    return drawn


def overlaps(texts):
    """Return the pairs of texts whose boxes share more than half a pixel."""
    boxes = [(t.get_text(), t.get_window_extent().padded(-0.5)) for t in texts]
    return [(a, b) for (a, box), (b, other) in combinations(boxes, 2) if box.overlaps(other)]


def check(axes):
    """Fail where texts overlap, are smaller than 6 points, too long, or beyond the figure."""
    texts, edge = shown(axes), axes.figure.bbox
    assert texts and not overlaps(texts)
    for text in texts:
        box = text.get_window_extent()
        assert text.get_fontsize() >= 6 and len(text.get_text()) <= 70
        assert (
            edge.x0 - 1 <= box.x0
            and box.x1 <= edge.x1 + 1
            and edge.y0 - 1 <= box.y0
            and box.y1 <= edge.y1 + 1
        ), text.get_text()


def words(axes):
    return [text.get_text() for text in shown(axes)]


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_control_overlapping_texts_are_found():
    axes = canvas()
    axes.text(0.5, 0.5, "one")
    axes.text(0.51, 0.5, "two")
    assert overlaps(shown(axes)) == [("one", "two")]


def test_names_are_shortened_and_no_formula():
    assert printable("task_1") == "task_1" and printable("a\n b") == "a b"
    assert printable("a" * 100 + "z") == "a" * 14 + "…" + "a" * 12 + "z"
    assert len(printable("b" * 200, 11)) == 11
    assert printable("$a$") == r"\$a\$"


def test_points_map_fills_seen_and_leaves_unseen_hollow(generator):
    points, groups = generator.standard_normal((60, 2)), ["a", "b", "c"] * 20
    seen = [i < 40 for i in range(60)]
    axes = maps.points_map(canvas(), points, groups, seen, [f"some_task_{i}" for i in range(60)])
    check(axes)
    drawn = [
        (len(c.get_offsets()), len(c.get_facecolors()), to_hex(c.get_edgecolors()[0]))
        for c in axes.collections
    ]
    assert sum(n for n, faces, _ in drawn if faces) == 40
    assert sum(n for n, faces, _ in drawn if not faces) == 20
    assert len({colour for *_, colour in drawn}) == 3
    assert len({len(c.get_paths()[0].vertices) for c in axes.collections}) > 1
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), points[:40][::3])
    names = [t.get_text() for t in axes.texts]
    assert 10 < len(names) < 60 and len(set(names)) == len(names)  # those that have room
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "a",
        "b",
        "c",
        "seen",
        "unseen",
    ]


def test_points_map_merges_what_cannot_be_told_apart(generator):
    groups = [f"g{i:02}" for i in range(40)] + ["g39", "g38"]
    axes = maps.points_map(canvas(), generator.standard_normal((42, 2)), groups)
    check(axes)
    legend = [t.get_text() for t in axes.get_legend().get_texts()]
    assert len(legend) == 18 and legend[-1] == "other (23 groups)" and {"g38", "g39"} <= set(legend)


def test_cosine_map_is_in_the_order_of_its_tree(generator):
    centres = np.repeat(3 * generator.standard_normal((2, 5)), 6, 0)
    points = centres + generator.standard_normal((12, 5))
    mixed = generator.permutation(12)
    cosines = geometry.cosine_matrix(points[mixed])
    tree = geometry.linkage(cosines)
    axes = maps.cosine_map(canvas(5, 5), cosines, [f"task {i}" for i in mixed], tree)
    check(axes)
    order = geometry.leaf_order(tree)
    np.testing.assert_allclose(axes.images[0].get_array(), cosines[np.ix_(order, order)])
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"task {mixed[i]}" for i in order]
    assert "cosine of two tasks' codes" in words(axes)


def test_many_names_are_thinned_not_piled_up(generator):
    cosines = geometry.cosine_matrix(generator.standard_normal((60, 5)))
    axes = maps.cosine_map(
        canvas(3.4, 3.4), cosines, [f"some_task_{i}" for i in range(60)], geometry.linkage(cosines)
    )
    check(axes)
    assert 10 < sum(bool(t.get_text()) for t in axes.get_yticklabels()) < 40


def test_spectrum_and_angles_show_their_numbers():
    axes = maps.spectrum_lines(
        canvas(), {"codes": np.array([0.5, 0.3, 0.2]), "random": np.full(3, 1 / 3)}
    )
    check(axes)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [50, 80, 100])
    random = geometry.random_angles(3, 40, draws=30)
    found = np.array([[1.0, 2, 3], [3, 4, 9]])
    axes = maps.angle_lines(canvas(), {"two seeds": found}, random)
    check(axes)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [2, 3, 6])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), random.mean(0))
    assert axes.get_ylabel() == "principal angle (degrees)"


def test_distance_scatter_writes_what_it_cannot_draw():
    axes = maps.distance_scatter(
        canvas(),
        np.array([0.5, 1.0, 2.0]),
        np.array([0.9, 6.15, -0.1]),
        (-0.31, 0.042),
        ["a", "b", "c"],
    )
    check(axes)
    assert sorted(t.get_text() for t in axes.texts) == ["a", "b (615 %)", "c"]
    np.testing.assert_allclose(
        np.concatenate([c.get_offsets() for c in axes.collections]), [[0.5, 90], [1, 150], [2, -10]]
    )
    assert axes.get_title() == "Spearman's rho = −0.31, permutation p = 0.042"
    bare = maps.distance_scatter(canvas(), np.array([0.5, 1.0]), np.array([0.9, 6.15]), (0, 1))
    assert [t.get_text() for t in bare.texts if t.get_text()] == ["(615 %)"]


def test_landscape_map_has_its_values_where_they_belong():
    first, second = np.linspace(-2, 2, 9), np.linspace(-1, 1, 5)
    values = first[:, None] ** 2 + 10 * second
    tasks = {"near": (1.0, 0.5), "also near": (1.05, 0.5), "beyond the plane": (9.0, 9.0)}
    path = np.array([[-1.5, -0.5], [0, 0], [0.5, 0.2]])
    plane = maps.Plane(first=first, second=second, path=path, starts=path[:1], tasks=tasks)
    axes = maps.landscape_map(canvas(), values, plane)
    check(axes)
    mesh = axes.collections[0]
    # rows upwards, columns to the right
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(5, 9), values.T)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), path)
    assert "loss (nats per token)" in words(axes)
    assert {"near", "also near"} == {t.get_text() for t in axes.texts}


def test_transfer_map_rows_are_codes():
    scores = np.array([[0.9, 0.1, np.nan], [0.2, 0.8, 0.3], [0.0, 0.5, 0.7]])
    axes = maps.transfer_map(canvas(4, 4), scores, ["a", "b", "c"], "exact match")
    check(axes)
    np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan), scores)
    assert axes.get_ylabel() == "code of the task"
    assert "exact match" in words(axes)
    assert len(axes.patches) == 3


def test_recovery_lines_have_mean_and_seeds():
    shares = np.array([[0.5, 0.7], [0.8, np.nan], [np.nan, np.nan]])
    axes = figures.recovery_lines(
        canvas(), [3, 10, 100], {"unseen": shares, "random": shares / 2}, "intrinsic dimension d"
    )
    check(axes)
    line = axes.containers[0]
    np.testing.assert_allclose(line[0].get_xydata(), [[3, 60], [10, 80], [100, np.nan]])
    least_to_largest = line[2][0].get_segments()
    np.testing.assert_allclose(least_to_largest[:2], [[[3, 50], [3, 70]], [[10, 80], [10, 80]]])
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["3", "10", "100"]
    near = figures.recovery_lines(canvas(), [20, 40], {"x": np.ones((2, 1))}, "seen tasks")
    assert near.get_xscale() == "linear"


def test_task_bars_are_sorted_within_their_subcategory():
    recovery = {"a": 0.2, "b": 0.9, "c": 12.33, "d": 0.5}
    axes = figures.task_bars(
        canvas(), recovery, {"a": "first", "b": "first", "c": "second", "d": "second"}
    )
    check(axes)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["b", "a", "c", "d"]
    assert [bar.get_width() for bar in axes.containers[0]] == [90, 20, 150, 50]
    assert {"1233 ▸", "first", "second"} <= set(words(axes))
    many = {f"task_{i}": i / 50 for i in range(50)}
    axes = figures.task_bars(
        canvas(4, 2.5), many, {name: f"subcategory {name[-1]}" for name in many}
    )
    check(axes)
    assert 10 < sum(bool(t.get_text()) for t in axes.get_yticklabels()) < 40


def test_seen_unseen_scatter_and_violins():
    axes = figures.seen_unseen_scatter(
        canvas(), [0.9, 0.8, 0.7], [0.5, 0.4, 0.3], ["d = 5", "d = 100", "d = 5"]
    )
    check(axes)
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[90, 50], [70, 30]])
    values = {
        "prompt tuning": [0.1, 0.2, 0.6],
        "IST": [0.0, 0.0, 0.0],
        "prompt tuning from the IST solution": [0.1, 0.1, 0.3],
    }
    axes = figures.stability_violins(canvas(), values)
    check(axes)
    assert [line.get_xdata()[0] for line in axes.lines] == [0.2, 0, 0.1]  # medians
    points = [c.get_offsets()[:, 0] for c in axes.collections if len(c.get_offsets()) == 3]
    assert sorted(np.concatenate(points)) == sorted(sum(values.values(), []))


def test_dots_are_means_on_a_line_over_seeds():
    axes = figures.recovery_dots(
        canvas(), {"d 5": {"unseen": [0.4, 0.6, 0.8], "PCA": [0.5]}, "d 10": {"PCA": [0.9]}}
    )
    bars, dots = axes.lines[:6:2], axes.lines[1:6:2]  # the line at 100 % comes last
    assert np.stack([line.get_xdata() for line in bars]) == pytest.approx(
        np.array([[40, 80], [50, 50], [90, 90]])
    )
    assert [float(line.get_xdata()[0]) for line in dots] == pytest.approx([60, 50, 90])
    # PCA is PCA in each row
    assert dots[1].get_color() == dots[2].get_color() != dots[0].get_color()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["d 5", "d 10"]
    assert axes.get_xlim()[0] == 0
    # below the floor
    assert figures.recovery_dots(canvas(), {"d 5": {"PCA": [0.1, -0.4]}}).get_xlim()[0] < -42


def test_hostile_names_do_no_harm(generator):
    n = len(HOSTILE)
    points, square = generator.standard_normal((n, 2)), generator.uniform(size=(n, n))
    cosines = geometry.cosine_matrix(generator.standard_normal((n, 4)))
    by_name = dict.fromkeys(HOSTILE, 0.5)
    plane = maps.Plane(
        first=np.arange(n),
        second=np.arange(n),
        path=points[:2],
        starts=points,
        tasks=dict(zip(HOSTILE, points, strict=True)),
    )
    for axes in (
        maps.points_map(canvas(), points, HOSTILE, None, HOSTILE),
        maps.cosine_map(canvas(5, 5), cosines, HOSTILE, geometry.linkage(cosines)),
        maps.transfer_map(canvas(5, 5), square, HOSTILE),
        maps.distance_scatter(canvas(), square[0], square[1], (0.1, 0.5), HOSTILE),
        maps.landscape_map(canvas(), square, plane),
        maps.spectrum_lines(canvas(), {name: np.array([0.6, 0.4]) for name in HOSTILE}),
        figures.recovery_lines(
            canvas(), [1, 2], {name: np.ones((2, 2)) for name in HOSTILE}, "shots"
        ),
        figures.task_bars(canvas(), by_name, {name: name for name in HOSTILE}),
        figures.seen_unseen_scatter(
            canvas(), list(by_name.values()), list(by_name.values()), HOSTILE
        ),
        figures.stability_violins(canvas(), {name: [0.1, 0.2] for name in HOSTILE}),
    ):
        check(axes)
    legend = [t.get_text() for t in axes.get_yticklabels()]
    assert "_hidden" in legend and r"\$x_1\$" in legend

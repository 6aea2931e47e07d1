"""`ipt report` of several runs: recovery against d, seen tasks and shots; and what `ipt stability` left beside a run."""

from unittest.mock import patch

import numpy as np
import pytest
from conftest import hand_made
from matplotlib.figure import Figure
from test_page import page_of, plain, stable

from ipt.analysis.drawings import draw_angles, draw_growth
from ipt.analysis.geometry import principal_angles
from ipt.analysis.scores import lines, read_pair
from ipt.analysis.views import read_views
from ipt.report import with_tangents


def drawn(folders):
    """Return the lines of the growth figure by panel and name: places and heights."""
    figure = Figure()
    draw_growth(figure, read_views(folders))
    found = {}
    for axes in figure.axes:
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        heights = [(bars[0].get_xdata(), bars[0].get_ydata()) for bars in axes.containers]
        found[axes.get_xlabel()] = dict(zip(names, heights, strict=True))
    return found


def unseen_share(folder):
    (line,) = [x for x in lines(read_pair(folder)) if (x.setting, x.group) == ("test", "all")]
    return 100 * line.recovery.relative


def test_recovery_against_d_is_the_mean_over_seeds(tmp_path):
    made = [plain(tmp_path / f"{dim}-{seed}", seed=seed, dim=dim) for dim, seed in ((3, 1), (3, 2), (6, 1))]
    (panel,) = (found := drawn(made))
    places, heights = found[panel]["T_test (IST)"]
    assert panel == "intrinsic dimension d" and list(places) == [3, 6]
    assert heights == pytest.approx([np.mean([unseen_share(made[0]), unseen_share(made[1])]), unseen_share(made[2])])


def test_each_size_has_a_panel_and_runs_of_other_settings_are_on_no_line(tmp_path):
    few = hand_made(tmp_path / "few", {"a": "one"}, {"u": "two", "v": "three", "w": "one", "x": "two"})
    base, shots, more = (plain(tmp_path / f"{k}", shots=k) for k in (4, 16, None))
    other = plain(tmp_path / "alpha", dim=9, alpha=0.5)
    assert set(drawn([few, more, base, shots, other])) == {"seen tasks", "shots (per class, or in all)"}  # not d: alpha differs too
    assert drawn([base, plain(tmp_path / "seed", seed=7, shots=4)]) == {}  # control: only the seed differs


def test_a_subspace_is_its_own_and_no_other(tmp_path):
    views = with_tangents(read_views([plain(tmp_path / f"{name}", seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]))
    with patch("ipt.analysis.drawings.angle_lines") as lines_drawn:
        draw_angles(Figure(), views)
    angles = lines_drawn.call_args.args[1]
    assert set(angles) == {"within run 1", "within run 2", "within run 3", "runs 1 and 2", "runs 1 and 3", "runs 2 and 3"}
    apart = principal_angles(views[0].tangents[0], views[2].tangents[0])
    assert angles["runs 1 and 3"][0] == pytest.approx(apart) and angles["runs 1 and 3"].mean() > angles["runs 1 and 2"].mean()
    assert angles["runs 1 and 2"].min() == pytest.approx(0, abs=1e-3)  # the same decoder, at the same codes
    figure = Figure()
    draw_angles(figure, with_tangents(views[:1]))
    assert not figure.axes  # control: one run has nobody to compare with


def test_the_page_of_several_runs_has_what_compares_them(tmp_path, capsys):
    made = [plain(tmp_path / str(dim), dim=dim) for dim in (2, 3)]
    page = page_of(capsys, *made, "--out", tmp_path)
    assert {("id", "figure-growth"), ("id", "figure-seen-unseen")} <= set(page.attributes)
    one = page_of(capsys, made[0], "--out", tmp_path)
    assert not {("id", "figure-growth"), ("id", "figure-seen-unseen"), ("id", "figure-stability")} & set(one.attributes)


def test_seeds_are_drawn_and_their_table_is_that_of_the_run(tmp_path, capsys):
    plain(tmp_path)
    assert "ipt stability" in " ".join(page_of(capsys, "--out", tmp_path).commands)
    found = stable(tmp_path)
    page = page_of(capsys, "--out", tmp_path)
    assert ("id", "figure-stability") in page.attributes and "ipt stability" not in " ".join(page.commands)
    assert page.tables["table-looks-1"] == [found["columns"], *found["rows"]]

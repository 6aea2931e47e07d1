"""`ipt report` of several runs: recovery against d, seen tasks and shots.

And what `ipt stability` left beside a run.
"""

import json
from unittest.mock import patch

import numpy as np
import pytest
import torch
from conftest import hand_made, page_of, plain, stable
from matplotlib.figure import Figure

from ipt.analysis.geometry import principal_angles
from ipt.analysis.report.comparison import draw_angles, draw_growth
from ipt.analysis.report.vectors import draw_codes
from ipt.analysis.report.views import read_views
from ipt.analysis.scores import lines, read_pair
from ipt.analysis.summaries import angles_table, stability_table
from ipt.cli.report import with_tangents
from ipt.storage import read_json, read_tensors, write_tensors


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
    results = read_pair(folder).results
    (line,) = [x for x in lines(results) if (x.setting, x.group) == ("test", "all")]
    return 100 * line.recovery.relative


def test_recovery_against_d_is_the_mean_over_seeds(tmp_path):
    made = [
        plain(tmp_path / f"{dim}-{seed}", seed=seed, dim=dim)
        for dim, seed in ((3, 1), (3, 2), (6, 1))
    ]
    (panel,) = (found := drawn(made))
    places, heights = found[panel]["T_test (IST)"]
    assert panel == "intrinsic dimension d" and list(places) == [3, 6]
    assert heights == pytest.approx(
        [np.mean([unseen_share(made[0]), unseen_share(made[1])]), unseen_share(made[2])]
    )


def test_each_size_has_a_panel_and_runs_of_other_settings_are_on_no_line(tmp_path):
    few = hand_made(
        tmp_path / "few", {"a": "one"}, {"u": "two", "v": "three", "w": "one", "x": "two"}
    )
    base, shots, more = (plain(tmp_path / f"{k}", shots=k) for k in (4, 16, None))
    other = plain(tmp_path / "alpha", dim=9, alpha=0.5)
    # not d: alpha differs too
    assert set(drawn([few, more, base, shots, other])) == {
        "seen tasks",
        "shots (per class, or in all)",
    }
    # control: only the seed differs
    assert drawn([base, plain(tmp_path / "seed", seed=7, shots=4)]) == {}


def test_a_subspace_is_its_own_and_no_other(tmp_path):
    views = with_tangents(
        read_views(
            [
                plain(tmp_path / f"{name}", seed=seed)
                for name, seed in (("a", 1), ("b", 1), ("c", 2))
            ]
        )
    )
    with patch("ipt.analysis.report.comparison.angle_lines") as lines_drawn:
        draw_angles(Figure(), views)
    angles = lines_drawn.call_args.args[1]
    assert set(angles) == {
        "within run 1",
        "within run 2",
        "within run 3",
        "runs 1 and 2",
        "runs 1 and 3",
        "runs 2 and 3",
    }
    apart = principal_angles(views[0].tangents[0], views[2].tangents[0])
    assert angles["runs 1 and 3"][0] == pytest.approx(apart)
    assert angles["runs 1 and 3"].mean() > angles["runs 1 and 2"].mean()
    # the same decoder, at the same codes
    assert angles["runs 1 and 2"].min() == pytest.approx(0, abs=1e-3)
    figure = Figure()
    draw_angles(figure, with_tangents(views[:1]))
    assert not figure.axes  # control: one run has nobody to compare with


def test_angles_of_any_number_of_runs_are_a_file(tmp_path, capsys, undrawn):
    made = [plain(tmp_path / str(seed), seed=seed) for seed in range(1, 6)]
    page_of(capsys, *made, "--out", tmp_path)
    record = json.loads((tmp_path / "report-figures" / "angles.json").read_text())
    table = angles_table(record)
    rows = {name: found for name, *found in table.rows}
    assert len(rows) == 5 + 10 + 1  # the figure shows four runs
    assert table.columns[2:] == ["angle 1", "angle 2", "angle 3"]
    views = with_tangents(read_views(made))
    apart = [principal_angles(a, b)[0] for a in views[3].tangents for b in views[4].tangents]
    assert rows["msf-4 and msf-5"][:2] == [
        "36",
        f"{np.mean(apart):.1f} ({min(apart):.1f} … {max(apart):.1f})",
    ]
    assert rows["random subspaces"][0] == "100"
    assert record["command"].startswith("ipt report ist-1 ist-2")
    page_of(capsys, made[0], "--out", tmp_path / "one")
    # control: one run has nobody to compare with
    assert not (tmp_path / "one" / "report-figures" / "angles.json").exists()


def test_codes_that_lie_together_are_told_from_those_that_do_not(tmp_path, capsys, undrawn):
    folder = plain(tmp_path)  # by subcategory: a, c, w are one; b, u, x two
    seen, unseen = (
        torch.tensor([[0.0, 1, 0], [9, 1, 0], [0, 1.1, 0]]),
        torch.tensor([[9.1, 1, 0], [50, 50, 50], [0, 1, 0.1], [9, 1, 0.1]]),
    )
    write_tensors(folder / "vectors.safetensors", {"train_same": seen, "test": unseen})
    (header, row) = page_of(capsys, "--out", tmp_path).tables["table-clusters-1"]
    found = dict(zip(header, row, strict=True))
    # every task is of one kind, v is alone
    assert [found[k] for k in ("tasks by", "tasks", "groups")] == ["subcategory", "6", "2"]
    assert (
        float(found["silhouette"]) > 0.95
        and found["probe’s accuracy"] == "1.00"
        and float(found["silhouette, shuffled"].split()[0].replace("−", "-")) < 0.5
    )
    write_tensors(
        folder / "vectors.safetensors",
        {"train_same": seen * 0 + torch.eye(3), "test": torch.eye(3)[[0, 1, 2, 1]]},
    )
    (header, row) = page_of(capsys, "--out", tmp_path).tables["table-clusters-1"]
    # control: nothing to find
    assert float(dict(zip(header, row, strict=True))["silhouette"].replace("−", "-")) < 0.5


def test_the_prompts_of_a_mixture_are_named(tmp_path, capsys, undrawn):
    folder = plain(tmp_path)
    # control: none was tuned
    assert "table-mixtures-1" not in page_of(capsys, "--out", tmp_path).tables
    weights = torch.tensor([[1.25, -0.5, 0.25], [0, 1, 0], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    write_tensors(
        folder / "vectors.safetensors",
        read_tensors(folder / "vectors.safetensors")[0] | {"mixture": weights},
    )
    _, *rows = page_of(capsys, "--out", tmp_path).tables["table-mixtures-1"]
    a, b, c = read_pair(folder).ist.result.split.seen
    assert [row[1] for row in rows[:3]] == [
        f"{a} 1.25, {b} −0.50, {c} 0.25",
        f"{b} 1.00, {a} 0.00, {c} 0.00",
        f"{c} 0.50, {b} 0.30, {a} 0.20",
    ]


def test_the_page_of_several_runs_has_what_compares_them(tmp_path, capsys):
    made = [plain(tmp_path / str(dim), dim=dim) for dim in (2, 3)]
    page = page_of(capsys, *made, "--out", tmp_path)
    assert {("id", "figure-growth"), ("id", "figure-seen-unseen")} <= set(page.attributes)
    one = page_of(capsys, made[0], "--out", tmp_path)
    assert not {
        ("id", "figure-growth"),
        ("id", "figure-seen-unseen"),
        ("id", "figure-stability"),
    } & set(one.attributes)


def test_seeds_are_drawn_and_their_table_is_that_of_the_run(tmp_path, capsys):
    plain(tmp_path)
    assert "ipt stability" in " ".join(page_of(capsys, "--out", tmp_path).commands)
    found = stable(tmp_path)
    page = page_of(capsys, "--out", tmp_path)
    assert ("id", "figure-stability") in page.attributes
    assert "ipt stability" not in " ".join(page.commands)
    table = stability_table(found)
    assert page.tables["table-stability-1"] == [list(table.columns), *table.rows]


def test_the_texts_of_an_older_stability_run_are_passed_over(tmp_path):
    folder = plain(tmp_path)
    stable(tmp_path)
    (view,) = read_views([folder])
    assert view.stability is not None  # control
    (path,) = tmp_path.glob("stability-*/result.json")
    record = read_json(path)
    path.write_text(json.dumps(record | {"columns": ["method"], "rows": [["IST"]]}))
    (view,) = read_views([folder])
    assert view.stability is None


def codes_drawn(folder):
    """Return the tasks with a point, their vectors and the legend of the map of codes."""
    (view,) = read_views([folder])
    figure = Figure()
    draw_codes(figure, [view])
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    return view.points.names, view.points.vectors, names


def test_seen_tasks_are_on_the_map_where_ist_tuned_none(tmp_path):
    folder = plain(tmp_path, kept=("test",))
    # Control: of an MSF run without codes there are no seen tasks, and no entry of them.
    names, _, legend = codes_drawn(folder)
    assert names == ["u", "v", "w", "x"] and "seen" not in legend and "unseen" in legend
    codes = torch.randn(7, 3)
    write_tensors(tmp_path / "msf-42" / "codes.safetensors", {"codes": codes})
    names, vectors, legend = codes_drawn(folder)
    assert names == ["a", "b", "c", "u", "v", "w", "x"] and {"seen", "unseen"} <= set(legend)
    assert np.array_equal(vectors[:3], codes[:3].numpy())
    # What IST tuned comes before.
    other = plain(tmp_path / "other")
    write_tensors(tmp_path / "other" / "msf-42" / "codes.safetensors", {"codes": codes})
    assert not np.array_equal(codes_drawn(other)[1][:3], codes[:3].numpy())

"""What a page draws of several runs, whose figures and tangent planes are made by hand."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.figure import Figure
from results_by_hand import made_results

from ipt.analysis.geometry import random_angles
from ipt.analysis.report import comparison as compared
from ipt.analysis.scores import Line, lines
from ipt.analysis.summaries import angles_table

NAN = float("nan")
DIM, SEEN, SHOTS = "intrinsic dimension d", "seen tasks", "shots"


def run(relative, sizes, kin="kin", family="random", label="x", setting="test", group="all"):
    """A view of a run that recovers this share."""
    figures = SimpleNamespace(relative=relative)
    line = Line(setting, group, figures)
    dim, _, _ = sizes
    sizes = dict(zip((DIM, SEEN, SHOTS), sizes, strict=True))
    return SimpleNamespace(
        lines=[line],
        sizes=sizes,
        shared_settings=kin,
        family=family,
        label=label,
        dim=dim,
    )


def growth(views):
    """Return what is drawn against each size: places, and shares [places, runs] by name."""
    with patch("ipt.analysis.report.comparison.recovery_lines") as drawn:
        compared.draw_growth(Figure(), views)
    found = {}
    for call in drawn.call_args_list:
        found[call.kwargs["label"]] = (call.args[1], call.kwargs["lines"])
    return found


def test_a_runs_share_stands_at_its_own_size():
    views = [run(0.8, (6, 9, 0)), run(0.5, (3, 9, 0)), run(0.7, (3, 9, 0)), run(0.1, (10, 9, 0))]
    found = growth(views)
    assert list(found) == [DIM]
    places, shares = found[DIM]
    assert places == [3, 6, 10] and list(shares) == ["T_test (IST)"]
    by_hand = [[NAN, 0.5, 0.7, NAN], [0.8, NAN, NAN, NAN], [NAN, NAN, NAN, 0.1]]
    np.testing.assert_array_equal(shares["T_test (IST)"], by_hand)


def test_each_size_is_a_panel_of_the_runs_that_are_alike_in_the_others():
    views = [run(0.1, (3, 10, 4)), run(0.2, (5, 10, 4)), run(0.3, (3, 20, 4)), run(0.4, (3, 10, 8))]
    found = growth(views)
    assert list(found) == [DIM, SEEN, SHOTS]
    np.testing.assert_array_equal(found[DIM][1]["T_test (IST)"], [[0.1, NAN], [NAN, 0.2]])
    np.testing.assert_array_equal(found[SEEN][1]["T_test (IST)"], [[0.1, NAN], [NAN, 0.3]])
    np.testing.assert_array_equal(found[SHOTS][1]["T_test (IST)"], [[0.1, NAN], [NAN, 0.4]])


def test_each_panel_has_room_of_its_own():
    views = [run(0.1, (3, 10, 0)), run(0.2, (5, 10, 0)), run(0.3, (3, 20, 0))]
    for count, height in ((2, 3.1), (3, 6.2)):
        figure = Figure()
        compared.draw_growth(figure, views[:count])
        assert figure.get_size_inches()[1] == pytest.approx(height)
        assert len(figure.axes) == count - 1


def test_runs_of_other_settings_or_of_unknown_size_are_on_no_line():
    assert growth([run(0.1, (3, 10, 4)), run(0.2, (5, 10, 4), kin="another")]) == {}
    assert growth([run(0.1, (3, 10, 4)), run(0.2, (5, 20, 4))]) == {}  # two sizes differ
    assert growth([run(0.1, (3, 10, 0)), run(0.2, (3, 10, 4)), run(0.3, (3, 10, 0))]) == {}
    assert list(growth([run(0.1, (3, 10, 2)), run(0.2, (3, 10, 4)), run(0.3, (3, 10, 0))])) == [
        SHOTS
    ]


def test_lines_are_named_by_setting_group_and_kind_of_tasks():
    first = run(0.1, (3, 9, 0))
    first.lines += [
        Line("pca_test", "all", SimpleNamespace(relative=0.2)),
        Line("test", "in kind", SimpleNamespace(relative=0.3)),
    ]
    first.lines += [
        Line("shared", "all", SimpleNamespace(relative=0.4)),
        Line("test", "novel", SimpleNamespace(relative=0.4)),
    ]
    alone = growth([first, run(0.5, (4, 9, 0))])[DIM][1]
    assert list(alone) == ["T_test (IST)", "T_test (IST), in kind", "IST, PCA subspace"]
    others = [
        run(0.6, (3, 9, 0), kin="b", family="cls", label="l"),
        run(0.7, (7, 9, 0), kin="b", family="cls", label="m"),
    ]
    places, both = growth([first, run(0.5, (4, 9, 0)), *others])[DIM]
    assert places == [3, 4, 7]
    assert "T_test (IST), random" in both
    assert "T_test (IST), in kind, random" in both
    np.testing.assert_array_equal(both["T_test (IST), cls"], [[0.6, NAN], [NAN, NAN], [NAN, 0.7]])
    twins = [run(0.6, (3, 9, 0), kin="b", label="l"), run(0.7, (7, 9, 0), kin="b", label="m")]
    assert {"T_test (IST), x", "T_test (IST), l"} <= set(
        growth([first, run(0.5, (4, 9, 0)), *twins])[DIM][1]
    )


@pytest.mark.parametrize(
    "setting", ["test", "train_diff", "mixture_test", "pca_test", "random_test"]
)
def test_settings_that_are_drawn_against_a_size(setting):
    views = [run(0.1, (3, 9, 0), setting=setting), run(0.2, (4, 9, 0), setting=setting)]
    assert len(growth(views)[DIM][1]) == 1


def both(views):
    figure = Figure()
    with patch("ipt.analysis.report.comparison.seen_unseen_scatter") as drawn:
        compared.draw_both(figure, views)
    if not drawn.called:
        return None
    _, seen, unseen = drawn.call_args.args
    return seen, unseen, drawn.call_args.kwargs["groups"]


def test_a_run_is_a_point_of_seen_against_unseen_tasks():
    first = run(0.1, (3, 9, 0), setting="train_diff", family="a")
    first.lines += [
        Line("test", "all", SimpleNamespace(relative=0.2)),
        Line("test", "novel", SimpleNamespace(relative=0.9)),
    ]
    second = run(0.3, (7, 9, 0), family="b")
    second.lines += [Line("train_diff", "all", SimpleNamespace(relative=0.4))]
    half = run(0.5, (8, 9, 0))
    assert both([first, half, second]) == ([0.1, 0.4], [0.2, 0.3], ["a, d = 3", "b, d = 7"])
    assert both([first, half]) is None


def plane(*degrees):
    """A plane in four dimensions for each angle.

    The first axis, and the second turned towards the third by that angle.
    """
    spaces = []
    for angle in np.deg2rad(degrees):
        basis = np.zeros((4, 2))
        basis[0, 0], basis[1, 1], basis[2, 1] = 1, np.cos(angle), np.sin(angle)
        spaces.append(basis)
    return np.stack(spaces)


def spaces(*degrees, name="x", seed=1):
    ist = SimpleNamespace(settings={"msf_run": f"msf-{name}", "seed": seed})
    return SimpleNamespace(tangents=plane(*degrees), ist=ist, folder=Path("runs") / f"ist-{name}")


def test_angles_between_the_planes_of_runs_by_hand():
    found = compared.angles_between([spaces(0, 10, 30), spaces(50, 90, 80)])
    largest = {pair: sorted(angles[:, 1].round(6)) for pair, angles in found.items()}
    assert largest == {
        (1, 1): [10, 20, 30],
        (2, 2): [10, 30, 40],
        (1, 2): [20, 40, 50, 50, 60, 70, 80, 80, 90],
    }
    # of the axis that they share
    assert all(angles[:, 0] == pytest.approx(0, abs=1e-5) for angles in found.values())


def test_runs_without_such_planes_keep_their_number_and_have_no_angles():
    bare = spaces(0, name="bare")
    other = SimpleNamespace(tangents=np.zeros((3, 4, 1)))
    found = compared.angles_between([spaces(0, 10), bare, other, spaces(20, 50)])
    assert sorted(found) == [(1, 1), (1, 4), (4, 4)]
    assert compared.angles_between([spaces(0), spaces(10)]) == {}  # one plane each
    assert (
        compared.angles_between([spaces(0, 10)])
        == {}
        == compared.angles_between([spaces(0, 10), bare, other])
    )


def test_the_figure_of_angles_names_the_first_four_runs():
    views = [spaces(0, turn, name=str(turn)) for turn in (10, 20, 30, 40, 50)]
    with patch("ipt.analysis.report.comparison.angle_lines") as drawn:
        compared.draw_angles(Figure(), views)
    _, named, random = drawn.call_args.args
    within = [f"within run {i}" for i in range(1, 5)]
    pairs = [f"runs {i} and {j}" for j in range(2, 5) for i in range(1, j)]
    assert list(named) == within + pairs
    assert named["within run 3"][:, 1] == pytest.approx([30])
    assert sorted(named["runs 2 and 3"][:, 1]) == pytest.approx([0, 10, 20, 30], abs=1e-5)
    np.testing.assert_array_equal(random, random_angles(2, 4))


def test_the_record_of_angles_by_hand():
    views = [spaces(0, 10, 30, name="a", seed=2), spaces(50, 90, 80, name="b", seed=10)]
    found = compared.angles_record(views)
    chance = random_angles(2, 4)
    last = ["random subspaces", "100"]
    for angles in chance.T:
        last.append(f"{angles.mean():.1f} ({angles.min():.1f} … {angles.max():.1f})")
    table = angles_table(found)
    assert table.columns == ["tangent spaces of", "pairs", "angle 1", "angle 2"]
    assert table.rows == [
        ["msf-a", "3", "0.0 (0.0 … 0.0)", "20.0 (10.0 … 30.0)"],
        ["msf-b", "3", "0.0 (0.0 … 0.0)", "26.7 (10.0 … 40.0)"],
        ["msf-a and msf-b", "9", "0.0 (0.0 … 0.0)", "60.0 (20.0 … 90.0)"],
        last,
    ]
    assert (found["command"], found["seed"]) == ("ipt report ist-a ist-b", "10, 2")
    assert found["digest"] == hashlib.sha256(json.dumps(table.rows).encode()).hexdigest()
    assert compared.angles_record(views[:1]) is None


def test_shares_are_those_of_the_settings_table():
    """The same number as in the table, in a run whose every figure is another one."""
    first, second = run(0.1, (3, 9, 0)), run(0.2, (4, 9, 0))
    first.lines = lines(made_results())
    found = growth([first, second])[DIM][1]
    assert found["T_test (IST), out of kind"][0, 0] == pytest.approx(0.7)
    assert found["mixture of seen prompts"][0, 0] == pytest.approx(0.6375)
    assert found["T_train diff (IST)"][0, 0] == pytest.approx(2 / 3)

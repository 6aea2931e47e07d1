"""`ipt report`: the page says what the run folders say and refers to nothing else.

Hostile names do it no harm.
"""

import json
import re
import shlex
from dataclasses import replace
from typing import get_args
from xml.etree import ElementTree

import pytest
from conftest import Page, hand_made, page_of, plain, probe, stable

from ipt.analysis.comparison import COMPARED
from ipt.analysis.report.colours import BY_RECOVERY, FAINT, ON_PAGE, PALETTE
from ipt.analysis.report.page import HERE
from ipt.analysis.report.sections import DRAWINGS
from ipt.analysis.report.tables import shown_cells, subcategories_table
from ipt.analysis.report.views import read_views
from ipt.analysis.scores import COLUMNS, TITLES, cells, lines, per_task, read_pair
from ipt.cli import app as cli
from ipt.cli.options import PartName
from ipt.cli.report import tuner_of
from ipt.provenance import to_record, tuner_to_record
from ipt.results import PARTS
from ipt.storage import read_json
from ipt.tuners import parse_tuner

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "x" * 300,
    "\u202eשלום e\u0301\u0301\u0301 عربي",
    "$\\frac{1}{0$_x^",
    "{{ 7 * 7 }} </svg> &amp; %s \x0b end",
)
SINGLE = len(DRAWINGS) - 4  # figures of one run without metrics; three more compare runs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a page of every figure that one run can have."""
    out = tmp_path_factory.mktemp("whole")
    probe(plain(out))
    stable(out)
    assert cli.main(["report", "--out", str(out)]) == 0
    return out


def test_numbers_are_those_of_the_run_folders(done, capsys, undrawn):
    page, pair = page_of(capsys, "--out", done), read_pair(next(done.glob("ist-*"))).results
    found = [list(cells(line)) for line in lines(pair)]
    shown = [list(shown_cells(line)) for line in lines(pair)]
    settings = page.tables["table-settings"]
    assert settings[0] == list(COLUMNS) and sorted(settings[1:]) == sorted(shown)
    groups = [row[1] for row in settings[1:]]
    assert groups == sorted(groups, key=lambda group: group != "all")  # all tasks come first
    kept = [
        [c.strip() for c in row.split("|")[1:-1]]
        for row in (next(done.glob("ist-*")) / "table.md").read_text().splitlines()
    ]
    assert [list(COLUMNS), *found] == [kept[0], *kept[2:]]
    header, *rows = page.tables["table-tasks-1"]
    assert len(rows) == 5
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    for record in per_task(pair):
        row = by_name[record["task"]]
        titles = {line.setting: line.title for line in lines(pair)}
        assert row[titles[record["setting"]]] == f"{record['score']:.3f}"
        assert row["floor"] == f"{record['floor']:.3f}"
        other = record["setting"] == "train_diff"
        assert (
            row["prompt tuning, other data" if other else "prompt tuning"]
            == f"{record['reference']:.3f}"
        )
    text = (done / "report.html").read_text(encoding="utf8")
    unseen = next(row for row in shown if row[:2] == ["T_test (IST)", "all"])
    assert f'<strong class="big">{unseen[4]} %</strong>' in text


def test_recovery_by_subcategory_is_that_of_its_tasks(whole):
    (view,) = read_views([next(whole.glob("ist-*"))])
    alike = with_subcategories(view, dict.fromkeys(view.names, "one"))
    assert not subcategories_table(alike).rows  # control: the settings' table has it all
    apart = with_subcategories(view, dict(zip(view.names, view.names, strict=True)))
    found = {tuple(row[:2]): row[4] for row in subcategories_table(apart).rows}
    assert found == {
        (TITLES[view.condition_of(name)], name): f"{100 * view.scored_task(name).recovery:.1f}"
        for name in view.names
    }


def with_subcategories(view, subcategories):
    """Return a view of the same run whose tasks have other subcategories."""
    stages = {}
    for name, stage in (("msf", view.msf), ("ist", view.ist)):
        tasks = {}
        for task, record in stage.result.tasks.items():
            tasks[task] = replace(record, subcategory=subcategories[task])
        stages[name] = replace(stage, result=replace(stage.result, tasks=tasks))
    return replace(view, **stages)


def without_preset(parsed):
    """Return a parsed command; which preset was named is no setting."""
    found = {}
    for name, value in parsed.items():
        found[name] = replace(value, preset="quick") if hasattr(value, "preset") else value
    return found


def test_the_commands_are_those_that_made_the_runs(done, capsys, undrawn):
    page, folders = page_of(capsys, "--out", done), sorted(done.iterdir())
    short, made = ([shlex.split(line)[1:] for line in page.commands[i : i + 2]] for i in (0, 2))
    # the short ones mean the same, and are short
    for few, all_settings in zip(short, made, strict=True):
        assert without_preset(cli.parse(few)) == without_preset(cli.parse(all_settings))
        assert len(few) < len(all_settings) / 2
    parsed = cli.parse(made[0])
    settings = json.loads((next(done.glob("msf-*")) / "config.json").read_text())["config"]
    assert json.loads(json.dumps(to_record(parsed["config"]))) == settings["msf"]
    tuner = parse_tuner(parsed["work"].tuner)
    tune = tuner_to_record(tuner, to_record(parsed["tune"]))
    assert json.loads(json.dumps(tune)) == settings["tune"]
    assert [cli.main(words) for words in made] == [0, 0]
    assert sorted(done.iterdir()) == folders  # both found their complete runs


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"steps": 8}, "soft-prompt"),
        ({"steps": 8, "prompt_length": 20}, "soft-prompt:prompt_length=20"),
        ({"steps": 8, "tuner": {"name": "bare"}}, "bare"),
        (
            {"steps": 8, "tuner": {"name": "x", "rank": 4, "layers": ["q", "v"], "bias": False}},
            "x:rank=4,layers=q+v,bias=false",
        ),
    ],
)
def test_a_tuner_is_named_with_its_settings(record, text):
    found = tuner_of(record)
    assert (found.text, found.tune) == (text, {"steps": 8})


def test_what_is_missing_is_named_with_a_command_that_parses(tmp_path, capsys, undrawn):
    folder = plain(tmp_path, kept=("train_same", "test"))
    page = page_of(capsys, "--out", tmp_path)
    rest = [shlex.split(command)[1:] for command in page.commands[4:]]
    parsed = [cli.parse(words) for words in rest]
    assert [(found["parts"].on, found["parts"].against) for found in parsed[:5]] == [
        (("seen-other-data",), ()),
        ((), ("random-start",)),
        ((), ("random",)),
        ((), ("pca",)),
        ((), ("mixture",)),
    ]
    # another seed, and many
    assert [words[0] for words in rest[5:]] == ["msf", "ist", "stability", "probe"]
    assert parsed[5]["work"].seed == 43
    assert parsed[5]["flags"].run == parsed[6]["choice"].run == "msf-42-seed43"
    hand_made(tmp_path, {"a": "one"}, {"u": "two"}, seed=43)
    both = page_of(capsys, folder.name, "ist-43", "--out", tmp_path)
    assert "msf-42-seed43" not in " ".join(both.commands)  # control: two seeds are there
    # every part that the command takes is a condition with a title, and has words for its absence
    assert tuple(PARTS) == get_args(PartName)
    assert {part: condition.name for part, condition in PARTS.items()} == {
        "same": "train_same",
        "diff": "train_diff",
        "unseen": "test",
        "random-start": "start_test",
        "random": "random_test",
        "pca": "pca_test",
        "mixture": "mixture_test",
    }
    for condition in PARTS.values():
        assert condition.absence and condition.name in TITLES


def test_a_look_at_few_rows_is_named_with_the_command_for_all(done, capsys, undrawn):
    page = page_of(capsys, "--out", done)  # the toy runs score six rows
    assert "Only 6 test rows per task" in (done / "report.html").read_text(encoding="utf8")
    (msf,) = [c for c in page.commands if "-all-rows" in c and " msf " in c]
    assert cli.parse(shlex.split(msf)[1:])["work"].limit == 0


@pytest.mark.parametrize(
    ("kept", "unseen", "figures"), [(("random_test",), {"u": "two"}, 3), (("train_same",), {}, 2)]
)
def test_what_a_run_does_not_have_leaves_no_empty_figure(kept, unseen, figures, tmp_path, capsys):
    hand_made(tmp_path, {"a": "one", "b": "one"}, unseen, kept=kept)
    page = page_of(capsys, "--out", tmp_path)
    assert page.tags.count("figure") == page.tags.count("svg") == figures
    assert len(page.tables["table-tasks-1"]) == 1 + 2 + len(unseen)
    assert "not measured in this run" in (tmp_path / "report.html").read_text(encoding="utf8")


def test_what_a_probe_left_is_drawn(tmp_path, capsys):
    folder = plain(tmp_path)
    assert "ipt probe ist-42" in " ".join(page_of(capsys, "--out", tmp_path).commands)
    probe(folder, (HOSTILE[0], HOSTILE[4]))
    page = page_of(capsys, "--out", tmp_path)
    assert {
        ("id", f"figure-{name}")
        for name in ("landscape", "curvature", "transfer", "between", "change")
    } <= set(page.attributes)
    header, *rows = page.tables["table-words-1"]
    assert header == ["vector", "u", HOSTILE[0]]
    assert rows[2] == ["2", "<b>tok</b> 0.25", "<b>tok</b> 0.25"]
    assert "ipt probe" not in " ".join(page.commands) and page.tags.count("script") == 1


def test_tuned_numbers_are_compared_with_each_control_and_tables_are_files(whole, capsys, undrawn):
    page = page_of(capsys, "--out", whole, "--file", whole / "tables" / "report.html")
    header, *rows = page.tables["table-compared"]
    controls = [
        TITLES[setting]
        for setting in ("mixture_test", "pca_test", "random_test", "test_msf", "start_test")
    ]
    overall = [row for row in rows if row[1] == "all"]
    assert [row[0] for row in overall] == controls and header[1:] == list(COMPARED)
    found = {(r["setting"], r["task"]): r for r in per_task(read_pair(whole / "ist-42").results)}
    for setting, title in (("test_msf", controls[3]), ("pca_test", controls[1])):
        (row,) = [row for row in overall if row[0] == title]
        means = [sum(found[s, t]["score"] for t in "uvwx") / 4 for s in ("test", setting)]
        assert row[2] == "4"
        assert float(row[3].replace("−", "-")) == pytest.approx(means[0] - means[1], abs=0.00051)
    files = {
        name: (whole / "tables" / "report-figures" / name).read_text(encoding="utf8")
        for name in ("settings.md", "settings.csv", "tasks.csv")
    }
    settings = page.tables["table-settings"]
    for line in lines(read_pair(whole / "ist-42").results):
        assert " | ".join(cells(line)) in files["settings.md"]
    assert len(files["settings.csv"].splitlines()) == len(settings)
    assert len(files["tasks.csv"].splitlines()) == 1 + len(found)


def test_comparisons_stand_apart_for_groups_of_tasks(tmp_path, capsys, undrawn):
    path = plain(tmp_path) / "result.json"
    record = read_json(path)
    record["tasks"]["u"]["novel"] = True
    path.write_text(json.dumps(record))
    _, *rows = page_of(capsys, "--out", tmp_path).tables["table-compared"]
    scores = {
        setting: record["scores"][setting]["u"]["generated"] for setting in ("test", "pca_test")
    }
    count = len(record["scores"]["test"])
    (novel,) = [row for row in rows if row[:3] == [TITLES["pca_test"], "novel", "1"]]
    assert float(novel[3].replace("−", "-")) == pytest.approx(
        scores["test"] - scores["pca_test"], abs=0.00051
    )
    assert {row[1]: int(row[2]) for row in rows} == {"all": count, "novel": 1, "rule": count - 1}


def test_two_runs_stand_side_by_side(tmp_path, capsys):
    plain(tmp_path, seed=1)
    plain(tmp_path, seed=2, kept=("train_diff", "test"))
    page = page_of(
        capsys,
        "ist-1",
        tmp_path / "ist-2",
        "--out",
        tmp_path,
        "--file",
        tmp_path / "deep" / "both.html",
    )
    header, *rows = page.tables["table-settings"]
    assert header == [*COLUMNS[:2], "run", *COLUMNS[2:]]
    assert {row[2] for row in rows} == {"made, d = 3, seed 1", "made, d = 3, seed 2"}
    tests = [row for row in rows if row[0] == "T_test (IST)"]
    for seed, row in enumerate(tests, 1):
        results = read_pair(tmp_path / f"ist-{seed}").results
        (line,) = [x for x in lines(results) if (x.setting, x.group) == ("test", "all")]
        assert row[:2] + row[3:] == list(shown_cells(line))
    config = {row[0]: row for row in page.tables["table-config"]}
    assert config["seed"][1:] == ["1", "1", "2", "2", "differs"] and config["model"][-1] == "same"
    assert page.tables.keys() >= {"table-tasks-1", "table-tasks-2"}
    names = {path.name for path in (tmp_path / "deep" / "both-figures").iterdir()}
    assert names >= {"recovery.png", "codes-1.svg", "codes-2.pdf"}
    assert page.tags.count("svg") == 3 + 2 * 5


def test_the_same_runs_give_the_same_page_and_figures(whole, capsys):
    page_of(capsys, "--out", whole, "--file", whole / "again" / "report.html")
    first, again = (
        [folder / "report.html", *sorted((folder / "report-figures").iterdir())]
        for folder in (whole, whole / "again")
    )
    assert len(first) == 1 + 3 * SINGLE + 5  # and the tables as files
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert all(
        ElementTree.parse(path).getroot().tag.endswith("svg")
        for path in first
        if path.suffix == ".svg"
    )


def harmless(page, text):
    """Assert that a page has its own script only, and refers to nothing but itself."""
    assert page.open == []
    assert set(page.tags) & {"img", "iframe", "link", "object", "embed", "form", "base"} == set()
    assert page.tags.count("script") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name, value in page.attributes:
        # a figure's files lie beside the page, and are asked for by a click alone
        assert name not in ("src", "srcset", "href", "xlink:href", "action") or value.startswith(
            ("#", "data:image/png;base64,", "report-figures/")
        ), value
    assert re.findall(r"url\([^#]", text) == [] and re.findall(r"https?:", text) == []
    script = (HERE / "page.js").read_text(encoding="utf8")
    assert script in text
    assert not re.search(
        r"import|fetch|XMLHttp|eval|innerHTML|insertAdjacent|document\.write", script
    )
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_hostile_names_and_texts_do_no_harm(tmp_path, capsys):
    names = dict(zip(HOSTILE, reversed(HOSTILE), strict=True))
    seen, unseen = dict(list(names.items())[:3]), dict(list(names.items())[3:])
    hand_made(tmp_path, seen, unseen)
    page = page_of(capsys, "--out", tmp_path)
    harmless(page, (tmp_path / "report.html").read_text(encoding="utf8"))
    rows = page.tables["table-tasks-1"][1:]
    # whole, and as they are
    assert [row[:2] for row in rows] == [[name, group] for name, group in names.items()]
    tips = {value for name, value in page.attributes if name == "data-tip"}
    assert {tip.split(" · ")[0] for tip in tips} == set(HOSTILE)


def test_control_harm_is_found(whole):
    text = (whole / "report.html").read_text(encoding="utf8")
    harmless(Page(text), text)
    for planted in (
        "<script>1</script>",
        "<img>",
        '<p onclick="x"></p>',
        '<a href="//x"></a>',
        '<p style="x:url(y)"></p>',
        '<p id="tip"></p>',
    ):
        worse = text.replace("</main>", planted + "</main>")
        with pytest.raises(AssertionError):
            harmless(Page(worse), worse)


def test_the_page_can_be_used_without_eyes(whole):
    page = Page((whole / "report.html").read_text(encoding="utf8"))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    attributes = page.attributes
    assert ("lang", "en") in attributes
    assert page.tags.count("svg") == SINGLE
    # a figure whose marks can be reached is a group of images, another one an image
    marks = [value for name, value in attributes if name == "data-tip"]
    groups = attributes.count(("role", "group"))
    assert groups == 4 and attributes.count(("role", "img")) == len(marks) + SINGLE - groups
    assert {value for name, value in attributes if name == "scope"} == {"col", "row"}
    assert page.tags.count("caption") == len(page.tables)
    assert all(value for name, value in attributes if name == "aria-label")


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    light = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]


def contrast(one, other):
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_colours_can_be_told_from_the_ground_in_both_themes():
    roots = re.findall(r":root \{(.*?)\}", (HERE / "page.css").read_text(encoding="utf8"))
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", root)) for root in roots]
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        pairs = [
            (text, ground) for text in ("ink", "soft", "link") for ground in ("ground", "shade")
        ]
        assert min(contrast(theme[text], theme[ground]) for text, ground in pairs) >= 4.5
        marks = [*PALETTE, *BY_RECOVERY, FAINT, theme["own"], theme["mark"]]
        assert min(contrast(colour, theme["ground"]) for colour in marks) >= 3
        answers = [theme["right"], theme["wrong"]]
        assert min(contrast(colour, theme["ground"]) for colour in answers) >= 4.5
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


def used_colours(svg):
    """Return the colours of a figure but for its images, cells and what lies on these."""
    found = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg))
    return found


def test_colours_that_figures_use_can_be_told_from_the_ground(whole):
    text = (whole / "report.html").read_text(encoding="utf8")
    figures = dict(re.findall(r'<figure id="figure-([a-z-]+)".*?(<svg.*?</svg>)', text, re.S))
    # those of colour maps, whose values a bar explains, say nothing by one colour
    maps = {"cosines", "landscape", "transfer", "change"}
    assert maps < set(figures) and {"unseen", "codes", "recovery", "between"} < set(figures)
    for name in figures.keys() - maps:
        used = used_colours(figures[name])
        assert used, name
        for colour in used:
            for ground in ("#ffffff", "#14171a"):
                assert contrast(colour, ground) >= 3, (name, colour)
    # control: what drawings for papers have is told apart on white alone
    assert min(contrast(colour, "#ffffff") for colour in ON_PAGE if colour != "#000000") < 3


def test_no_letter_of_a_figure_is_smaller_than_11_pixels(whole):
    text = (whole / "report.html").read_text(encoding="utf8")
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:[a-z0-9]+ )*([\d.]+)px", text)]
    in_figures = [size for size in sizes if size > 1]
    # a unit of a figure is a point, of which 0.75 are a pixel
    assert len(in_figures) > 50 and min(in_figures) / 0.75 >= 11


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing"], "is no run folder; ipt runs --out"),
        (["ist-42", "ist-42"], "is named twice"),
        (["msf-42"], "is a run of ipt msf; name runs of ipt ist"),
        (["unfinished"], "holds no complete run; run the command again to finish it"),
        (["ist-42", "--file", "page.pdf"], "--file must end with .html"),
        (["ist-42", "--file", "ist-42/config.json/page.html"], "is a file and no folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, says, tmp_path, capsys, monkeypatch):
    if words:
        plain(tmp_path)
        (tmp_path / "unfinished").mkdir()
        (tmp_path / "unfinished" / "config.json").write_text(
            (tmp_path / "ist-42" / "config.json").read_text()
        )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", *words, "--out", "."]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.rglob("*.html"))


def test_folders_that_are_no_runs_are_passed_over(tmp_path, capsys, undrawn):
    folder = plain(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "broken" / "result.json").write_text("{}")
    assert page_of(capsys, "--out", tmp_path).tables["table-config"][0][-1] == folder.name

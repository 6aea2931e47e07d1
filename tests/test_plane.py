"""The answer plane: its answers are the model's, its text is the rule's, its picture is its record's."""

import json
import struct
from pathlib import Path

import pytest
import torch

from ipt.analysis.plots import plane as drawing
from ipt.api import reopen_experiment
from ipt.cli import app as cli
from ipt.run import chosen_run
from ipt.storage import SEAL, read_json
from ipt.workflows.plane import chosen_text, is_right
from ipt.workflows.walk import Walk

ROOT = Path(__file__).parents[1]
RECORDS = (drawing.HERO, *drawing.CONTROLS)
ANCHORS = "morph_a_an,der_agent_verb,der_person"


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    run = chosen_run("example", tmp_path_factory.mktemp("empty"))
    return Walk.open(run, reopen_experiment(run))


def answer_at(walk, record, column, line):
    """The answer at a place, from the three codes alone, another way than `Walk.plane` goes."""
    first, second, third = (torch.tensor(anchor["code"]) for anchor in record["anchors"])
    across = (second - first) / (second - first).norm()
    rest = (third - first) - ((third - first) @ across) * across
    x = record["left"] + column * record["step"]
    y = record["bottom"] + line * record["step"]
    vector = first + x * across + y * rest / rest.norm()
    ((answer,),) = walk.answers(vector[None], "morph_a_an", [record["text"]], 16)
    return " ".join(answer.text.split())


def test_the_hero_is_of_the_run_that_comes_with_ipt(walk):
    record = read_json(ROOT / drawing.HERO)
    assert record["run"] == walk.run.folder.name and record["subspace"] == "msf"
    places = drawing.regions(record)
    assert places.shape == (60, 96)
    # Far from the edges of regions, where rounding could decide.
    for column, line in ((5, 5), (10, 30), (30, 45), (75, 45), (64, 8)):
        around = places[line - 1 : line + 2, column - 1 : column + 2]
        assert (around == places[line, column]).all()
        said = record["answers"][places[line, column]]
        assert answer_at(walk, record, column, line) == said
    shares = [(places == i).mean() for i in range(len(record["answers"]))]
    assert shares == pytest.approx(record["shares"], abs=1e-6)


def test_its_text_is_the_one_that_the_rule_chooses(walk):
    record = read_json(ROOT / drawing.HERO)
    chosen = chosen_text(walk)
    assert chosen.text == record["text"] and chosen.is_chosen and record["rule"]
    assert [anchor["task"] for anchor in record["anchors"]] == list(chosen.names)
    unseen, *seen = chosen.names
    assert unseen in walk.experiment.unseen and set(seen) <= set(walk.experiment.seen)
    assert chosen.text in {example.input for example in walk.sets(unseen).test}
    for name in seen:
        sets = walk.sets(name)
        assert chosen.text not in {example.input for example in (*sets.train, *sets.dev)}
    for anchor in record["anchors"]:
        assert anchor["right"] and is_right(walk, anchor["task"], chosen.text, anchor["answer"])
    assert len({anchor["answer"] for anchor in record["anchors"]}) == 3
    assert is_right(walk, unseen, chosen.text, "a") is False  # control
    assert is_right(walk, "ari_larger", chosen.text, "a") is None


def png_texts(path):
    """The texts in a PNG, without its dots."""
    content = path.read_bytes()
    place, texts = 8, {}
    while place < len(content):
        (size,), kind = struct.unpack(">I", content[place : place + 4]), content[place + 4 : place + 8]
        if kind == b"tEXt":
            name, _, text = content[place + 8 : place + 8 + size].partition(b"\0")
            texts[name.decode()] = text.decode("latin1")
        place += 12 + size
    return texts


@pytest.mark.parametrize("theme", drawing.PICTURES)
def test_the_pictures_are_made_from_the_records(theme):
    record, table = (json.loads((ROOT / name).read_text()) for name in (drawing.HERO, drawing.STRIP))
    path = ROOT / drawing.PICTURES[theme]
    about = png_texts(path)["Description"]
    assert about == drawing.digests(record, table), "run: python -m ipt.analysis.plots.plane"
    assert record[SEAL] in about and table["digest"] in about
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (1600, 720)
    assert path.stat().st_size < 250_000


def test_the_strip_has_every_method_and_the_winner_first():
    table = json.loads((ROOT / drawing.STRIP).read_text())
    record = json.loads((ROOT / drawing.HERO).read_text())
    methods = drawing.strip_methods(table)
    rows = [row for row in table["rows"] if row["line"] == table["rows"][0]["line"]]
    assert len(methods) == len(rows) == len(drawing.NAMES)
    assert [m.value for m in methods] == sorted([100 * row["recovered"]["value"] for row in rows])[::-1]
    plane, strip = drawing.draw_hero(record, methods, "dark").axes
    texts = [text.get_text() for text in strip.texts]
    for method in methods:
        assert method.name in texts and f"{method.value:.0f}".replace("-", "−") in texts
    # The three tasks, what they answer, and the word itself.
    shown = " ".join(text.get_text() for text in plane.texts)
    assert shown.count("✓") == 3 and "✗" not in shown and "never seen" in shown
    for anchor in record["anchors"]:
        assert f"“{anchor['answer']}”" in shown
    assert record["text"] in plane.get_title(loc="left")


def test_wrong_answers_are_left_in():
    record = json.loads((ROOT / drawing.CONTROLS[0]).read_text())
    assert record["subspace"] == "random" and not any(a["right"] for a in record["anchors"])
    (axes,) = drawing.draw_plane(record).axes
    assert " ".join(text.get_text() for text in axes.texts).count("✗") == 3


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_whole(name):
    record = read_json(ROOT / name)
    places = drawing.regions(record)
    assert places.max() == len(record["answers"]) - 1 and len(record["likelihoods"]) == len(places)
    assert record["text"] == "adviser" and sum(record["shares"]) == pytest.approx(1, abs=1e-4)


def test_a_plane_of_ones_own_text(walk, tmp_path, capsys):
    words = ["runs", "plane", "example", "--text", "singer", "--anchors", ANCHORS]
    words += ["--width", "4", "--height", "3"]
    assert cli.main([*words, "--to", str(tmp_path / "plane.json")]) == 0
    record = read_json(tmp_path / "plane.json")
    places = drawing.regions(record)
    assert places.shape == (3, 4) and record["rule"] == ""
    for column, line in ((0, 0), (3, 2)):
        assert answer_at(walk, record, column, line) == record["answers"][places[line, column]]
    assert "singer: " in capsys.readouterr().out
    assert cli.main([*words, "--to", str(tmp_path / "plane.svg")]) == 0
    assert "<svg" in (tmp_path / "plane.svg").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--anchors", "a,b"], "--anchors must be three tasks, A,B,C, found a,b"),
        (["--text", "x"], "--anchors must be three tasks, A,B,C, found none"),
        (["--text", "x", "--task", "y", "--anchors", ANCHORS], "leave one out"),
        (["--width", "1"], "--width must be at least 2, found 1"),
        (["--to", "plane.pdf"], "--to must end with .json, .png or .svg"),
        (["--anchors", ANCHORS], "--text, or --task and --row, must say what is answered"),
        (["--task", "morph_a_an", "--row", "101", "--anchors", ANCHORS], "--row must be 1 to 100"),
        (["--text", "x", "--anchors", "morph_a_an,gra_tense,none"], "has no code of 'none'"),
    ],
)
def test_mistakes_are_one_line(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["runs", "plane", "example", *words]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("ipt: ") and says in last and not list(tmp_path.iterdir())

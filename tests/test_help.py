"""What --help shows, and that old names of verbs and flags go on to work, once announced."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ist_words

from ipt.cli import app as cli
from ipt.cli import help as cli_help
from ipt.results import PARTS, flags_of_parts, parts_of_flags
from ipt.workflows.study import Cell

FLAG = re.compile(r"^│[ *]+(?:[A-Z]+ )?(--[\w.-]+)", re.M)
# Off is the default of every other flag.
ON_BY_DEFAULT = {"pretrain": {"--no-bfloat16"}, "explore": {"--no-browser"}}
VERBS = [verb.__name__ for verb in cli.VERBS]


def shown(capsys, monkeypatch, *words, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(list(words)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_short_and_help_all_has_every_flag(verb, capsys, monkeypatch):
    arguments = cli.app[verb].assemble_argument_collection()
    flags = {one.name for one in arguments if one.show and one.name.startswith("--")}
    places = {one.name for one in arguments if one.field_info.is_positional}
    flags -= places
    for columns in (80, 120):
        short = shown(capsys, monkeypatch, verb, "--help", columns=columns)
        whole = shown(capsys, monkeypatch, verb, cli_help.HELP_ALL, columns=columns)
        assert len(short.splitlines()) <= 40
        assert set(FLAG.findall(whole)) >= flags >= set(FLAG.findall(short)) - places
        left_out = len(flags) - len(set(FLAG.findall(short)) & flags)
        last = f"{left_out} more flags: ipt {verb} --help-all"
        assert (short.splitlines()[-1] == last) == (verb in cli_help.MOST_USED)
        assert "--empty-" not in whole
        assert set(re.findall(r"--no-[\w-]+", whole)) == ON_BY_DEFAULT.get(verb, set())


@pytest.mark.parametrize("verb", cli_help.MOST_USED)
def test_the_table_of_groups_names_flags_that_are_there(verb):
    flags = {argument.name for argument in cli.app[verb].assemble_argument_collection()}
    assert not set(cli_help.MOST_USED[verb]) - flags
    assert 5 <= len(cli_help.MOST_USED[verb]) <= 16


def test_a_switch_can_be_said_to_be_off():
    assert cli.parse(["msf", "--dry-run"])["work"].dry_run
    assert not cli.parse(["msf", "--dry-run=false"])["work"].dry_run


def test_the_whole_help_follows_the_pipeline(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, "--help")
    places = [
        text.index(f"│ {verb} ") for verb in ("tune", "msf", "ist", "runs", "report", "tasks")
    ]
    assert places == sorted(places) and "--help-all" in text
    assert text.index("1 Find") < places[0] < text.index("2 Tune") < text.index("3 Look")
    assert cli_help.verb_group("new").name == cli_help.OTHER  # control


NOTICE = "{} is now {}; it goes on to work until 0.3\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("msf --limit 6", "msf --test-rows 6"),
        ("msf --limit=6", "msf --test-rows=6"),
        ("ist --starts 3 --limit 2", "ist --restarts 3 --test-rows 2"),
        ("stability --starts 3", "stability --restarts 3"),
        ("score --limit 3", "score --test-rows 3"),
    ],
)
def test_an_old_flag_is_the_new_one_and_says_so_once(old, new, capsys):
    found = cli.parse(old.split())
    said = capsys.readouterr().err
    assert found == cli.parse(new.split())
    assert capsys.readouterr().err == ""  # control
    for word in ("--limit", "--starts"):
        named = NOTICE.format(word, {"--limit": "--test-rows", "--starts": "--restarts"}[word])
        assert said.count(named) == (word in old)
    cli.parse(old.split())
    assert capsys.readouterr().err == ""  # once


@pytest.fixture(autouse=True)
def nothing_said():
    cli.say_renamed.cache_clear()


def test_what_stands_after_two_dashes_is_no_flag(capsys):
    assert cli.renewed(["predict", "--", "--limit"]) == ["predict", "--", "--limit"]
    assert cli.renewed(["predict", "limit", "x--limit", "--limits"]) == [
        *("predict", "limit", "x--limit", "--limits"),
    ]
    assert cli.renewed(["msf", "--tune.limit", "1"])[1] == "--tune.test-rows"
    assert capsys.readouterr().err.startswith("--tune.limit is now")


def test_a_settings_file_may_have_the_old_names(tmp_path, capsys):
    path = tmp_path / "old.toml"
    path.write_text('limit = 7\nstarts = 2\npart = ["same", "pca"]\n')
    old = cli.parse(["ist", "--config", str(path)])
    said = capsys.readouterr().err
    assert "limit is now test-rows" in said and "starts is now restarts" in said
    path.write_text('test-rows = 7\nrestarts = 2\non = "seen"\nagainst = "pca"\n')
    new = cli.parse(["ist", "--config", str(path)])
    assert capsys.readouterr().err == ""
    assert (old["choice"], old["config"]) == (new["choice"], new["config"])
    assert old["parts"].part == ("same", "pca")
    assert (new["parts"].on, new["parts"].against) == (("seen",), ("pca",))


def test_parts_and_flags_name_each_other():
    for part in PARTS:
        assert parts_of_flags(**flags_of_parts([part])) == (part,)
    assert parts_of_flags(**flags_of_parts(PARTS)) == tuple(PARTS)
    words = ["--on", "seen,unseen", "--on", "seen-other-data", "--against", "pca, mixture"]
    found = cli.parse(["ist", *words])
    parts = parts_of_flags(found["parts"].on, found["parts"].against)
    assert parts == ("same", "unseen", "diff", "pca", "mixture")
    assert cli.parse(["ist"])["parts"].on == ()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--on seen,some", "--on must be one or more of seen, seen-other-data, unseen, found 'some'"),
        ("--on pca", "--on must be one or more of seen, seen-other-data, unseen, found 'pca'"),
        ("--against unseen", "--against must be one or more of random-start, random, pca, mixture, found 'unseen'"),
        ("--against=", "--against must be one or more of random-start, random, pca, mixture, found ''"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_one_line(words, says, capsys):
    assert cli.main(["ist", *words.split()]) == 2
    assert capsys.readouterr().err == f"ipt: {says}\n"


def test_old_and_new_flags_lead_to_one_run(done, tmp_path, capsys):
    out = Path(shutil.copytree(done, tmp_path / "runs"))
    shutil.rmtree(next(out.glob("ist-*")))
    words = ist_words(out, "--on", "unseen", "--against", "pca", "--restarts", "2")
    words += ["--test-rows", "5"]
    old = ist_words(out, "--part", "unseen", "--part", "pca", "--starts", "2", "--limit", "5")
    assert cli.main(words) == 0
    first = capsys.readouterr()
    assert "is now" not in first.err
    (run,) = out.glob("ist-*")
    result = (run / "result.json").read_bytes()
    assert cli.main(old) == 0
    said = capsys.readouterr()
    assert said.err.count(NOTICE.format("--part", "--on and --against")) == 1
    assert said.err.count(NOTICE.format("--limit", "--test-rows")) == 1
    assert list(out.glob("ist-*")) == [run] and (run / "result.json").read_bytes() == result
    assert cli.main([*words, "--on", "seen"]) == 0  # control: another part is added
    assert (run / "result.json").read_bytes() != result


def test_old_verbs_write_the_same_files(tmp_path, done, capsys):
    words = ["ari_max,ari_min", "--to"]
    assert cli.main(["tasks", "write", *words, str(tmp_path / "new")]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["tasks", "export", *words, str(tmp_path / "old")]) == 0
    said = capsys.readouterr().err
    assert said == NOTICE.format("ipt tasks export", "ipt tasks write")
    written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    run = next(done.glob("ist-*")).name
    records = []
    for verb in ("summary", "export"):
        file = tmp_path / f"{verb}.json"
        words = ["runs", verb, run, str(file), "--command", "c", "--out", str(done)]
        assert cli.main(words) == 0
        records.append(json.loads(file.read_text()))
    assert records[0] == records[1]
    assert NOTICE.format("ipt runs export", "ipt runs summary") in capsys.readouterr().err
    assert cli.main(["export", "--help"]) == 0  # control: PEFT's keeps its name
    assert "PEFT" in capsys.readouterr().out


def test_files_of_studies_keep_their_words(capsys):
    settings = {"tasks": "t", "limit": 5, "ist.part": ["unseen", "pca"], "ist.starts": 2}
    command = Cell("c", "c", settings).ist(Path("o"))
    assert (
        command
        == "ist --test-rows 5 --restarts 2 --on unseen --against pca --run c --out o".split()
    )
    new = {
        "tasks": "t",
        "test-rows": 5,
        "ist.on": "unseen",
        "ist.against": "pca",
        "ist.restarts": 2,
    }
    assert cli.parse(Cell("c", "c", new).ist(Path("o"))) == cli.parse(command)
    one = cli.parse(Cell("c", "c", settings | {"ist.part": "same"}).ist(Path("o")))
    assert one["parts"].on == ("seen",)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("mfs", 'Did you mean "msf"?'),
        ("task list", 'Did you mean "tasks"?'),
        ("tasks lst", 'Did you mean "list"?'),
        ("msf --taks x", "Did you mean --tasks?"),
        ("ist --agianst pca", "Did you mean --against?"),
        ("tasks show ari_mx", "did you mean ari_max"),
    ],
)
def test_a_near_name_is_suggested(words, says, capsys):
    assert cli.main(words.split()) == 2
    assert says in capsys.readouterr().err


def test_what_is_like_no_name_suggests_none(capsys):
    for words in ("tasks show nonsense", "nonsense", "msf --xyz 1", "msf --tasks nonsense"):
        assert cli.main(words.split()) == 2
        assert "id you mean" not in capsys.readouterr().err


def test_tasks_are_listed_by_subcategory_unless_each_is_asked_for(capsys):
    assert cli.main(["tasks", "list", "--tasks", "ari_*,gra_tense"]) == 0
    short = capsys.readouterr().out
    assert cli.main(["tasks", "list", "--tasks", "ari_*,gra_tense", "--verbose"]) == 0
    whole = capsys.readouterr().out
    named = re.findall(r"^ari_\w+|^gra_\w+", whole, re.M)
    counts = [int(count) for count in re.findall(r"  (\d+)  ", short)]
    said = f"{len(named)} tasks in {len(counts)} subcategories; --verbose lists each"
    assert said in short and sum(counts) == len(named) > len(counts) > 1
    assert not re.findall(r"^ari_\w+", short, re.M)  # control
    assert cli.main(["tasks", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) < 60

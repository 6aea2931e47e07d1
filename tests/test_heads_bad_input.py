"""A head that cannot be, or that tasks, model or command cannot take, is one line before any work."""

import pytest
from head_tasks import task
from test_heads import backbone

from ipt import resolve
from ipt.cli import app as cli
from ipt.data import Task
from ipt.heads import HEADS, parse_head
from ipt.storage import write_json
from ipt.training.model import Model
from ipt.tuners import parse_tuner

IMPOSSIBLE = [
    ("tagz", f"--head must be one of {', '.join(HEADS)}, found 'tagz'"),
    ("", f"--head must be one of {', '.join(HEADS)}, found ''"),
    ("tags:width=4", "--head tags: expected setting=value with one of layers, found 'width=4'"),
    ("language-model:layers=2", "one of none, as it has no settings, found 'layers=2'"),
    ("tags:layers=0", "--head tags: layers must be above 0, found 0"),
    ("tags:layers=two", "--head tags: layers must be of the kind int, found 'two'"),
    ("classification:pooling=max", "pooling must be of auto, first, last, mean, found 'max'"),
    ("choice:pooling=cls", "--head choice: pooling must be of auto, first, last, mean"),
    ("span:stride=-1", "--head span: stride must not be negative, found -1"),
    ("by-kind:stride=-1", "--head by-kind: stride must not be negative, found -1"),
    ("label-embedding:scale=0", "scale must be a finite number above 0, found 0.0"),
    ("label-embedding:scale=nan", "scale must be a finite number above 0, found nan"),
    ("label-embedding:scale=inf", "scale must be a finite number above 0, found inf"),
]


@pytest.mark.parametrize(("text", "says"), IMPOSSIBLE, ids=[text for text, _ in IMPOSSIBLE])
def test_a_setting_that_cannot_be_is_one_line(text, says):
    with pytest.raises(ValueError) as told:
        parse_head(text)
    assert says in str(told.value) and "\n" not in str(told.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Splits of two classification tasks, and of two with spans."""
    root = tmp_path_factory.mktemp("heads")
    for kind in ("cls", "span"):
        (root / kind).mkdir()
        for number in (0, 1):
            record = task(kind, number, rows=160).to_dict()
            write_json(root / kind / f"{record['name']}.json", record)
        split = {"seen": [f"{kind}-0"], "unseen": [f"{kind}-1"], "tasks": kind}
        write_json(root / f"{kind}.json", split)
    return root


def words(folder, verb, kind, *more):
    place = ["--tasks", str(folder / f"{kind}.json"), "--test-rows", "4", "--out", str(folder / "runs")]
    return [verb, *place, *more]


CASES = [
    ("tune", "cls", ["--head", "tags"], "tags is for tasks of the kind tags, cls-0 is of the kind cls"),
    ("tune", "span", ["--head", "label-embedding"], "is of the kind span"),
    ("tune", "cls", ["--head", "classification:layers=0"], "layers must be above 0"),
    ("tune", "cls", ["--tuner", "bare"], "it has nothing there to tune"),
    ("tune", "cls", ["--tuner", "bare", "--head", "label-embedding"], "nothing there to tune"),
    ("msf", "cls", ["--tuner", "bare", "--head", "classification", "--dim", "2"], "no delta to find"),
    ("tune", "span", ["--head", "span:stride=1000", "--tuner", "bare"], "stride must be below"),
    ("tune", "cls", ["--head", "classification:layers=9999999"], "choose smaller settings"),
]


@pytest.mark.parametrize(("verb", "kind", "more", "says"), CASES, ids=[c[3] for c in CASES])
def test_the_command_says_so_before_it_begins(verb, kind, more, says, folder, capsys):
    assert cli.main(words(folder, verb, kind, *more)) == 2
    error = capsys.readouterr().err
    assert says in error and error.strip().count("\n") == 0
    assert not (folder / "runs").exists()


def test_folders_of_deltas_have_no_heads(folder, capsys):
    (folder / "given").mkdir(exist_ok=True)
    more = ["--head", "classification", "--prompts", str(folder / "given"), "--dim", "2"]
    assert cli.main(words(folder, "msf", "cls", *more)) == 2
    assert "deltas are read without heads, and --head classification" in capsys.readouterr().err


def test_a_dry_run_measures_a_head_and_tunes_nothing(folder, capsys):
    for head in ("classification", "by-kind:layers=2", "label-embedding"):
        assert cli.main(words(folder, "tune", "cls", "--head", head, "--dry-run")) == 0
        assert "training rows" in capsys.readouterr().out
    assert not list((folder / "runs").rglob("*.safetensors"))


def test_a_cls_task_without_options_is_refused_where_it_is_read():
    record = task("cls").to_dict()
    del record["options"]
    with pytest.raises(ValueError, match="a cls task needs 'options'"):
        Task.from_dict(record)


class Slow:
    """A tokenizer that does not know where its tokens are."""

    is_fast = False

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def test_a_slow_tokenizer_is_refused(monkeypatch):
    bert = backbone("bert")
    assert bert.piece("a bird").input_ids  # control
    monkeypatch.setattr(bert, "tokenizer", Slow(bert.tokenizer))
    with pytest.raises(ValueError, match="does not say where a token is in the text"):
        bert.piece("a bird")


class Opened:
    def __init__(self, head):
        self.model = Model(backbone("bert"), parse_tuner("lora"), parse_head(head))


@pytest.mark.parametrize("verb", ["ipt stability", "ipt probe", "ipt bench --search-cost"])
def test_what_would_ignore_a_heads_numbers_refuses_them(verb):
    with pytest.raises(ValueError, match=f"^{verb} does not know the numbers of --head tags"):
        resolve.require_no_heads(Opened("tags"), verb)
    resolve.require_no_heads(Opened("label-embedding"), verb)  # control: it has none
    resolve.require_no_heads(Opened("language-model"), verb)

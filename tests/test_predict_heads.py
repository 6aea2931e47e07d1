"""`ipt predict` and `ipt export` of runs with heads: labels, tagged words, spans, options."""

import json
from functools import cache, partial
from io import StringIO

import pytest
import torch
import toys
from head_tasks import task
from test_heads import pair_tokenizer
from transformers import AutoModel

import ipt
from ipt.cli import app as cli
from ipt.cli import predict as verb
from ipt.data import SAME_DATA_SEED
from ipt.experiment import encode_tasks
from ipt.predict import answer_of, predict_examples, task_delta, unanswered
from ipt.resolve import reopen_experiment
from ipt.run import Run
from ipt.storage import read_json
from ipt.workflows.evaluation import score_tasks

KINDS = ("cls", "tags", "span", "choice")
TUNE = "--tune.steps 3 --tune.eval-every 3 --tune.shots 4".split()
PARTS = "--on unseen --against mixture".split()
STEPS = "--steps 3 --eval-every 3".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of MSF and IST over tasks of all kinds, one head for each kind."""
    root = tmp_path_factory.mktemp("heads")
    tasks = root / "tasks"
    tasks.mkdir()
    for kind in KINDS:
        for number in range(2):
            record = task(kind, number, 320).to_dict()
            record["options"] = record["options"] or None
            (tasks / f"{kind}-{number}.json").write_text(json.dumps(record), encoding="utf8")
    bare = toys.spread(AutoModel.from_config(toys.config("bert")))
    model = toys.save(bare, pair_tokenizer("masked"), root / "model")
    out = ["--out", str(root / "runs")]
    words = ["msf", "--tasks", str(tasks), "--model", model, "--head", "by-kind:stride=4"]
    words += ["--seen", "5", "--unseen", "3"]
    words += ["--tuner", "lora:rank=2", "--dim", "2", "--inner-width", "8", "--test-rows", "4", "--rows-per-step", "4"]
    assert cli.main([*words, *TUNE, *STEPS, *out]) == 0
    assert cli.main(["ist", "--dim", "2", "--rows-per-step", "4", *PARTS, *STEPS, *out]) == 0
    return root / "runs"


def run_of(runs, kind: str) -> Run:
    return Run(next(runs.glob(f"{kind}-*")))


@pytest.mark.parametrize("kind", ["msf", "ist", "mixture"])
def test_a_runs_head_is_the_one_that_was_scored(runs, kind):
    """With other widths of heads in one file."""
    run = run_of(runs, "msf" if kind == "msf" else "ist")
    experiment = reopen_experiment(run.config, runs)
    names = [*experiment.seen, *experiment.unseen] if kind == "msf" else experiment.unseen
    sizes = set()
    for name in names:
        made = task_delta(run, experiment, name, kind == "mixture")
        sizes.add(len(made.delta))
        data = encode_tasks(experiment, [name], SAME_DATA_SEED)
        (score,) = score_tasks(experiment, "again", made.delta[None], data).values()
        assert score.generated == made.about["test_score"]
    assert len(sizes) > 1
    if kind == "ist":
        assert len(made.about["vector"]) == 2


ROWS = {
    "cls": {"input": "the red bird saw a tree 9"},
    "tags": {"tokens": ["the", "red", "tree"], "query": "tree"},
    "span": {"query": "what is 3 ?", "context": "the red  bird saw a green tree near some house"},
    "choice": {"input": "the red bird", "choices": ["a house", "a tree", "low"]},
}


# A task's numbers are read once for all tests.
opened = cache(partial(verb._open_prompt, mixture=False))


def asked(runs, name: str, lines: list[str], capsys, monkeypatch, ends: int = 0) -> list[str]:
    monkeypatch.setattr(verb, "_open_prompt", lambda run, task, out, mixture: opened(run, task, out))
    monkeypatch.setattr("sys.stdin", StringIO("\n".join(lines)))
    capsys.readouterr()
    words = ["predict", "--run", run_of(runs, "msf").folder.name, "--task", name]
    assert cli.main([*words, "--out", str(runs)]) == ends
    found = capsys.readouterr()
    return found.out.splitlines() if not ends else found.err.splitlines()[-1:]


def test_rows_of_every_kind_are_answered(runs, capsys, monkeypatch):
    answers = {}
    for kind, row in ROWS.items():
        lines = [json.dumps(row), json.dumps(row | {"output": "own", "id": 7})]
        first, second = asked(runs, f"{kind}-1", lines, capsys, monkeypatch)
        answers[kind] = json.loads(first)["prediction"]
        own = row | {"output": "own", "id": 7, "prediction": answers[kind]}
        assert json.loads(second) == own
    assert answers["cls"] in task("cls", 1).options
    assert answers["choice"] in ROWS["choice"]["choices"]
    start, end = answers["span"]["start"], answers["span"]["end"]
    if start is None:
        assert answers["span"]["text"] == ""
    else:
        assert ROWS["span"]["context"][start:end] == answers["span"]["text"] != ""
    tagged = answers["tags"]
    assert tagged["tokens"] == ROWS["tags"]["tokens"]
    assert len(tagged["tags"]) == 3 and set(tagged["tags"]) <= set(task("tags", 1).options)
    for entity in tagged["entities"]:
        words = tagged["tokens"][entity["start"] : entity["end"]]
        assert entity["text"] == " ".join(words)
        assert tagged["tags"][entity["start"]].endswith(f"-{entity['kind']}")


def test_texts_are_answered_in_words(runs, capsys, monkeypatch):
    (label,) = asked(runs, "cls-0", ["a red tree"], capsys, monkeypatch)
    assert label in task("cls", 0).options
    (line,) = asked(runs, "tags-1", ["the red tree"], capsys, monkeypatch)
    pairs = [pair.rsplit("/", 1) for pair in line.split()]
    assert [word for word, _ in pairs] == ["the", "red", "tree"]
    assert {tag for _, tag in pairs} <= set(task("tags", 1).options)


BAD = [
    ("span-0", "a text", "row 1 is a text; span-0 is of the kind span, whose rows are JSON objects"),
    ("choice-0", "a text", "with input and choices, one a line of standard input"),
    ("span-0", '{"input": "a text"}', "row 1: 'context' must be a text that is not empty"),
    ("tags-0", '{"tokens": "a b"}', "row 1: 'tokens' must be a list of words"),
    ("choice-0", '{"input": "a", "choices": ["b"]}', "'choices' must be a list of two texts or more"),
    ("cls-0", '{"text": "a"}', "field 'input' must be a text, found None"),
]


@pytest.mark.parametrize(("name", "line", "says"), BAD)
def test_rows_of_another_kind_are_told(runs, capsys, monkeypatch, name, line, says):
    (told,) = asked(runs, name, [line], capsys, monkeypatch, ends=2)
    assert says in told


def test_answers_of_a_task_are_the_same_without_its_labels(runs):
    """What a row's answer is plays no part in its prediction."""
    experiment = reopen_experiment(run_of(runs, "msf").config, runs)
    for kind in KINDS:
        of = experiment.tasks[f"{kind}-1"]
        delta = task_delta(run_of(runs, "msf"), experiment, of.name).delta
        own = list(of.examples[:6])
        rows = []
        for example in own:
            row = {"input": example.input, "query": example.query, "context": example.context}
            row |= {"tokens": list(example.tokens), "choices": list(example.choices)}
            row = {name: value for name, value in row.items() if value}
            rows.append(unanswered(row, of, experiment.model.head, "row"))
        found = predict_examples(delta, experiment, of.name, rows, 4)
        assert found == predict_examples(delta, experiment, of.name, own, 4)
        assert rows != own  # control


def test_entities_are_those_of_iob2():
    of = task("tags", 1)
    head = ipt.heads.parse_head("tags")
    example = of.examples[0]
    words = ["Ada", "Lovelace", "met", "Bab"]
    example = type(example)("", ("",), tokens=tuple(words))
    found = answer_of(
        example, ipt.heads.Prediction("B-PER I-PER O B-LOC"), of, head
    )
    assert found.text == "Ada/B-PER Lovelace/I-PER met/O Bab/B-LOC"
    assert found.value["entities"] == [
        {"kind": "PER", "start": 0, "end": 2, "text": "Ada Lovelace"},
        {"kind": "LOC", "start": 3, "end": 4, "text": "Bab"},
    ]


def test_export_prints_lines_that_load(runs, tmp_path, capsys):
    for kind, loads in (("tags", True), ("span", True), ("choice", False)):
        capsys.readouterr()
        words = ["export", run_of(runs, "msf").folder.name, f"{kind}-1", "--to", str(tmp_path / kind)]
        assert cli.main([*words, "--out", str(runs)]) == 0
        first, *lines = capsys.readouterr().out.strip().split("\n")
        assert first.startswith("PEFT folder" if loads else "folder")
        about = read_json(tmp_path / kind / "ipt.json")
        assert about["head"].startswith(kind) and about["task"] == f"{kind}-1"
        names: dict = {}
        exec("\n".join(lines), names)
        assert ("model" in names) == loads


def test_the_python_api_takes_heads(runs, tmp_path):
    model = runs.parent / "model"
    experiment = ipt.open_experiment(
        tasks=str(runs.parent / "tasks"),
        model=str(model),
        tuner="lora:rank=2",
        head="by-kind:stride=4",
        tune={"steps": 4, "eval_every": 2, "shots": 4},
        limit=4,
        seen=5,
        unseen=3,
        out=tmp_path,
    )
    deltas = ipt.tune(experiment)
    assert deltas.shape[1] > experiment.model.size
    subspace = ipt.find_subspace(
        experiment, dim=2, steps=3, eval_every=3, inner_width=4, rows_per_step=4
    )
    vectors = ipt.tune_vectors(experiment, subspace, steps=2, eval_every=2, rows_per_step=4)
    decoded = ipt.decode(subspace, vectors)
    scores = ipt.score(experiment, decoded)
    assert list(scores) == experiment.unseen
    name = experiment.unseen[0]
    losses = ipt.dev_loss(experiment, decoded, name)
    assert losses.isfinite().all()
    kind = name.split("-")[0]
    (answer,) = ipt.answer(experiment, decoded[0], name, [ROWS[kind]])
    assert answer
    with pytest.raises(ValueError, match="has numbers of its own"):
        ipt.answer(experiment, None, name, [ROWS[kind]])
    assert torch.equal(decoded[:, experiment.model.size :], vectors[:, 2:])

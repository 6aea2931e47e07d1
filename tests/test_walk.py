"""Places of a run: codes, answers anywhere, ways and planes (`ipt.workflows.walk`)."""

import json
from dataclasses import replace

import pytest
import torch
import toys
from conftest import ist_words
from head_tasks import task
from sklearn.decomposition import PCA
from test_predict_heads import ROWS, run_of, runs  # noqa: F401
from transformers import AutoModelForMaskedLM

import ipt
from ipt.cli import app as cli
from ipt.data import SAME_DATA_SEED
from ipt.example import Example
from ipt.experiment import encode_tasks
from ipt.fewshot import few_shot
from ipt.methods.subspace import Subspace
from ipt.predict import answer_rows, task_delta
from ipt.resolve import reopen_experiment
from ipt.run import Run
from ipt.storage import read_tensors
from ipt.workflows.deltas import tuned_numbers
from ipt.workflows.landscape import dev_losses_of_deltas
from ipt.workflows.walk import Walk


def opened(run: Run) -> Walk:
    return Walk.open(run, reopen_experiment(run.config, run.folder.parent, device="cpu"))


@pytest.fixture(scope="module")
def walk(done):
    return opened(Run(next(done.glob("ist-*"))))


@pytest.fixture(scope="module")
def found(walk):
    return walk.run.source


TEXTS = ["ba dig fo", "ho ka mi", "za be ti", "ab cd ef"]


def test_codes_are_those_of_the_run(walk):
    vectors, _ = read_tensors(walk.run.folder / "vectors.safetensors")
    expected = torch.cat([vectors["train_same"], vectors["test"]])
    assert torch.equal(walk.codes, expected)
    assert walk.names == (*walk.experiment.seen, *walk.experiment.unseen)
    assert set(walk.made_by.values()) == {"IST"}
    assert torch.equal(walk.code(walk.names[4]), expected[4])
    assert torch.allclose(walk.mean, vectors["train_same"].mean(0))


def test_seen_codes_are_msfs_where_ist_has_none(walk, found, tmp_path):
    experiment = walk.experiment
    numbers, _ = read_tensors(walk.run.folder / "vectors.safetensors")
    codes = found.tensors("codes")["codes"]

    class Without(Run):
        def tensors(self, name):
            return {"test": numbers["test"]}

    made = Walk.open(Without(walk.run.folder), experiment)
    seen = len(experiment.seen)
    assert torch.equal(made.codes[:seen], codes[:seen])
    assert torch.equal(made.codes[seen:], numbers["test"])
    assert list(made.made_by.values()) == ["MSF"] * seen + ["IST"] * len(experiment.unseen)
    assert not torch.equal(made.codes[:seen], walk.codes[:seen])  # control
    whole = Walk.open(found, experiment)
    assert torch.equal(whole.codes, codes) and set(whole.made_by.values()) == {"MSF"}


def test_directions_are_those_of_pca(walk):
    seen = walk.seen_codes.numpy()
    pca = PCA().fit(seen)
    for direction, expected in zip(walk.directions.numpy(), pca.components_, strict=True):
        assert abs(abs(direction @ expected) - 1) < 1e-4
    assert walk.shares.numpy() == pytest.approx(pca.explained_variance_ratio_, abs=1e-5)
    assert walk.shares[0] > walk.shares[1]


def test_places_that_are_stacked_answer_as_each_alone(walk):
    vectors = torch.cat([walk.codes, 3 * walk.codes - 1, torch.tensor([[4.0, -4.0]])])
    together = walk.answers(vectors, walk.names[0], TEXTS, 4)
    for vector, answers in zip(vectors, together, strict=True):
        assert walk.answers(vector[None], walk.names[0], TEXTS, 4) == [answers]
    said = {tuple(one.text for one in answers) for answers in together}
    assert len(said) > 1  # control: a place matters


def test_in_pieces_the_answers_are_the_same(walk, monkeypatch):
    name = walk.names[0]
    (examples,) = [walk.examples(name, TEXTS)]
    whole = walk.predictions(walk.codes, name, examples, 4)
    likely = walk.likelihoods(walk.codes, name, examples, whole)
    monkeypatch.setattr("ipt.workflows.walk.MOST_NUMBERS", 2 * walk.subspace.size)
    assert [len(some) for some in walk._pieces(walk.codes)] == [2, 2, 1]
    assert walk.predictions(walk.codes, name, examples, 4) == whole
    assert torch.allclose(walk.likelihoods(walk.codes, name, examples, whole), likely)


def test_the_ends_of_a_way_are_the_tasks_own_answers(walk):
    first, second = walk.names[0], walk.names[-1]
    way = walk.between(walk.code(first), walk.code(second), 5)
    answers = walk.answers(way, first, TEXTS, 4)
    for name, found in ((first, answers[0]), (second, answers[-1])):
        delta = task_delta(walk.run, walk.experiment, name).delta
        assert found == answer_rows(delta, walk.experiment, name, TEXTS, 4)
    assert torch.allclose(way[2], (walk.code(first) + walk.code(second)) / 2)


def test_every_tasks_numbers_answer(walk):
    found = walk.answers_of_tasks(TEXTS[0], 4)
    assert list(found) == list(walk.names)
    for name, answer in found.items():
        ((alone,),) = walk.answers(walk.code(name)[None], name, TEXTS[:1], 4)
        assert answer == alone


def test_rows_are_the_few_shot_sets_and_are_scored(walk):
    name = walk.names[0]
    sets = walk.sets(name)
    drawn = few_shot(walk.task(name), SAME_DATA_SEED, 6)
    assert (sets.train, sets.dev) == (drawn.train, drawn.dev)
    assert sets.test == drawn.test[:6]
    (predictions,) = walk.predictions(walk.code(name)[None], name, sets.test, walk.max_tokens(name))
    expected = walk.result.scores["train_same"][name].generated
    assert walk.score(name, sets.test, predictions) == pytest.approx(expected, abs=1e-6)


def test_full_tuning_answers_out_of_the_bank(walk, found, tmp_path):
    name = walk.names[1]
    sets = walk.sets(name)
    predictions = walk.tuned_predictions(name, sets.test, walk.max_tokens(name))
    reference = walk.result.reference[SAME_DATA_SEED][name].generated
    assert walk.score(name, sets.test, predictions) == pytest.approx(reference, abs=1e-6)
    work = replace(walk.experiment.work, out=tmp_path)
    away = replace(walk, experiment=replace(walk.experiment, work=work))
    assert away.tuned_predictions(name, sets.test, 4) is None


def test_a_plane_holds_its_tasks_and_each_place_answers_as_alone(walk):
    names = walk.names[0], walk.names[3], walk.names[4]
    plane = walk.plane(TEXTS[1], names, 5, 4)
    assert len(plane.answers) == 4 and {len(line) for line in plane.answers} == {5}
    on_plane = plane.origin + plane.anchors @ plane.axes
    codes = torch.stack([walk.code(name) for name in names])
    assert torch.allclose(on_plane, codes, atol=1e-4)
    assert plane.across[0] < plane.anchors[:, 0].min() and plane.up[-1] > plane.anchors[:, 1].max()
    steps = torch.cat([plane.across.diff(), plane.up.diff()])
    assert torch.allclose(steps, steps[0].expand(7), atol=1e-5)  # squares
    for line, column in ((0, 0), (3, 1), (2, 4)):
        place = torch.stack([plane.across[column], plane.up[line]])
        vector = plane.origin + place @ plane.axes
        ((alone,),) = walk.answers(vector[None], names[0], TEXTS[1:2], 16)
        assert plane.answers[line][column] == alone
        row = Example(TEXTS[1], (alone.text,))
        model = walk.experiment.model
        encoded = model.head.encode(model.backbone, walk.task(names[0]), [row])
        loss = model.losses(walk.deltas(vector[None], names[0]), torch.tensor([0]), encoded)
        assert float(plane.likelihoods[line, column]) == pytest.approx(float((-loss).exp()), 1e-4)


def test_tuning_from_a_place_lowers_the_dev_loss(walk):
    name = walk.names[0]
    begin = walk.mean + 2
    way = walk.tune(name, begin, 20)
    assert torch.equal(way.path[0], begin) and 1 < len(way.path) <= 21
    (data,) = encode_tasks(walk.experiment, [name], SAME_DATA_SEED)
    ends = torch.stack([way.path[0], way.path[-1]])
    before, after = dev_losses_of_deltas(walk.experiment, walk.deltas(ends, name), data).tolist()
    assert after < before and after == pytest.approx(way.dev_loss, 1e-4)


def test_what_cannot_be_walked_in_is_refused_in_one_line(walk, done, tmp_path, monkeypatch):
    experiment = walk.experiment
    with pytest.raises(ValueError, match=r"has no code of 'nobody'; it has .*, \.\.\.$"):
        walk.code("nobody")
    first = walk.names[0]
    with pytest.raises(ValueError, match="lie on one line and span no plane"):
        walk.plane("a", (first, walk.names[1], first), 3, 3)
    monkeypatch.setattr(Run, "result", None)
    with pytest.raises(ValueError, match="is not complete; run its command again"):
        Walk.open(walk.run, experiment)


def test_a_run_of_mixtures_alone_is_refused(done, world):
    assert cli.main(ist_words(done, "--part", "mixture", "--rows-per-step", "3")) == 0
    run = Run(max(done.glob("ist-*"), key=lambda path: path.stat().st_mtime_ns))
    with pytest.raises(ValueError, match="only controls or mixtures; its command again with --part"):
        opened(run)


@pytest.mark.parametrize("kind", ["cls", "tags", "span", "choice"])
def test_heads_of_every_kind_answer_anywhere(runs, kind):  # noqa: F811
    walk = opened(run_of(runs, "ist"))
    # Unseen tasks come last.
    name = [name for name in walk.names if name.startswith(kind)][-1]
    code = walk.code(name)
    assert walk.made_by[name] == ("IST" if name in walk.experiment.unseen else "MSF")
    if walk.made_by[name] == "IST":
        delta = task_delta(walk.run, walk.experiment, name).delta
    else:
        # The head that was tuned with its delta, in the bank.
        delta, head = tuned_numbers(walk.experiment, [name], SAME_DATA_SEED)
        delta = torch.cat([walk.subspace.decode(code), head[0]])
    own = answer_rows(delta, walk.experiment, name, [ROWS[kind]], 4)
    vectors = torch.stack([code, code + 5])
    assert walk.answers(vectors, name, [ROWS[kind]], 4)[0] == own
    examples = walk.examples(name, [ROWS[kind]])
    predictions = walk.predictions(vectors, name, examples, 4)
    likely = walk.likelihoods(vectors, name, examples, predictions)
    assert likely.shape == (2, 1) and float(likely.min()) > 0 and float(likely.max()) <= 1
    way = walk.tune(name, code + 1, 2)
    assert torch.equal(way.path[0], code + 1) and way.path.shape[1] == walk.dim
    shares = walk.option_shares(code, name, ROWS[kind])
    if kind != "cls":
        assert shares == {}
        return
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == predictions[0][0].text
    assert shares[own[0].text] == pytest.approx(float(likely[0, 0]), 1e-4)


def test_a_masked_model_ranks_the_options_of_a_task(tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for number in range(3):
        text = json.dumps(task("cls", number, 320).to_dict())
        (tasks / f"cls-{number}.json").write_text(text, encoding="utf8")
    bare = toys.spread(AutoModelForMaskedLM.from_config(toys.config("bert")))
    model = toys.save(bare, toys.tokenizer("masked"), tmp_path / "model")
    experiment = ipt.open_experiment(
        str(tasks), str(model), "soft-prompt:prompt_length=3", {"shots": 4}, seen=2, unseen=1, device="cpu"
    )
    torch.manual_seed(0)
    bank = torch.randn(3, experiment.model.size)
    subspace = Subspace.random(bank, 2, 0)
    names = tuple(experiment.split.all)
    codes = subspace.encode(bank)
    made_by = dict.fromkeys(names, "MSF")
    walk = Walk(Run(tmp_path), experiment, None, None, subspace, names, codes, made_by)
    said = set()
    for place in (codes[0], 9 * codes[1], -9 * codes[2], 20 * codes[1]):
        for name in names:
            ((answer,),) = walk.answers(place[None], name, ["a red tree"], 4)
            shares = walk.option_shares(place, name, "a red tree")
            assert tuple(shares) == experiment.tasks[name].options
            assert max(shares, key=shares.get) == answer.text
            said.add((name, round(shares[answer.text], 4)))
    assert len(said) > 3  # control: a place matters
    found = walk.answers_of_tasks("a red tree", 4)
    for place, name in zip(codes, names, strict=True):
        assert found[name] == walk.answers(place[None], name, ["a red tree"], 4)[0][0]

"""`ipt msf` and `ipt ist`: every number is the score of the right prompt on the right rows.

The prompts behind the scores of result.json are made again here, from the saved tensors or by the
stages' own functions.
"""

import hashlib
import json

import pytest
import torch
from small_runs import (
    LENGTH,
    REST,
    SEED,
    SEEN,
    SHOTS,
    SPLIT,
    Shuffled,
    checksum,
    job_lines,
    new_world,
    tasks,
)
from soft_prompts import (
    choose_starts,
    find_shared_prompt,
    find_subspace,
    mix,
    mixed,
    tune_prompts,
    tune_vectors,
    vocabulary_start,
)

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, MsfConfig, TuneConfig
from ipt.methods.ist import SeenVectors
from ipt.methods.subspace import Subspace
from ipt.provenance import to_record
from ipt.storage import read_json, read_tensors
from ipt.training.evaluate import chance

ALL = [*SEEN, *REST]
TUNING = TuneConfig(steps=6, eval_every=3, shots=SHOTS).with_rates((0.3, 1.0))
FINDING = MsfConfig(dim=2, steps=6, eval_every=3, inner_width=8, rows_per_step=8)
NUMBERS = IstConfig(steps=4, eval_every=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory, taught_folder):
    """The world with a run of each command, done with the work in another order."""
    world = new_world(tmp_path_factory.mktemp("small"), taught_folder, Shuffled())
    world.first = world.msf()
    world.second = world.ist()
    return world


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def differ(ours, theirs):
    assert (ours - theirs).abs().flatten(1).max(1).values.min() > 0.01


def subspace_of(made):
    return Subspace.load(made.first.folder / "subspace")


def behind(made, run, setting, names, data_seed=100):
    """Return the prompts behind a setting's scores, which are these tasks' on this data seed."""
    return made.scores.behind(run.result["scores"][setting], made.data(names, data_seed))


def vectors_of(made):
    return read_tensors(made.second.folder / "vectors.safetensors")[0]


def tried(made, stage):
    """Return the names of the jobs of a stage of IST, by task and data seed."""
    found = {}
    for record in job_lines(made.second.folder / f"metrics-{stage}.jsonl"):
        task, data_seed, seed, *_ = record["job"].split("|")
        assert seed == str(SEED)
        found.setdefault((task, int(data_seed)), set()).add(record["job"])
    return found


def starts(made, subspace, data, count=3):
    """Return the best codes [T, S, d] of the seen tasks' prompts."""
    seen = SeenVectors(subspace.encode(made.prompts(SEEN)), SPLIT.seen)
    return choose_starts(made.backbone, subspace.decode, data, seen, SEED, count)


def tuned(made, subspace, data, seed=SEED):
    """Return the numbers [T, d] that IST finds for these sets."""
    begin = starts(made, subspace, data)
    none = Checkpoint.none()
    return tune_vectors(made.backbone, subspace, data, NUMBERS, seed, none, start=begin)[0]


@pytest.mark.parametrize(("data_seed", "names"), [(100, ALL), (21, SEEN)])
def test_prompts_are_tuned_on_their_data_seed_from_the_start_of_the_seed(made, data_seed, names):
    begin = vocabulary_start(made.backbone, LENGTH, SEED)
    data = made.data(names, data_seed)
    found = tune_prompts(made.backbone, data, TUNING, SEED, Checkpoint.none(), begin)
    same(torch.stack([t.prompt.flatten() for t in found]), made.prompts(names, data_seed))
    differ(made.prompts(SEEN, 100), made.prompts(SEEN, 21))


def test_a_bank_is_named_after_what_its_prompts_depend_on(made):
    for data_seed in (100, 21):
        setting = {
            "backbone": made.backbone.fingerprint,
            "tune": to_record(TUNING) | {"prompt_length": LENGTH},
            "seed": SEED,
            "data_seed": data_seed,
        }
        folder = made.bank(data_seed)
        assert read_json(folder / "setting.json") == json.loads(json.dumps(setting))
        text = json.dumps(setting, sort_keys=True)
        assert folder.name == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_no_state_of_tuning_is_left_in_the_bank(made):
    left = [path.name for path in made.out.glob("bank/*/*") if path.name.startswith("checkpoint")]
    assert left == [] and len(list(made.out.glob("bank/*/metrics-tune-*.jsonl"))) == 2


def test_the_reference_is_the_score_of_the_tuned_prompts(made):
    for run in (made.first, made.second):
        reference = run.result["reference"]["100"]
        assert torch.equal(made.scores.behind(reference, made.data(ALL)), made.prompts(ALL))
    reference = made.second.result["reference"]["21"]
    assert torch.equal(made.scores.behind(reference, made.data(SEEN, 21)), made.prompts(SEEN, 21))
    assert list(made.first.result["reference"]) == ["100"]


def test_the_floors_are_chance_the_empty_prompt_and_the_start_of_the_seed(made):
    start = vocabulary_start(made.backbone, LENGTH, SEED)
    expected = {}
    for d in made.data(ALL):
        expected[d.task.name] = {
            "chance": chance(d),
            "empty": checksum(start[:0], d),
            "start": checksum(start, d),
        }
    assert made.first.result["floor"] == made.second.result["floor"] == expected


def test_the_subspace_is_found_from_the_seen_tasks_prompts(made):
    ours = subspace_of(made)
    bank, data = made.prompts(SEEN), made.data(SEEN)
    theirs = find_subspace(
        made.backbone,
        bank.unflatten(1, (LENGTH, -1)),
        data,
        FINDING,
        "small",
        SEED,
        Checkpoint.none(),
    )
    other = find_subspace(
        made.backbone,
        bank.unflatten(1, (LENGTH, -1)),
        data,
        FINDING,
        "small",
        SEED + 1,
        Checkpoint.none(),
    )
    for name, weights in ours.state_dict().items():
        same(weights, theirs.state_dict()[name])
    differ(ours.delta_encoder.project.weight[None], other.delta_encoder.project.weight[None])
    assert (ours.kind, ours.split, ours.seed, ours.dim, list(ours.tasks)) == (
        "msf",
        "small",
        SEED,
        2,
        SEEN,
    )


def test_reconstructions_go_through_the_autoencoder(made):
    subspace, bank = subspace_of(made), made.prompts(ALL)
    codes = read_tensors(made.first.folder / "codes.safetensors")[0]["codes"]
    torch.testing.assert_close(codes, subspace.encode(bank))
    rebuilt = subspace.decode(subspace.encode(bank))
    torch.testing.assert_close(behind(made, made.first, "train_msf", SEEN), rebuilt[:3])
    torch.testing.assert_close(behind(made, made.first, "test_msf", REST), rebuilt[3:])
    differ(rebuilt, bank)


def test_the_mean_code_is_that_of_the_seen_tasks_alone(made):
    subspace = subspace_of(made)
    codes = read_tensors(made.first.folder / "codes.safetensors")[0]["codes"]
    found = behind(made, made.first, "mean_code", REST)
    mean = codes[:3].mean(0, keepdim=True)
    torch.testing.assert_close(found, subspace.decode(mean).expand(2, -1))
    differ(found, subspace.decode(codes.mean(0, keepdim=True)).expand(2, -1))


def test_the_shared_prompt_is_tuned_on_the_seen_tasks_at_the_first_rate(made):
    start = vocabulary_start(made.backbone, LENGTH, SEED)
    data, none = made.data(SEEN), Checkpoint.none()
    found = behind(made, made.first, "shared", REST)
    kept = read_tensors(made.first.folder / "codes.safetensors")[0]["shared"]
    assert torch.equal(found, kept.expand(2, -1))
    ours = find_shared_prompt(made.backbone, start, data, FINDING, 0.3, SEED, none)
    same(kept, ours.flatten())
    for rate, seed in [(1.0, SEED), (0.3, SEED + 1)]:
        differ(
            kept[None],
            find_shared_prompt(made.backbone, start, data, FINDING, rate, seed, none).flatten()[
                None
            ],
        )


def test_an_msf_result_says_what_it_compresses(made):
    result = made.first.result
    assert result["kind"] == "msf" and result["dim"] == 2 and result["compresses"] is True
    assert result["prompts"] == hashlib.sha256(made.prompts(ALL).numpy().tobytes()).hexdigest()
    assert result["parameters"] == (2 * 8 + 8) + (8 * 48 + 48)  # d = 2, width 8, 3 x 16 numbers


def test_a_result_describes_tasks_and_split(made):
    expected = {}
    for name, task in tasks().items():
        fields = {"category": task.category, "metric": task.metric, "digest": task.digest}
        expected[name] = fields | {
            "subcategory": f"kind of {name}",
            "novel": name == "early",
            "knowledge": name == "late",
        }
    parts = {
        "seen": SEEN,
        "unseen": ["late"],
        "out_of_kind": ["first"],
        "new_subcategories": ["late"],
    }
    for run in (made.first, made.second):
        assert run.result["tasks"] == expected
        assert run.result["split"] == parts | {"name": "small"}


def test_the_card_states_the_means_of_the_generated_scores(made):
    mean = lambda scores: sum(s["generated"] for s in scores.values()) / len(scores)
    result = made.first.result
    expected = {
        "mean score: prompt tuning": mean(result["reference"]["100"]),
        "mean score: reconstructed prompts, train_msf": mean(result["scores"]["train_msf"]),
        "mean score: reconstructed prompts, test_msf": mean(result["scores"]["test_msf"]),
    }
    card = (made.first.folder / "subspace" / "README.md").read_text()
    assert subspace_of(made).scores == pytest.approx(expected)
    for name, value in expected.items():
        assert f"| {name} | {value:.3f} |" in card


def test_the_numbers_of_each_setting_are_tuned_from_the_best_codes_of_other_seen_tasks(made):
    subspace, found = subspace_of(made), vectors_of(made)
    data = [*made.data(SEEN), *made.data(SEEN, 21), *made.data(REST)]
    ours = torch.cat([found["train_same"], found["train_diff"], found["test"]])
    same(ours, tuned(made, subspace, data))
    differ(ours, starts(made, subspace, data)[:, 0])
    jobs = tried(made, "ist-train_same-train_diff-test")
    counts = {key: len(names) for key, names in jobs.items()}
    assert counts == {(d.task.name, d.data_seed): 3 for d in data}


@pytest.mark.parametrize(
    ("setting", "names", "data_seed"),
    [("train_same", SEEN, 100), ("train_diff", SEEN, 21), ("test", REST, 100)],
)
def test_each_setting_scores_its_own_numbers(made, setting, names, data_seed):
    subspace = subspace_of(made)
    found = behind(made, made.second, setting, names, data_seed)
    torch.testing.assert_close(found, subspace.decode(vectors_of(made)[setting]))


def test_the_best_code_is_the_first_start_of_unseen_tasks(made):
    subspace = subspace_of(made)
    begin = starts(made, subspace, made.data(REST))
    found = behind(made, made.second, "best_code", REST)
    torch.testing.assert_close(found, subspace.decode(begin[:, 0]))
    differ(found, subspace.decode(begin[:, 1]))


def rival(made, kind, names=SEEN, seed=SEED):
    bank = made.prompts(names)
    if kind == "pca":
        return Subspace.pca(bank, 2)
    start = vocabulary_start(made.backbone, LENGTH, seed).flatten()
    return Subspace.random(bank, 2, seed, through=start if kind == "start" else None)


@pytest.mark.parametrize("kind", ["start", "random", "pca"])
def test_a_rival_subspace_has_as_many_numbers_from_seen_prompts_and_the_same_search(made, kind):
    data, space = made.data(REST), rival(made, kind)
    found = behind(made, made.second, f"{kind}_test", REST)
    same(found, space.decode(tuned(made, space, data)))
    same(found, space.decode(space.encode(found)))
    others = [subspace_of(made), rival(made, "random", seed=SEED + 1)]
    # Directions and the start are the same whatever the seen prompts are.
    others.append(rival(made, "random") if kind == "start" else rival(made, kind, ALL))
    for other in others:
        differ(found, other.decode(other.encode(found)))
    jobs = tried(made, "ist-random-start" if kind == "start" else f"ist-{kind}")
    assert {key: len(names) for key, names in jobs.items()} == {("late", 100): 3, ("first", 100): 3}


def test_mixtures_have_as_many_numbers_and_are_scored_from_their_weights(made):
    bank, weights = made.prompts(SEEN), vectors_of(made)["mixture"]
    found = behind(made, made.second, "mixture_test", REST)
    torch.testing.assert_close(found, mixed(weights, bank))
    data, none = made.data(REST), Checkpoint.none()
    expected = mix(made.backbone, bank, SPLIT.seen, 2, data, NUMBERS, SEED, none)
    same(weights, expected)
    fewer = mix(made.backbone, bank, SPLIT.seen, 1, data, NUMBERS, SEED, none)
    differ(weights, fewer)
    assert len(tried(made, "ist-mixture")) == 2


def test_the_best_seen_prompt_is_the_seen_tasks_own(made):
    """Scored as it is: of the seen tasks the one with the least loss on the few shots."""
    bank, data = made.prompts(SEEN), made.data(REST)
    picks = SeenVectors(torch.eye(3), SPLIT.seen)
    best = choose_starts(made.backbone, lambda w: mixed(w, bank), data, picks, SEED, 4)
    found = behind(made, made.second, "best_seen", REST)
    ranks = []
    for row, anchors in zip(found, best, strict=True):
        is_own = (bank == row).all(1)
        assert int(is_own.sum()) == 1
        own = int(is_own.nonzero())
        # The mean, which may be better still, is none of them.
        ranks.append([int(a.argmax()) for a in anchors if a.max() == 1].index(own))
    assert ranks == [0, 0]
    # Control: the seen tasks' prompts differ, and so do their scores.
    differ(bank, bank.roll(1, 0))
    scores = made.second.result["scores"]["best_seen"]
    for d, row in zip(data, found, strict=True):
        others = [prompt for prompt in bank if not torch.equal(prompt, row)]
        assert scores[d.task.name]["generated"] == checksum(row, d)
        assert all(checksum(other, d) != checksum(row, d) for other in others)


def test_the_nearest_seen_prompt_is_that_of_the_definition(made):
    found = behind(made, made.second, "nearest_seen", REST)
    assert torch.equal(found, made.prompts(["early", "last"]))
    differ(found, made.prompts(["second", "second"]))


def test_an_ist_result_says_what_it_compresses(made):
    result = made.second.result
    assert (result["kind"], result["dim"], result["pca_dim"], result["compresses"]) == (
        "ist",
        2,
        2,
        True,
    )
    assert set(vectors_of(made)) == {"train_same", "train_diff", "test", "mixture"}

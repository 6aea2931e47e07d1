"""`ipt stability`: each score is of its method's prompt with its seed; the table by hand."""

import hashlib
import json
import shutil
from statistics import mean, stdev

import pytest
import torch
from small_runs import LENGTH, REST, SEED, SEEN, SHOTS, SPLIT, Shuffled, new_world
from soft_prompts import choose_starts, mix, mixed, tune_prompts, tune_vectors, vocabulary_start

from ipt.analysis.summaries import stability_table
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, TuneConfig
from ipt.methods.ist import SeenVectors
from ipt.methods.subspace import Subspace
from ipt.run import Run
from ipt.storage import read_json, read_tensors, write_json
from ipt.workflows.stability import FROM, IST, MIXTURE, PROMPT, stability, to_json

SEEDS = [7, 8, 9]
TUNING = TuneConfig(steps=6, eval_every=3, shots=SHOTS).with_rates((0.3, 1.0))
NUMBERS = IstConfig(steps=4, eval_every=2)
FLOORS = {
    "late": {"chance": 0.02, "empty": None, "start": 0.01},
    "first": {"chance": 0.0, "empty": 0.01, "start": 0.03},
}
STEPS = ("--run", "base", "--dim", "2", "--steps", "4", "--eval-every", "2")


@pytest.fixture(scope="module")
def made(tmp_path_factory, taught_folder):
    """A world with a run over three seeds, done in another order; its floors are planted."""
    world = new_world(tmp_path_factory.mktemp("small"), taught_folder, Shuffled())
    world.msf()
    path = world.bank() / "floor-6.json"
    floors = read_json(path)
    for name, scores in FLOORS.items():
        floors[name]["scores"] = scores
    write_json(path, floors)
    world.chosen = []

    def choose(*given):
        world.chosen.append(given[-2:])
        return choose_starts(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipt.workflows.ist.choose_starts", choose)
        world.ipt("stability", *STEPS, "--runs", "3", "--file", str(world.root / "summary.json"))
    (folder,) = world.out.glob("stability-*")
    world.run, world.bars = Run(folder), world.told.bars
    world.said = world.told.said
    return world


def table_of(scores, floors):
    """Return the table of these scores, in texts."""
    return stability_table({"rows": [to_json(row) for row in stability(scores, floors)]})


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def differ(ours, theirs):
    assert (ours - theirs).abs().flatten(1).max(1).values.min() > 1e-3


def subspace_of(made):
    return Subspace.load(made.out / "base" / "subspace")


def tensors_of(made):
    return read_tensors(made.run.folder / "vectors.safetensors")[0]


def behind(made, method):
    """Return the prompts [seeds, tasks, n, h] behind a method's scores on the unseen tasks."""
    scores = made.run.result["by_seed"][method]
    data = made.data(REST)
    assert scores.keys() == set(REST) and {len(values) for values in scores.values()} == {3}
    rows = []
    for i in range(3):
        prompts = [made.scores.one(scores[d.task.name][i], d) for d in data]
        rows.append(torch.stack(prompts))
    return torch.stack(rows)


def each_seed(made):
    """Return the unseen tasks' sets, all for a seed, then for the next, and the seed of each."""
    data, seeds = [], []
    for seed in SEEDS:
        data += made.data(REST)
        seeds += [seed] * len(REST)
    return data, seeds


def best_starts(made, subspace):
    seen = SeenVectors(subspace.encode(made.prompts(SEEN)), SPLIT.seen)
    backbone, data = made.backbone, made.data(REST)
    found = [choose_starts(backbone, subspace.decode, data, seen, seed, 3) for seed in SEEDS]
    return torch.cat(found)


def test_prompt_tuning_is_scored_with_each_seeds_own_prompts(made):
    found = behind(made, PROMPT)
    for i, seed in enumerate(SEEDS):
        prompts = made.prompts(REST, seed=seed)
        assert torch.equal(found[i], prompts)
        begin, data = vocabulary_start(made.backbone, LENGTH, seed), made.data(REST)
        expected = tune_prompts(made.backbone, data, TUNING, seed, Checkpoint.none(), begin)
        same(prompts, torch.stack([t.prompt.flatten() for t in expected]))


def test_numbers_are_tuned_with_each_seed_from_its_own_starts(made):
    subspace, vectors = subspace_of(made), tensors_of(made)["vectors"]
    data, seeds = each_seed(made)
    begin, none = best_starts(made, subspace), Checkpoint.none()
    expected, _ = tune_vectors(made.backbone, subspace, data, NUMBERS, seeds, none, start=begin)
    same(vectors, expected)
    differ(vectors[:2], vectors[2:4])
    torch.testing.assert_close(behind(made, IST).flatten(0, 1), subspace.decode(vectors))


def test_mixtures_are_of_the_runs_own_seen_prompts_with_each_seed(made):
    bank, weights = made.prompts(SEEN), tensors_of(made)["mixture"]
    data, none, expected = made.data(REST), Checkpoint.none(), []
    for seed in SEEDS:
        expected.append(mix(made.backbone, bank, SPLIT.seen, 2, data, NUMBERS, seed, none))
    same(weights, torch.cat(expected))
    differ(weights[:2], weights[2:4])
    torch.testing.assert_close(behind(made, MIXTURE).flatten(0, 1), mixed(weights, bank))


@pytest.mark.parametrize("method", [IST, MIXTURE])
def test_prompt_tuning_from_a_solution_starts_there_and_is_scored(made, method):
    found, begin = behind(made, FROM[method]), behind(made, method)
    kept = tensors_of(made)[f"prompts from {method}"]
    assert torch.equal(found.flatten(0, 1), kept)
    data, seeds = each_seed(made)
    none, begin = Checkpoint.none(), begin.flatten(0, 1).unflatten(1, (LENGTH, -1))
    expected = tune_prompts(made.backbone, data, TUNING, seeds, none, begin)
    same(kept, torch.stack([t.prompt.flatten() for t in expected]))


def test_the_table_is_made_of_the_scores_and_the_highest_floors(made):
    result = made.run.result
    scores, floor = result["by_seed"], {"late": 0.02, "first": 0.03}
    spread = {}
    for method, each in scores.items():
        spread[method] = mean(stdev(values) for values in each.values())
    reference = {name: mean(values) for name, values in scores[PROMPT].items()}
    rows = []
    for method in (PROMPT, IST, MIXTURE, FROM[IST], FROM[MIXTURE]):
        means = {name: mean(values) for name, values in scores[method].items()}
        relative = mean(means[name] / reference[name] for name in REST)
        above = [(means[name] - floor[name]) / (reference[name] - floor[name]) for name in REST]
        row = [
            method,
            "2",
            "3",
            f"{mean(means.values()):.3f}",
            f"{100 * relative:.1f}",
            f"{100 * mean(above):.1f}",
        ]
        rows.append([*row, f"{spread[method]:.3f}", f"{spread[method] / spread[PROMPT]:.2f}"])
    assert min(reference.values()) > 0.13  # both tasks are above their floors
    assert stability_table(result).rows == rows


def test_a_result_names_its_seeds_and_the_digest_of_its_scores(made):
    result, summary = made.run.result, read_json(made.root / "summary.json")
    digest = hashlib.sha256(json.dumps(result["by_seed"], sort_keys=True).encode()).hexdigest()
    assert (result["kind"], result["dim"], result["seeds"], result["digest"]) == (
        "stability",
        2,
        SEEDS,
        digest,
    )
    assert result["scores"] == {}
    assert {key: summary[key] for key in ("kind", "rows", "digest", "by_seed")} == {
        key: result[key] for key in ("kind", "rows", "digest", "by_seed")
    }
    assert summary["seed"] == SEED


def test_starts_are_chosen_with_each_seed(made):
    assert made.chosen == [(seed, 3) for seed in SEEDS]  # three of the codes


def test_prompts_of_all_seeds_are_tuned_in_one_run(made):
    told = [text for text in made.said if text.startswith("tuning")]
    assert told == ["tuning 4 deltas, data seed 100 (2 are in the bank)"]


def test_every_stage_tells_how_far_it_is(made):
    expected = {
        "tuning",
        "IST, all seeds",
        "tuning mixtures of seen prompts",
        *FROM.values(),
    }
    expected |= {"scoring prompt tuning, data seed 100"}
    for method in (IST, MIXTURE, *FROM.values()):
        expected |= {f"scoring {method}, seed {seed}" for seed in SEEDS}
    silent = {"best seen codes, msf subspace"}
    assert made.bars.keys() == expected | silent
    assert {title for title, count in made.bars.items() if not count} == silent


def test_each_seed_draws_its_own_noise(made):
    before = set(made.out.glob("stability-*"))
    made.ipt("stability", *STEPS, "--runs", "2", "--start", "noise", "--learning-rates", "1e-9")
    (folder,) = set(made.out.glob("stability-*")) - before
    vectors = read_tensors(folder / "vectors.safetensors")[0]["vectors"]
    shutil.rmtree(folder)
    draws = []
    for seed in (7, 7, 8, 8):
        draws.append(0.02 * torch.randn(2, generator=torch.Generator().manual_seed(seed)))
    torch.testing.assert_close(vectors, torch.stack(draws), rtol=0, atol=1e-6)


def test_a_run_that_broke_off_goes_on_with_what_was_trained(made, tmp_path, monkeypatch):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    world = made.copy(tmp_path)
    (world.out / made.run.folder.name / "result.json").unlink()
    saved = []
    save = Checkpoint.save

    def count(checkpoint, tensors):
        saved.append(checkpoint.path.stem)
        save(checkpoint, tensors)

    with monkeypatch.context() as patch:
        patch.setattr("ipt.workflows.stability.write_tensors", full)
        patch.setattr(Checkpoint, "save", count)
        world.ipt("stability", *STEPS, "--runs", "3", "--checkpoint-seconds", "0", ends=2)
    stages = ["ist", "ist-mixture-7", "ist-mixture-8", "ist-mixture-9", "from-IST", "from-mixture"]
    assert list(dict.fromkeys(saved)) == [f"checkpoint-{stage}" for stage in stages]
    often = [saved.count(f"checkpoint-{stage}") for stage in stages]
    assert often == [
        5,
        5,
        5,
        5,
        1,
        1,
    ]  # each of four steps and the end; prompt tuning has seconds of its own
    monkeypatch.setattr("ipt.training.loop.backward", full)
    world.ipt("stability", *STEPS, "--runs", "3")
    assert Run(world.out / made.run.folder.name).result == made.run.result


def test_figures_on_paper():
    """Spreads (0.1 + 0.2) / 2 and (0.3 + 0) / 2; the second task is no 0.10 above its floor."""
    scores = {
        PROMPT: {"a": [0.4, 0.5, 0.6], "b": [0.2, 0.4, 0.6]},
        IST: {"a": [0.1, 0.4, 0.7], "b": [0.2, 0.2, 0.2]},
    }
    rows = table_of(scores, {"a": 0.3, "b": 0.31}).rows
    assert rows[0] == [PROMPT, "2", "3", "0.450", "100.0", "100.0", "0.150", "1.00"]
    assert rows[1] == [IST, "2", "3", "0.300", "65.0", "50.0", "0.150", "1.00"]
    other = {**scores, IST: {"a": [0.3, 0.3, 0.3], "b": [0.1, 0.1, 0.7]}}
    narrow = table_of(other, {"a": 0.3, "b": 0.2}).rows[1]
    assert narrow == [IST, "2", "3", "0.300", "67.5", "25.0", "0.173", "1.15"]

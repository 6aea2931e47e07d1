"""Where prompts start, and the bank: it returns what was put, for the task and rows that it was put for, and nothing else."""

import hashlib
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import toy_backbone, toy_task
from safetensors.torch import load_file, save_file
from soft_prompts import vocabulary_start
from torch import nn

from ipt.bank import DeltaBank
from ipt.methods.tuning import TunedDelta


class Vocabulary:
    """Seven tokens of which the first and the fourth are special; the embedding has ten rows."""

    all_special_ids = [0, 3]

    def __len__(self):
        return 7


def small(dtype=torch.float32, scale=1.0):
    """A stand-in for a model whose embedding's row i is [i, -i], times what the family scales by."""
    weight = torch.tensor([[float(i), -float(i)] for i in range(10)])
    table = nn.Embedding.from_pretrained(weight.to(dtype))
    return SimpleNamespace(
        tokenizer=Vocabulary(), embed=lambda ids: scale * table(ids), device=torch.device("cpu")
    )


def test_a_prompt_starts_from_every_word_once_before_any_comes_again():
    start = vocabulary_start(small(), 5, seed=3)
    assert sorted(start[:, 0].tolist()) == [
        1,
        2,
        4,
        5,
        6,
    ]  # no special token, no row that no token has
    assert torch.equal(start[:, 1], -start[:, 0])
    for seed in range(20):
        few = vocabulary_start(small(), 2, seed)[:, 0].tolist()
        assert len(set(few)) == 2 and set(few) <= {1, 2, 4, 5, 6}


def test_a_prompt_longer_than_the_vocabulary_is_an_error_with_the_count():
    with pytest.raises(ValueError, match="prompt_length 6 exceeds the vocabulary's 5 rows"):
        vocabulary_start(small(), 6, seed=3)


def test_the_seed_alone_decides_the_start():
    """And a longer prompt of a seed begins with the shorter one: the order of words is drawn, then cut."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = vocabulary_start(small(), 4, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(vocabulary_start(small(), 4, seed=3), first)
    assert torch.equal(vocabulary_start(small(), 2, seed=3), first[:2])
    starts = {tuple(vocabulary_start(small(), 4, seed)[:, 0].tolist()) for seed in range(10)}
    assert len(starts) > 5  # control: seeds differ


def test_the_order_of_a_seed_is_torchs():
    """The words of published runs: another order would start them elsewhere."""
    words = [1, 2, 4, 5, 6]
    order = torch.randperm(5, generator=torch.Generator().manual_seed(42)).tolist()
    assert vocabulary_start(small(), 3, seed=42)[:, 0].tolist() == [words[i] for i in order[:3]]


def test_a_start_has_the_familys_scale_and_at_least_float32():
    assert torch.equal(
        vocabulary_start(small(scale=3.0), 5, 1), 3 * vocabulary_start(small(), 5, 1)
    )
    for given, kept in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        start = vocabulary_start(small(given), 2, 1)
        assert start.dtype == kept and torch.equal(start.float(), vocabulary_start(small(), 2, 1))


def test_a_start_is_rows_of_a_real_models_embedding():
    backbone = toy_backbone()
    start = vocabulary_start(backbone, 4, seed=0)
    distance = (start[:, None] - backbone.weight[None]).abs().amax(2)
    rows = distance.argmin(1).tolist()
    assert torch.equal(start, backbone.weight[rows]) and not set(rows) & set(
        backbone.tokenizer.all_special_ids
    )


SETTING = {
    "seed": 42,
    "backbone": "abc",
    "tune": {"steps": 8, "learning_rates": [0.3, 1.0]},
    "data_seed": 100,
}
FIRST, SECOND = toy_task("first", rows=20), toy_task("second", rows=20)


def tuned(seed, rate=0.3, loss=1.25, steps=80):
    delta = torch.randn(12, generator=torch.Generator().manual_seed(seed))
    return TunedDelta(delta, rate, loss, steps)


def same(found, put):
    return (
        torch.equal(found.delta, put.delta)
        and found.delta.dtype == put.delta.dtype
        and (
            (found.learning_rate, found.dev_loss, found.steps)
            == (put.learning_rate, put.dev_loss, put.steps)
        )
    )


def test_each_task_gets_back_exactly_its_own_prompt(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    one, other = tuned(1, 0.1 + 0.2, 1 / 3, 17), tuned(2, 1.0, math.pi, 120)
    bank.put(FIRST, one)
    bank.put(SECOND, other)
    again = DeltaBank(tmp_path, SETTING)  # from the disk
    assert same(again.get(FIRST), one) and same(again.get(SECOND), other)
    assert not same(again.get(FIRST), other)  # control
    assert again.missing([SECOND, FIRST]) == []


def test_a_prompt_that_is_put_again_takes_the_place_of_the_old_one(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    bank.put(FIRST, tuned(1))
    bank.put(FIRST, tuned(2, 1.0, 0.5, 3))
    assert same(bank.get(FIRST), tuned(2, 1.0, 0.5, 3))


def test_a_prompt_of_an_older_bank_is_read_row_by_row(tmp_path):
    """It was kept as [n, h]."""
    bank = DeltaBank(tmp_path, SETTING)
    put = tuned(1)
    bank.folder.mkdir(parents=True)
    note = {"learning_rate": 0.3, "dev_loss": 1.25, "steps": 80}
    metadata = {"digest": FIRST.digest, "note": json.dumps(note)}
    save_file({"prompt": put.delta.view(3, 4)}, bank.folder / "first.safetensors", metadata)
    assert same(bank.get(FIRST), put)
    bank.put(SECOND, put)
    kept = load_file(bank.folder / "second.safetensors")
    assert kept.keys() == {"prompt"} and torch.equal(kept["prompt"], put.delta)


def test_a_prompt_that_was_given_has_no_dev_loss(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    bank.put(FIRST, tuned(1, 0.0, float("nan"), 0))
    assert math.isnan(bank.get(FIRST).dev_loss) and bank.get(FIRST).steps == 0


def test_other_rows_of_a_task_have_no_prompt_yet(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    assert bank.get(FIRST) is None and bank.missing([FIRST, SECOND]) == [FIRST, SECOND]
    bank.put(FIRST, tuned(1))
    changed = replace(FIRST, examples=FIRST.examples[:-1])
    assert bank.get(changed) is None and bank.missing([FIRST, changed, SECOND]) == [changed, SECOND]


def test_a_damaged_prompt_is_an_error_that_names_it(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    bank.put(FIRST, tuned(1))
    (bank.folder / "first.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="first.safetensors is not a readable"):
        bank.get(FIRST)


def test_a_bank_is_named_by_the_hash_of_its_whole_setting(tmp_path):
    text = json.dumps(SETTING, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    bank = DeltaBank(tmp_path, SETTING)
    assert bank.folder == tmp_path / "bank" / name
    turned = dict(reversed(SETTING.items()))
    assert DeltaBank(tmp_path, turned).folder == bank.folder
    bank.put(FIRST, tuned(1))
    assert json.loads((bank.folder / "setting.json").read_text()) == SETTING
    assert sorted(path.name for path in bank.folder.iterdir()) == [
        "first.safetensors",
        "setting.json",
    ]
    deep = SETTING | {"tune": {"steps": 9, "learning_rates": [0.3, 1.0]}}
    others = [SETTING | {"seed": 43}, deep, SETTING | {"given": "0"}]
    assert len({DeltaBank(tmp_path, other).folder for other in (SETTING, *others)}) == 4
    assert DeltaBank(tmp_path, deep).get(FIRST) is None


def test_the_setting_is_written_once(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    bank.put(FIRST, tuned(1))
    before = (bank.folder / "setting.json").stat().st_mtime_ns
    bank.put(SECOND, tuned(2))
    assert (bank.folder / "setting.json").stat().st_mtime_ns == before


def test_kept_scores_count_for_their_rows_and_kind_alone(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    assert bank.scores("reference", [FIRST], "all") == {}
    bank.put_scores("reference", [FIRST], "all", {"first": {"generated": 0.5}})
    bank.put_scores("reference", [FIRST], "6", {"first": {"generated": 0.6}})
    bank.put_scores("reference", [FIRST], "all-dev", {"first": {"generated": 0.7}})
    bank.put_scores("floor", [FIRST], "all", {"first": {"chance": 0.1}})
    again = DeltaBank(tmp_path, SETTING)
    assert again.scores("reference", [FIRST], "all") == {"first": {"generated": 0.5}}
    assert again.scores("reference", [FIRST], "6") == {"first": {"generated": 0.6}}
    assert again.scores("reference", [FIRST], "all-dev") == {"first": {"generated": 0.7}}
    assert again.scores("floor", [FIRST], "all") == {"first": {"chance": 0.1}}
    assert again.scores("reference", [FIRST], "6-dev") == {} == again.scores("floor", [FIRST], "6")


def test_kept_scores_are_those_of_the_tasks_that_are_asked_for_and_of_their_data(tmp_path):
    bank = DeltaBank(tmp_path, SETTING)
    bank.put_scores("reference", [FIRST], "all", {"first": 0.5, "second": 0.9})
    bank.put_scores(
        "reference", [SECOND], "all", {"first": 0.1, "second": 0.25}
    )  # keeps the first's
    assert bank.scores("reference", [SECOND, FIRST], "all") == {"second": 0.25, "first": 0.5}
    assert bank.scores("reference", [SECOND], "all") == {"second": 0.25}
    changed = replace(FIRST, metric="rouge-L")
    assert bank.scores("reference", [changed, SECOND], "all") == {"second": 0.25}
    bank.put_scores("reference", [changed], "all", {"first": 0.75})
    assert bank.scores("reference", [changed, SECOND], "all") == {"first": 0.75, "second": 0.25}
    assert bank.scores("reference", [FIRST], "all") == {}

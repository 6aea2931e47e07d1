"""The recipe of the embedded backbone: tokenizer, rows, batches, loss, resuming, export."""

import json
import random
from collections.abc import Iterator
from itertools import count, cycle, islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from ipt.backbones.pretraining import (
    SENTINELS,
    Position,
    Pretraining,
    TextRow,
    answer_loss,
    build_model,
    export,
    mixed_rows,
    pretrain,
    spans,
    token_batches,
    train_tokenizer,
)
from ipt.config import PretrainConfig

WORDS = ("red", "blue", "green", "tall", "small", "fast", "slow", "warm", "cold", "soft")
TASKS = {
    "copy": (("Copy the text.", "Repeat what is given."), lambda words: " ".join(words)),
    "first": (("Give the first word.", "Which word comes first?"), lambda words: words[0]),
    "upper": (("Write the last word in capitals.",), lambda words: words[-1].upper()),
}


def toy_stream(seed: int) -> Iterator[tuple[tuple[str, ...], str, str, str]]:
    rng = random.Random(seed)
    while True:
        task = rng.choice(list(TASKS))
        words = [rng.choice(WORDS) + str(rng.randint(0, 99)) for _ in range(rng.randint(1, 4))]
        definitions, solve = TASKS[task]
        yield definitions, " ".join(words), solve(words), task


def toy_config(**changes: object) -> PretrainConfig:
    tiny = dict(
        minutes=0.04,
        width=32,
        inner_width=48,
        heads=2,
        head_width=16,
        encoder_layers=1,
        decoder_layers=1,
        vocabulary=400,
        token_budget=1024,
        warmup_steps=5,
        tokenizer_rows=500,
        bfloat16=False,
    )
    return PretrainConfig(**{**tiny, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokenizer():
    rows = islice(mixed_rows(toy_stream(1), None, 1), 500)
    return train_tokenizer((" ".join(row) for row in rows), 400)


def test_tokenizer_splits_digits_and_keeps_any_text(tokenizer):
    text = "red 1024, naïve Ω\n"
    ids = tokenizer(text, add_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert {"1", "0", "2", "4"} <= set(tokenizer.convert_ids_to_tokens(ids))
    assert tokenizer.eos_token_id not in ids
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert len(tokenizer(SENTINELS[0], add_special_tokens=False)["input_ids"]) == 1


def test_hidden_spans_can_be_put_back():
    rng = random.Random(0)
    for length in range(1, 40):
        line = " ".join(f"w{i}" for i in range(length))
        prefix, source, target = spans(line, rng)
        pieces = target.split()
        hidden: dict[str, list[str]] = {}
        for piece in pieces:
            if piece in SENTINELS:
                key = piece
                hidden[key] = []
            else:
                hidden[key].append(piece)
        restored = [w for word in source.split() for w in hidden.get(word, [word])]
        assert prefix == "" and hidden and " ".join(restored) == line


def test_every_form_of_row_occurs():
    def draw():
        text = (f"plain line {i}" for i in count())
        return list(islice(mixed_rows(toy_stream(0), text, 0), 2000))

    rows = draw()
    prefixes = [prefix for prefix, _, _ in rows]
    assert 0.05 < sum(prefix == "" for prefix in prefixes) / len(rows) < 0.2
    assert 0.2 < sum("->" in prefix for prefix in prefixes) / len(rows) < 0.45
    assert any("plain" in source + target and "<extra" in source for _, source, target in rows)
    assert rows == draw()


def test_batches_fill_the_budget_and_tokenise_prefix_and_input_apart(tokenizer):
    row = TextRow("Copy the text.\n", "red12", "red12")
    batch = next(token_batches(cycle([row]), tokenizer, 512))
    apart = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in row]
    ids = batch["input_ids"][0][batch["attention_mask"][0] > 0]
    assert ids.tolist() == [*apart[0], *apart[1], tokenizer.eos_token_id]
    labels = batch["labels"][0]
    assert labels[labels >= 0].tolist() == [*apart[2], tokenizer.eos_token_id]
    total = 0
    for batch in islice(token_batches(mixed_rows(toy_stream(0), None, 0), tokenizer, 1024), 20):
        assert batch["input_ids"].numel() + 2 * batch["labels"].numel() < 1024 + 128 + 2 * 48
        assert (batch["attention_mask"].sum(1) > 0).all()
        assert ((batch["labels"] >= 0).sum(1) > 0).all()
        total += len(batch["labels"])
    assert total > 100


def load(folder: Path):
    return AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def test_a_run_learns_and_a_resumed_run_goes_on(tmp_path: Path):
    config = toy_config()
    pretrain(toy_stream, None, config, tmp_path)
    first = json.loads((tmp_path / "checkpoint.json").read_text())
    model = load(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    batch = next(token_batches(mixed_rows(toy_stream(9), None, 9), tokenizer, 2048))
    fresh = build_model(config, len(tokenizer))
    with torch.no_grad():
        assert model(**batch).loss < 0.9 * fresh(**batch).loss
    pretrain(toy_stream, None, toy_config(minutes=first["seconds"] / 60 + 0.01), tmp_path)
    second = json.loads((tmp_path / "checkpoint.json").read_text())
    assert second["step"] > first["step"] and second["rows"] > first["rows"]


def test_export_is_the_model_within_float16(tmp_path: Path, tokenizer):
    model = build_model(toy_config(), len(tokenizer))
    export(model, tokenizer, tmp_path)
    loaded = load(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-6), name
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert again("red 12")["input_ids"] == tokenizer("red 12")["input_ids"]


def test_answer_loss_is_the_models_own(tokenizer):
    model = build_model(toy_config(), len(tokenizer))
    batch = next(token_batches(mixed_rows(toy_stream(0), None, 0), tokenizer, 1024))
    torch.testing.assert_close(answer_loss(model, batch), model(**batch).loss)


def test_a_resumed_run_drops_metrics_of_after_its_checkpoint(tmp_path: Path):
    """Two lines of metrics, the second after the checkpoint; older weights are removed."""
    config = toy_config()
    run = Pretraining(config, tmp_path, 300)
    run.position = Position(step=1, rows=8, seconds=0.5)
    run.save()
    run.position = Position(step=2, rows=16, seconds=1.0)
    run.log(3.0)
    run.save()
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["checkpoint-2.safetensors"]
    run.position = Position(step=3, rows=24, seconds=1.5)
    run.log(2.0)
    resumed = Pretraining(config, tmp_path, 300)
    assert resumed.position == Position(step=2, rows=16, seconds=1.0)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [3.0]
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


def test_the_rate_warms_up_by_steps_and_falls_to_zero_by_time(tmp_path: Path):
    run = Pretraining(toy_config(minutes=1.0, warmup_steps=10), tmp_path, 300)
    assert run.rate_factor(5, 0.0) == 0.5
    assert run.rate_factor(10, 15.0) == 0.75
    assert run.rate_factor(100, 60.0) == 0.0

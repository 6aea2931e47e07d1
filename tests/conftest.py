"""A toy world for tests: a tiny random T5 in float64 with a tokenizer of its own, and toy tasks over one input distribution."""

import json
import os
import random
import string

if "PYTEST_XDIST_WORKER" in os.environ:  # read when torch is first imported: as many workers as cores, one thread each
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ipt import cli
from ipt.autoencoder import Subspace
from ipt.backbone import Backbone
from ipt.config import IstConfig, MsfConfig, TuneConfig, identity
from ipt.data import Example, Task
from ipt.families import EncoderDecoder
from ipt.run import Run, write_tensors

WORDS = ("red", "blue", "green", "tall", "small", "fast", "slow", "warm", "cold", "soft", "hard", "dark")


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level characters: every text can be written."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders

    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def toy_backbone(seed: int = 0, dtype: torch.dtype = torch.float64) -> Backbone:
    """A frozen random T5 with hidden size 16."""
    torch.manual_seed(seed)
    tokenizer = toy_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.1,
        feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return EncoderDecoder(T5ForConditionalGeneration(config).to(dtype), tokenizer, "toy")


def toy_task(name: str, rows: int = 300, seed: int = 0) -> Task:
    """Answer a word of the input (`first`, `second`, `last`), or say whether its first letter comes early (cls)."""
    rng = random.Random(f"{name}{seed}")
    seen, examples = set(), []
    while len(examples) < rows:
        words = [rng.choice(WORDS) + rng.choice(string.ascii_lowercase) for _ in range(3)]
        text = " ".join(words)
        if text in seen:
            continue
        seen.add(text)
        answer = {"first": words[0], "second": words[1], "last": words[2]}.get(name, "no" if words[0][0] > "g" else "yes")
        examples.append(Example(text, (answer,)))
    cls = name not in ("first", "second", "last")
    return Task(
        name=name, category="cls" if cls else "non-cls", subcategory="toy", metric="accuracy" if cls else "exact-match",
        definition="Toy.", examples=tuple(examples), options=("yes", "no") if cls else None, family=name,
    )  # fmt: skip


@pytest.fixture
def backbone() -> Backbone:
    return toy_backbone()


@pytest.fixture
def tasks() -> list[Task]:
    return [toy_task(name) for name in ("first", "second", "last", "early")]


QUICK = {
    "--steps": 8, "--tune.steps": 8, "--eval-every": 4, "--tune.eval-every": 4, "--tune.prompt-length": 3, "--tune.shots": 6,
    "--dim": 2, "--inner-width": 8, "--rows-per-step": 8,
}  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder of five toy tasks and a folder with a toy backbone."""
    root = tmp_path_factory.mktemp("world")
    backbone = toy_backbone(dtype=torch.float32)
    backbone.model.save_pretrained(root / "model")
    backbone.tokenizer.save_pretrained(root / "model")
    (root / "tasks").mkdir()
    for name in ("first", "second", "last", "early", "late"):
        (root / "tasks" / f"{name}.json").write_text(json.dumps(toy_task(name).to_dict()), encoding="utf8")
    return root


def source(world):
    return {"--tasks": world / "tasks", "--seen": 3, "--unseen": 2, "--model": world / "model", "--limit": 6}


def msf_words(world, out, *more):
    flags = source(world) | {"--out": out} | QUICK | dict(zip(more[::2], more[1::2], strict=True))
    return ["msf", *(str(word) for pair in flags.items() for word in pair)]


def ist_words(out, *more):
    return ["ist", "--dim", "2", "--out", str(out), "--steps", "6", "--eval-every", "3", *more]


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    assert cli.main(msf_words(world, out)) == 0
    assert cli.main(ist_words(out)) == 0
    return out


ALL = ("train_same", "train_diff", "test", "random_test", "pca_test")


def hand_made(out, seen, unseen, seed=42, kept=ALL, dim=3, shots=None, **msf):
    """Write an MSF run and an IST run by hand, tasks given as name to subcategory; return the IST run's folder.

    kept: settings that the IST run has scores for; msf: settings of MSF.
    """
    rng, tasks = random.Random(seed), seen | unseen
    about = {"category": "non-cls", "metric": "exact-match", "novel": False, "knowledge": False, "digest": ""}
    split = {"seen": list(seen), "unseen": list(unseen), "out_of_kind": [], "new_subcategories": []}
    score = lambda names: {n: {"generated": round(rng.uniform(0.2, 1), 2), "ranked": None} for n in names}
    common = {
        "dim": dim, "compresses": True, "split": split | {"name": "made"},
        "tasks": {n: about | {"subcategory": s} for n, s in tasks.items()},
        "reference": {"100": score(tasks), "21": score(seen)}, "floor": {n: {"chance": 0.1, "empty": 0.0, "start": 0.0} for n in tasks},
    }  # fmt: skip
    settings = {"kind": "msf", "split": "made", "tasks": "made", "parts": split, "model": "mini", "dtype": "float32", "seed": seed}
    settings |= {"limit": 0, "backbone": "", "tune": identity(TuneConfig(shots=shots)), "digests": {}}
    stages = {
        "msf": ({"msf": identity(MsfConfig(dim=dim, **msf))}, {"train_msf": seen, "test_msf": unseen}, ()),
        "ist": (
            {"ist": identity(IstConfig()), "msf_run": f"msf-{seed}"},
            {"train_same": seen, "train_diff": seen, "test": unseen, "random_test": unseen, "pca_test": unseen},
            kept,
        ),
    }
    for kind, (more, scored, wanted) in stages.items():
        run = Run.open(out / f"{kind}-{seed}", settings | {"kind": kind} | more)
        scores = {s: score(names) for s, names in scored.items() if names and (kind == "msf" or s in wanted)}
        vectors = {
            s: torch.randn(len(names), dim) for s, names in scored.items() if s in scores and s in ("train_same", "train_diff", "test")
        }
        write_tensors(run.folder / "vectors.safetensors", vectors)
        torch.manual_seed(seed)
        Subspace(3, 4, dim, 8, "msf", "mini", "made", seed).save_pretrained(run.folder / "subspace")
        run.finish(common | {"kind": kind, "scores": scores})
    return out / f"ist-{seed}"

"""A toy world for tests: a tiny random T5 in float64 with a tokenizer of its own, and toy tasks over one input distribution."""

import os
import random
import re
import shutil
import string
from html.parser import HTMLParser

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # read when torch is first imported: as many workers as cores, one thread each
    os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from fitted import save_tasks, save_taught, taught_backbone
from small_runs import base, copied, empty  # noqa: F401 (fixtures)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ipt.backbones.base import Backbone
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.cli import app as cli
from ipt.config import IstConfig, MsfConfig, TuneConfig
from ipt.data import Example, Task
from ipt.methods.subspace import Subspace
from ipt.provenance import to_record
from ipt.run import Run
from ipt.storage import write_json, write_tensors
from ipt.workflows.stability import FROM, IST, PROMPT, stability, to_json

VOID = {"meta", "input", "br", "img", "link"}  # tags that are never closed
WORDS = (
    "red",
    "blue",
    "green",
    "tall",
    "small",
    "fast",
    "slow",
    "warm",
    "cold",
    "soft",
    "hard",
    "dark",
)


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
        answer = {"first": words[0], "second": words[1], "last": words[2]}.get(
            name, "no" if words[0][0] > "g" else "yes"
        )
        examples.append(Example(text, (answer,)))
    cls = name not in ("first", "second", "last")
    return Task(
        name=name, category="cls" if cls else "non-cls", subcategory="toy", metric="accuracy" if cls else "exact-match",
        definition="Toy.", examples=tuple(examples), options=("yes", "no") if cls else None, family=name,
    )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def faults_fail():
    """Let a fault of the program fail the test with its own trace: the net of `main` is for users."""

    def raise_again(error, tokens):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipt.cli.app.report_fault", raise_again)
        yield


@pytest.fixture
def backbone() -> Backbone:
    return toy_backbone()


@pytest.fixture
def tasks() -> list[Task]:
    return [toy_task(name) for name in ("first", "second", "last", "early")]


QUICK = {
    "--steps": 8, "--tune.steps": 8, "--eval-every": 4, "--tune.eval-every": 4, "--tuner": "soft-prompt:prompt_length=3", "--tune.shots": 6,
    "--dim": 2, "--inner-width": 8, "--rows-per-step": 8,
}  # fmt: skip


@pytest.fixture(scope="session")
def taught_folder(request):
    """The folder of the taught model (see `fitted`), kept in pytest's cache."""
    return save_taught(request.config.cache.mkdir("taught"))


@pytest.fixture
def taught(taught_folder):
    """The taught model in float32."""
    return taught_backbone(taught_folder)


@pytest.fixture(scope="session")
def world(tmp_path_factory, taught_folder):
    """A folder of the five tasks that the model was taught, and its folder."""
    root = tmp_path_factory.mktemp("world")
    shutil.copytree(taught_folder, root / "model")
    save_tasks(root / "tasks")
    return root


def source(world):
    return {
        "--tasks": world / "tasks",
        "--seen": 3,
        "--unseen": 2,
        "--model": world / "model",
        "--test-rows": 6,
    }


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


ALL = ("train_same", "train_diff", "test", "start_test", "random_test", "pca_test", "mixture_test")


def hand_made(out, seen, unseen, seed=42, kept=ALL, dim=3, shots=None, **msf):
    """Write an MSF run and an IST run by hand, tasks given as name to subcategory; return the IST run's folder.

    kept: settings that the IST run has scores for; msf: settings of MSF.
    """
    rng, tasks = random.Random(seed), seen | unseen
    about = {
        "category": "non-cls",
        "metric": "exact-match",
        "novel": False,
        "knowledge": False,
        "digest": "",
    }
    split = {"seen": list(seen), "unseen": list(unseen), "out_of_kind": [], "new_subcategories": []}
    score = lambda names: {
        n: {"generated": round(rng.uniform(0.2, 1), 2), "ranked": None} for n in names
    }
    common = {
        "dim": dim, "compresses": True, "split": split | {"name": "made"},
        "tasks": {n: about | {"subcategory": s} for n, s in tasks.items()},
        "reference": {"100": score(tasks), "21": score(seen)}, "floor": {n: {"chance": 0.1, "empty": 0.0, "start": 0.0} for n in tasks},
    }  # fmt: skip
    settings = {
        "kind": "msf",
        "split": "made",
        "tasks": "made",
        "parts": split,
        "model": "mini",
        "dtype": "float32",
        "seed": seed,
    }
    settings |= {
        "limit": 0,
        "backbone": "",
        "tune": to_record(TuneConfig(shots=shots)),
        "digests": {},
    }
    stages = {
        "msf": (
            {"msf": to_record(MsfConfig(dim=dim, **msf))},
            {"train_msf": seen, "test_msf": unseen},
            (),
        ),
        "ist": (
            {"ist": to_record(IstConfig()), "msf_run": f"msf-{seed}"},
            {
                "train_same": seen,
                "train_diff": seen,
                "test": unseen,
                "random_test": unseen,
                "pca_test": unseen,
                "mixture_test": unseen,
                "start_test": unseen,
            },
            kept,
        ),
    }
    torch.manual_seed(seed)
    for kind, (more, scored, wanted) in stages.items():
        run = Run.open(out / f"{kind}-{seed}", settings | {"kind": kind} | more)
        scores = {
            s: score(names)
            for s, names in scored.items()
            if names and (kind == "msf" or s in wanted)
        }
        vectors = {
            s: torch.randn(len(names), dim)
            for s, names in scored.items()
            if s in scores and s in ("train_same", "train_diff", "test")
        }
        write_tensors(run.folder / "vectors.safetensors", vectors)
        torch.manual_seed(seed)  # one decoder in both
        Subspace(3 * 4, dim, 8, "msf", "mini", "made", seed).save_pretrained(
            run.folder / "subspace"
        )
        run.finish(common | {"kind": kind, "scores": scores})
    return out / f"ist-{seed}"


class Page(HTMLParser):
    """The page as tags, attributes, and rows of tables and texts of commands."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.tables, self.commands, self.open = [], [], {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.open += [] if tag in VOID else [tag]
        if tag == "table":
            self.rows = self.tables[dict(attrs)["id"]] = []
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "pre":
            self.commands.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "pre" in self.open:
            self.commands[-1] += data
        elif self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


def page_of(capsys, *words):
    assert cli.main(["report", *map(str, words)]) == 0, capsys.readouterr().err
    path = re.search(r"^report: (.*)$", capsys.readouterr().out, re.M)[1]
    with open(path, encoding="utf8") as handle:
        return Page(handle.read())


def plain(out, **more):
    return hand_made(
        out,
        {"a": "one", "b": "two", "c": "one"},
        {"u": "two", "v": "three", "w": "one", "x": "two"},
        **more,
    )


def probe(folder, names=("a", "b")):
    """Leave what `ipt probe` would in a run's folder."""
    line = torch.linspace(-1, 1, 4)
    found = {
        "loss": torch.rand(4, 4),
        "across": line,
        "up": line,
        "path": torch.rand(3, 2),
        "starts": torch.rand(1, 2),
        "near": torch.rand(1, 2),
    }
    found["score"] = torch.rand(4, 4)
    tensors = {f"landscape.{name}": t for name, t in found.items()} | {
        "transfer.scores": torch.rand(2, 2)
    }
    tensors |= {
        "curvature.code": torch.rand(3),
        "curvature.error": torch.rand(3),
        "between.scores": torch.rand(2, 2, 5),
    }
    write_tensors(folder / "probe.safetensors", tensors | {"words.change": torch.rand(3, 10)})
    about = {
        "task": "u",
        "nearest": [names[0]],
        "transfer": list(names),
        "between": [["u", names[0]], ["u", names[1]]],
    }
    write_json(
        folder / "probe.json",
        about | {"words": {name: [[["<b>tok</b>", 0.25]]] * 3 for name in ("u", names[0])}},
    )


def stable(out, seed=42):
    """Leave what `ipt stability` would beside a run; return its result."""
    names, rng = ["u", "v", "w", "x"], torch.Generator().manual_seed(0)
    scores = {
        method: {n: torch.rand(5, generator=rng).tolist() for n in names}
        for method in (PROMPT, IST, FROM[IST])
    }
    run = Run.open(
        out / f"stability-{seed}",
        {"kind": "stability", "split": "made", "seed": seed, "msf_run": f"msf-{seed}"},
    )
    rows = [to_json(row) for row in stability(scores, dict.fromkeys(names, 0.0))]
    run.finish({"kind": "stability", "by_seed": scores, "rows": rows})
    return run.result


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures out, which take most of the time."""
    monkeypatch.setattr("ipt.analysis.report.page.DRAWINGS", ())

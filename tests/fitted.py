"""A toy world in which scores differ: a small T5 that was taught five tasks, and a stub that scores by checksum.

The taught model answers a task when one of the vectors before the input is the embedding of the task's name; without it, it
guesses which task is meant. So the untrained start scores something, tuned prompts more, and no two tasks the same.
"""

import hashlib
import inspect
import json
import random
from pathlib import Path
from types import SimpleNamespace

import torch
from filelock import FileLock
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import load_backbone
from ipt.data import Example, Task
from ipt.encoded import EncodedTask
from ipt.training.evaluate import Score

WORDS = (
    "red", "blue", "green", "tall", "small", "fast", "slow", "warm", "cold", "soft", "hard", "dark",
)  # fmt: skip
KINDS = ("first", "second", "last", "early", "late")
LABELS = ("yes", "no")
ROWS = 300  # of a task
STEPS, BATCH, RATE = (
    500,
    64,
    0.02,
)  # of the model's own training: some tasks are learned better than others


def answer(kind: str, words: tuple[str, str, str]) -> str:
    """Return a task's answer: a word of the input by its place, or whether a word's first letter comes early."""
    place = {"first": 0, "second": 1, "last": 2, "early": 0, "late": 2}[kind]
    if kind in ("early", "late"):
        return "yes" if words[place][0] <= "g" else "no"
    return words[place]


def word_task(kind: str, rows: int = ROWS) -> Task:
    """A task of the taught model, its rows drawn by its name."""
    rng = random.Random(kind)
    inputs: dict[str, str] = {}
    while len(inputs) < rows:
        words = (rng.choice(WORDS), rng.choice(WORDS), rng.choice(WORDS))
        inputs[" ".join(words)] = answer(kind, words)
    cls = kind in ("early", "late")
    return Task(
        name=kind,
        category="cls" if cls else "non-cls",
        subcategory="toy",
        metric="accuracy" if cls else "exact-match",
        definition="Toy.",
        examples=tuple(Example(text, (output,)) for text, output in inputs.items()),
        options=LABELS if cls else None,
        family=kind,
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word above; any other text is written in bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join((*WORDS, *KINDS, *LABELS))] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def taught_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """Train a T5 with hidden size 16 to answer [three vectors, input], the task's name among the three in four rows of five."""
    rng = random.Random(0)
    token = {word: tokenizer(word)["input_ids"][0] for word in (*WORDS, *KINDS, *LABELS)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0,
            feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        )  # fmt: skip
        model = T5ForConditionalGeneration(config)
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=STEPS, pct_start=0.1
    )
    for _ in range(STEPS):
        inputs, labels = [], []
        for _ in range(BATCH):
            words = (rng.choice(WORDS), rng.choice(WORDS), rng.choice(WORDS))
            kind = rng.choice(KINDS)
            lead = [rng.randrange(2, len(tokenizer)) for _ in range(3)]
            if rng.random() < 0.8:
                lead[rng.randrange(3)] = token[kind]
            inputs.append([*lead, *(token[word] for word in words), tokenizer.eos_token_id])
            labels.append([token[answer(kind, words)], tokenizer.eos_token_id])
        loss = model(input_ids=torch.tensor(inputs), labels=torch.tensor(labels)).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()


def save_taught(folder: Path) -> Path:
    """Return a folder with the taught model in transformers' layout; it is taught once and kept for later test runs."""
    made_by = "".join(map(inspect.getsource, (answer, word_tokenizer, taught_model)))
    settings = repr((WORDS, KINDS, LABELS, STEPS, BATCH, RATE, torch.__version__))
    recipe = hashlib.sha256((made_by + settings).encode()).hexdigest()[:16]
    home = folder / recipe
    with FileLock(folder / f"{recipe}.lock"):
        if not (home / "tokenizer.json").exists():  # written last
            tokenizer, threads = word_tokenizer(), torch.get_num_threads()
            torch.set_num_threads(1)  # several wait for each other longer than they compute
            taught_model(tokenizer).save_pretrained(home)
            torch.set_num_threads(threads)
            tokenizer.save_pretrained(home)
    return home


def taught_backbone(folder: Path, dtype: torch.dtype = torch.float32) -> Backbone:
    """The taught model behind soft prompts, in any type."""
    backbone = load_backbone(str(folder), device="cpu")
    return EncoderDecoder(backbone.model.to(dtype), backbone.tokenizer, "taught")


def save_tasks(folder: Path) -> None:
    """Write the five tasks, a file each."""
    folder.mkdir(parents=True)
    for kind in KINDS:
        text = json.dumps(word_task(kind).to_dict())
        (folder / f"{kind}.json").write_text(text, encoding="utf8")


def checksum(prompt: Tensor, data: EncodedTask, part: str = "test") -> float:
    """Return a score in [0, 1) that only this prompt [n, h] has on these rows of this task and data seed, to six places."""
    about = f"{data.task.name}|{data.data_seed}|{part}|{getattr(data, part)}"
    numbers = prompt.detach().contiguous().numpy().tobytes()
    digest = hashlib.sha256(about.encode() + numbers).digest()
    return round(int.from_bytes(digest[:4], "big") / 2**32, 6)


def checksum_scores(model, deltas, data, part="test", rank=True, progress=lambda done, total: None):
    """Stand in for `score_deltas`: each score is a checksum, the ranked one another than the generated one."""
    scores = []
    for delta, d in zip(deltas, data, strict=True):
        value = checksum(delta, d, part)
        ranked = 1 - value if rank and d.options else None
        scores.append(Score(value, ranked, ("stub",) * len(getattr(d, part))))
    return scores


class Bowl:
    """Stand in for a model with losses known on paper: a row's is the mean squared distance from its delta to a number.

    That number is the row's first token. A row meets its delta in a batch of its own order, as in a real backbone.
    """

    name, device, size, token_budget = "bowl", torch.device("cpu"), 2, 0

    @property
    def backbone(self):
        return SimpleNamespace(name="bowl", generates=True)

    tuner = SimpleNamespace(name="soft-prompt", rescales=False)
    # A language model's head has none.
    has_head_numbers = False

    def keeping(self, rows, token_budget=0):
        return self

    def losses(self, deltas, owner, rows):
        places = torch.tensor([row.input_ids[0] for row in rows])
        return (deltas[owner] - places[:, None]).square().mean(1)

    def nll(self, deltas, owner, rows, smoothing=0.0):
        return self.losses(deltas, owner, rows) * self.target_counts(rows)

    def target_counts(self, rows):
        return torch.tensor([len(row.label_ids) for row in rows])

    def in_batches(self, rows, work, token_budget=0, answer_tokens=0):
        order = sorted(range(len(rows)), key=lambda i: -rows[i].input_ids[0])
        for at in range(0, len(order), 3):
            work(order[at : at + 3])


def number_task(name: str, train: list[int], dev: list[int], data_seed: int = 100) -> EncodedTask:
    """Return a task's sets for `Bowl`: a row for each of these numbers."""
    task = Task(
        name=name,
        category="non-cls",
        subcategory="toy",
        metric="exact-match",
        definition="Toy.",
        examples=(),
    )
    rows = [Encoded((number,), (1, 2)) for number in (*train, *dev)]
    return EncodedTask(
        task, data_seed, (), (), tuple(rows[: len(train)]), tuple(rows[len(train) :]), (), (), 4
    )

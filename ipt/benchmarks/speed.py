"""`ipt bench`: what stacking gains, measured beside what a user would otherwise run, in one process and one run.

Like with like: same rows, tokens, padding per batch, precision, threads, start and steps; no evaluation inside a timed part,
a warm-up before it, repeats interleaved, medians reported. A rate is rows per second through forward and backward.
"""

import hashlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerBase

from ipt.backbones.base import Backbone, Encoded, pad
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import device_of
from ipt.checkpoint import Checkpoint
from ipt.config import BenchmarkConfig, IstConfig, MsfConfig, TuneConfig
from ipt.encoded import EncodedTask
from ipt.progress import Reporter
from ipt.run import environment
from ipt.training.loop import Job, Loop, backward, dev_losses, fit, take_rows
from ipt.training.optimizer import rate_factor
from ipt.training.source import Free
from ipt.training.sweep import stack

BART_BASE = "bart-base-sized"  # what --model is to say for it
FLOOR_JOBS = 8
ROWS = 8  # of a job in one of its steps, as in the paper's grid
# what a transformer cannot do without: matrix products, attention's softmax, norms that are one operation
NEEDED = ("mm", "addmm", "bmm", "baddbmm", "_softmax", "_softmax_backward_data", "native_layer_norm", "native_layer_norm_backward")


@dataclass(frozen=True)
class Measurement:
    """One line of the table: ours against another, in a unit; `ratio` is how many times better ours is."""

    what: str
    against: str
    ours: float
    other: float
    unit: str
    aim: str
    ratio: float | None = None
    more: str = ""


def median_times(actions: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Return each action's median seconds; the actions take turns, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, act in actions.items():
            began = time.perf_counter()
            act()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in times.items()}


class PeftTuning:
    """Prompt tuning of one job after another with PEFT: a model with one soft prompt, torch's Adam, the job's own rows.

    Clipping and schedule are those of our loop, so that the two can end with the same loss.
    """

    def __init__(self, backbone: Backbone, start: Tensor, config: TuneConfig) -> None:
        from peft import PromptTuningConfig, get_peft_model

        if not isinstance(backbone, (EncoderDecoder, CausalLM)):
            raise ValueError(f"PEFT tunes prompts of encoder-decoder and left-to-right models; {backbone.name} is neither")
        self.backbone, self.start, self.config = backbone, start, config
        kind = "SEQ_2_SEQ_LM" if isinstance(backbone, EncoderDecoder) else "CAUSAL_LM"
        length, width = start.shape
        wanted = PromptTuningConfig(task_type=kind, num_virtual_tokens=length, num_transformer_submodules=1, token_dim=width)
        self.model: Any = get_peft_model(backbone.model, wanted).eval()
        self.weight: Any = self.model.get_submodule("prompt_encoder.default.embedding").weight

    def loss(self, rows: Sequence[Encoded]) -> Tensor:
        """Return the mean over the rows' tokens, as a training loop over PEFT takes it."""
        device, left = self.backbone.device, isinstance(self.backbone, CausalLM)
        texts = [row.input_ids + row.label_ids for row in rows] if left else [row.input_ids for row in rows]
        ids, mask = pad(texts, self.backbone.tokenizer.pad_token_id or 0, device)
        blank = [[-100] * len(row.input_ids) if left else [] for row in rows]
        labels, _ = pad([[*b, *row.label_ids] for b, row in zip(blank, rows, strict=True)], -100, device)
        return self.model(input_ids=ids, attention_mask=mask.long(), labels=labels).loss

    def tune(self, job: Job, steps: int) -> Tensor:
        """Return the prompt [n, h] after these steps."""
        self.weight.data = self.start.clone()
        optimiser = torch.optim.Adam([self.weight], lr=job.learning_rate)
        for step in range(steps):
            factor = rate_factor(torch.tensor(step), self.config.steps, self.config.warmup)
            optimiser.param_groups[0]["lr"] = job.learning_rate * float(factor)
            optimiser.zero_grad()
            self.loss([row for _, row in take_rows(job, step)]).backward()
            torch.nn.utils.clip_grad_norm_([self.weight], self.config.clip)
            optimiser.step()
        return self.weight.detach().clone()


def stacked_steps(backbone: Backbone, start: Tensor, jobs: Sequence[Job], config: TuneConfig, steps: int) -> Callable[[], object]:
    """Return an action: this many steps of all jobs, stacked."""
    source = Free(start, len(jobs))
    loop = Loop(source, jobs, backbone.device)
    active = torch.arange(len(jobs), device=backbone.device)
    rates = torch.tensor([job.learning_rate for job in jobs], dtype=torch.float64, device=backbone.device)

    def act() -> None:
        for step in range(steps):
            backward(backbone, source, jobs, [step] * len(jobs), config)
            loop.optimiser.step(active, torch.full_like(active, step + 1), rates, config.clip)

    return act


def tuning(backbone: Backbone, start: Tensor, jobs: Sequence[Job], bench: BenchmarkConfig) -> list[Measurement]:
    """Measure prompt tuning of all jobs, stacked, against PEFT, one job at a time; also with four times the rows per step."""
    config = TuneConfig(steps=bench.steps, rows_per_step=ROWS, learning_rates=(0.3,))
    peft = PeftTuning(backbone, start, config)
    large = [Job(j.name, j.groups, j.dev, j.learning_rate, j.seed, 4 * ROWS) for j in jobs[: max(1, len(jobs) // 4)]]
    times = median_times(
        {
            "stacked": stacked_steps(backbone, start, jobs, config, bench.steps),
            "one": lambda: [peft.tune(job, bench.steps) for job in jobs],
            "large": lambda: [peft.tune(job, bench.steps) for job in large],
        },
        bench.repeats,
        backbone.device,
    )
    rows = len(jobs) * bench.steps * ROWS
    ours, other, wide = (rows / times[name] for name in ("stacked", "one", "large"))
    what = f"prompt tuning, {len(jobs)} tasks x {ROWS} rows"
    aim = "1.5 x on 2 cores, 10 x on a GPU"
    return [
        Measurement(what, f"PEFT, one task at a time, {ROWS} rows a step", ours, other, "rows/s", aim, ours / other),
        Measurement(what, f"PEFT, one task at a time, {4 * ROWS} rows a step", ours, wide, "rows/s", "-", ours / wide),
    ]


def same_result(backbone: Backbone, start: Tensor, jobs: Sequence[Job], bench: BenchmarkConfig) -> Measurement:
    """Train a few jobs to the end with both, and a second time with another order of rows; compare their dev losses."""
    config = TuneConfig(steps=bench.train_steps, rows_per_step=ROWS, learning_rates=(0.3,), eval_every=bench.train_steps)
    few, peft = jobs[: bench.trained_jobs], PeftTuning(backbone, start, config)

    def ours(seed: int) -> Tensor:
        source = Free(start, len(few))
        again = [Job(j.name, j.groups, j.dev, j.learning_rate, seed, ROWS) for j in few]
        fit(backbone, source, again, config, Checkpoint.none())
        return dev_losses(backbone, source, again, 0)

    first, second = ours(few[0].seed), ours(few[0].seed + 1)
    theirs = Free(start, len(few))
    theirs.values.data.copy_(torch.stack([peft.tune(job, config.steps) for job in few]))
    other = dev_losses(backbone, theirs, few, 0)
    apart, seeds = (float(d.abs().max()) for d in (first - other, first - second))
    note = f"largest difference of a task {apart:.3f}, between two seeds {seeds:.3f}"
    what = f"final dev loss, {len(few)} tasks, {config.steps} steps"
    return Measurement(what, "PEFT", float(first.mean()), float(other.mean()), "nats/token", "equal within seed noise", None, note)


class Recorded(TorchDispatchMode):
    """Keeps the operations of a step that a transformer cannot do without, with the shapes they had."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in NEEDED or "scaled_dot_product" in name:
            self.calls.append((func, tuple(args), dict(kwargs or {})))
        return made

    def replay(self) -> None:
        for func, args, kwargs in self.calls:
            func(*args, **kwargs)


def floor_of(backbone: Backbone, start: Tensor, jobs: Sequence[Job], config: TuneConfig) -> Callable[[], object]:
    """Return an action: nothing but the matrix products, softmaxes and norms of one stacked step, on tensors that are there."""
    recorded = Recorded()
    with recorded:
        backward(backbone, Free(start, len(jobs)), jobs, [0] * len(jobs), config)

    def act() -> None:
        with torch.no_grad():
            recorded.replay()

    return act


def scaling(backbone: Backbone, start: Tensor, jobs: Sequence[Job], bench: BenchmarkConfig) -> list[Measurement]:
    """Measure rows per second as J grows, against J = 1 and against the floor of the same step."""
    config = TuneConfig(steps=1, rows_per_step=ROWS, learning_rates=(0.3,))
    found, rate_of_one = [], 0.0
    for count in bench.jobs_grown:
        chosen = [jobs[i % len(jobs)] for i in range(count)]
        chosen = [Job(j.name, tuple(tuple((i, r) for _, r in g) for g in j.groups), j.dev, 0.3, i, ROWS) for i, j in enumerate(chosen)]
        step = stacked_steps(backbone, start, chosen, config, 1)
        floor = floor_of(backbone, start, chosen[:FLOOR_JOBS], config)  # a rate: more rows would only fill memory
        part = min(count, FLOOR_JOBS) / count
        times = median_times({"step": step, "floor": floor}, bench.repeats, backbone.device)
        rate, bound = count * ROWS / times["step"], count * ROWS * part / times["floor"]
        rate_of_one = rate_of_one or rate
        note = f"{rate / rate_of_one:.2f} x J = 1"
        found.append(
            Measurement(
                f"one step, J = {count}", "floor: its products, softmaxes, norms", rate, bound, "rows/s", "within 3 x", rate / bound, note
            )
        )
    return found


def memory(backbone: Backbone, start: Tensor, jobs: Sequence[Job]) -> list[Measurement]:
    """Measure the bytes of a loop's state and of a batch's kept activations against their predictions."""
    found = []
    rows = [row for _, row in jobs[0].groups[0]][:ROWS]
    for count, length in ((8, 10), (64, 10), (64, 40)):
        begin = start[:1].expand(length, -1)
        source = Free(begin, count)
        loop = Loop(source, [jobs[0]] * count, backbone.device)
        held = sum(t.nbytes for t in loop.tensors().values()) + source.values.nbytes  # and its gradient
        expected = 5 * count * length * start.shape[1] * 4
        found.append(
            Measurement(
                f"state of J = {count}, n = {length}",
                "5 numbers of 4 bytes x J x n x h",
                held / 1e6,
                expected / 1e6,
                "MB",
                "linear",
                expected / held,
            )
        )
    few, many = (kept_bytes(backbone, start, rows * times) / times / len(rows) / 1e6 for times in (1, 4))
    what = f"activations of a row, batch of {4 * len(rows)}"
    found.append(Measurement(what, f"batch of {len(rows)}", many, few, "MB", "linear in the token budget", few / many))
    return found


def kept_bytes(backbone: Backbone, start: Tensor, rows: Sequence[Encoded]) -> int:
    """Return the bytes that a forward pass keeps for the backward one, the model's own weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in backbone.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        backbone.losses(start.expand(len(rows), -1, -1).clone().requires_grad_(), rows)
    return sum(kept.values())


def bart_base_sized(tokenizer: PreTrainedTokenizerBase, device: str) -> Backbone:
    """Return a BART of the base model's size with random weights, behind another model's tokenizer: for speed only."""
    sizes: dict[str, Any] = {"d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072}
    heads: dict[str, Any] = {"encoder_attention_heads": 12, "decoder_attention_heads": 12}
    model = BartForConditionalGeneration(BartConfig(**sizes, **heads))
    return EncoderDecoder(model.to(device_of(device)), tokenizer, BART_BASE)  # type: ignore[arg-type]


def projection(rates: Sequence[Measurement]) -> list[Measurement]:
    """Project the whole study from the rates measured here: the released scripts' rows, one task at a time and stacked.

    120 tasks x 4 rates x 100,000 steps x (2 + 4 + 8) rows; MSF and IST at six d: 100,000 steps x 64 rows, and 120 tasks x two
    data seeds x 100,000 steps x 4 rows (released code). Fewer: the same tasks, settings, d and seeds at our default steps.
    """
    alone, stacked = rates[0].other * 3600, rates[0].ours * 3600
    tune, msf, ist = TuneConfig(), MsfConfig(), IstConfig()
    released = 120 * 4 * 100_000 * (2 + 4 + 8) + 6 * 100_000 * 64 + 6 * 2 * 120 * 100_000 * 4
    fewer = 120 * 12 * tune.steps * tune.rows_per_step + 6 * msf.steps * msf.rows_per_step + 6 * 2 * 240 * ist.work[0] * ist.rows_per_step
    note = f"{released:.3g} rows; in our steps {fewer:.3g} rows: {fewer / stacked:.2f} h"
    hours, aim = released / alone, "100 x, under 24 h on a GPU"
    stacking = Measurement(
        "whole study, released steps, stacked", "one task at a time", released / stacked, hours, "h", "-", stacked / alone, note
    )
    both = Measurement(
        "whole study, our steps, stacked", "released steps, one at a time", fewer / stacked, hours, "h", aim, hours * stacked / fewer
    )
    return [stacking, both]


def start_up(bench: BenchmarkConfig) -> list[Measurement]:
    """Time `ipt --help` and `ipt runs` as processes of their own."""
    found = []
    for words, most in ((["--help"], 0.5), (["runs"], 1.0)):
        act = lambda words=words: subprocess.run([sys.executable, "-m", "ipt", *words], capture_output=True, check=True)
        seconds = median_times({"start": act}, bench.repeats, torch.device("cpu"))["start"]
        found.append(Measurement(f"ipt {' '.join(words)}", "aim", seconds, most, "s", f"under {most:g} s", most / seconds))
    return found


def report(backbone: Backbone, found: Sequence[Measurement]) -> dict[str, Any]:
    """Return what was measured, and on which machine, as JSON values; `ipt.analysis.summaries.bench_table` is its table."""
    values = [{k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in asdict(m).items()} for m in found]
    machine = {"device": str(backbone.device), "threads": torch.get_num_threads(), "model": backbone.name, "dtype": backbone.dtype}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    record = {"kind": "bench", "digest": digest, "values": values}
    return record | machine | environment()


def measure(backbone: Backbone, start: Tensor, data: Sequence[EncodedTask], bench: BenchmarkConfig, reporter: Reporter) -> list[Measurement]:
    """Run every part that needs no run folder; prompt tuning comes first."""
    jobs = stack(data, (0.3,), TuneConfig(rows_per_step=ROWS), 42)
    parts: dict[str, Callable[[], list[Measurement]]] = {
        "prompt tuning": lambda: tuning(backbone, start, jobs, bench),
        "the same result": lambda: [same_result(backbone, start, jobs, bench)],
        "growing J": lambda: scaling(backbone, start, jobs, bench),
        "memory": lambda: memory(backbone, start, jobs),
        "start-up": lambda: start_up(bench),
    }
    found: list[Measurement] = []
    for name, part in parts.items():
        with reporter.bar(f"bench: {name}"):
            found += part()
    return found + projection(found)

"""`ipt bench`: what stacking gains, beside what a user would otherwise run, in one process.

Like is measured with like: same rows, tokens, padding of a batch, precision, threads, start and
steps; no evaluation inside a timed part. Of the parts that are compared

* each has a turn that does not count before the first that does (warm-up): the first call of a
  shape allocates memory and chooses kernels
* all take turns (interleaving), so that a slow minute of the machine falls on all of them
* the median of the turns is reported: one disturbed turn does not move it

A rate is rows per second through forward and backward.
"""

import hashlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerBase

from ipt.backbones.base import NO_LABEL, Backbone, Encoded, pad
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import device_of
from ipt.config import BenchmarkConfig, IstConfig, MsfConfig, TuneConfig
from ipt.encoded import EncodedTask
from ipt.progress import Reporter
from ipt.run import environment
from ipt.training.loop import Job, Loop, Row, backward, dev_losses, fit, take_rows
from ipt.training.model import Model
from ipt.training.optimizer import rate_factor
from ipt.training.source import Free
from ipt.training.sweep import Sweep
from ipt.tuners.soft_prompt import SoftPrompt

BART_BASE = "bart-base-sized"  # what --model is to say for it

ROWS = 8  # of a job in one of its steps, as in the paper's grid

LEARNING_RATE = 0.3

# Jobs of a floor. It is a rate: more jobs would only fill memory.
FLOOR_JOBS = 8

# What a transformer cannot do without: matrix products, attention's softmax, norms that are one
# operation. Names of torch's operators.
NEEDED_OPERATIONS = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "_softmax",
    "_softmax_backward_data",
    "native_layer_norm",
    "native_layer_norm_backward",
)

# Jobs and prompt lengths at which a loop's state is measured.
STATE_SIZES = ((8, 10), (64, 10), (64, 40))

Action = Callable[[], object]


@dataclass(frozen=True)
class Measurement:
    """One line of the table: ours against another."""

    what: str
    against: str
    ours: float
    other: float
    unit: str
    aim: str
    ratio: float | None = None  # how many times better ours is
    more: str = ""


def measure(
    model: Model,
    start: Tensor,
    tasks: Sequence[EncodedTask],
    config: BenchmarkConfig,
    reporter: Reporter,
) -> list[Measurement]:
    """Measure every part that needs no run folder; prompt tuning comes first.

    start: [P] prompt that every job starts from.
    """
    tune = TuneConfig(rows_per_step=ROWS, learning_rates=SoftPrompt.learning_rates)
    jobs = Sweep(tasks, (LEARNING_RATE,), 42).jobs(tune)
    parts: dict[str, Callable[[], list[Measurement]]] = {
        "prompt tuning": lambda: measure_tuning(model, start, jobs, config),
        "the same result": lambda: [compare_results(model, start, jobs, config)],
        "growing J": lambda: measure_scaling(model, start, jobs, config),
        "memory": lambda: measure_memory(model, start, jobs),
        "start-up": lambda: measure_start_up(config),
    }
    measurements: list[Measurement] = []
    for name, part in parts.items():
        with reporter.bar(f"bench: {name}"):
            measurements += part()
    # The study's time follows from the rates of the first part.
    return measurements + project_study(measurements)


# ------------------------------------------------------------------------------------- timing


def median_times(
    actions: dict[str, Action],
    repeats: int,
    device: torch.device,
) -> dict[str, float]:
    """Return each action's median seconds; the actions take turns.

    repeats: turns that count, after one that does not.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        # The first call of a shape allocates memory and chooses kernels.
        is_warm_up = turn == 0
        for name, act in actions.items():
            began = time.perf_counter()
            act()
            # An accelerator works on after the call has returned.
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            seconds = time.perf_counter() - began

            if not is_warm_up:
                times[name].append(seconds)
    # A mean would take in what else the machine did in one of the turns.
    return {name: statistics.median(turns) for name, turns in times.items()}


def stacked_steps(
    model: Model,
    start: Tensor,
    jobs: Sequence[Job],
    config: TuneConfig,
    steps: int,
) -> Action:
    """Return an action: this many steps of all jobs, stacked.

    start: [P].
    """
    source = Free(start, len(jobs))
    loop = Loop(source, jobs, model.device)
    active = torch.arange(len(jobs), device=model.device)
    rates = torch.tensor(
        [job.learning_rate for job in jobs],
        dtype=torch.float64,
        device=model.device,
    )

    # Forward, backward and Adam of the stacked loop, without what it does between steps: dev
    # losses, checkpoints, the choice of the next jobs.
    def act() -> None:
        for step in range(steps):
            step_of_jobs = [step] * len(jobs)
            backward(model, source, jobs, step_of_jobs, config)
            counts = torch.full_like(active, step + 1)
            loop.optimizer.step(active, counts, rates, config.clip)

    return act


# ----------------------------------------------------------------------------- beside PEFT


class PeftTuning:
    """Prompt tuning with PEFT: a model with one soft prompt, one job after another.

    With torch's Adam and the job's own rows. Clipping and schedule are those of our loop, so that
    the two can end with the same loss.
    """

    def __init__(self, model: Model, start: Tensor, config: TuneConfig) -> None:
        """Put a prompt before the backbone's model.

        start: [P] what every job starts from.
        """
        backbone = model.backbone
        from peft import PromptTuningConfig, get_peft_model

        if not isinstance(backbone, (EncoderDecoder, CausalLM)):
            raise ValueError(
                "PEFT tunes prompts of encoder-decoder and left-to-right models; "
                f"{backbone.name} is neither"
            )
        self.backbone = backbone
        self.start = model.tuner.parts(backbone, start)["prompt"]  # [n, h]
        self.config = config
        self.is_causal = isinstance(backbone, CausalLM)

        length, width = self.start.shape
        peft_config = PromptTuningConfig(
            task_type="CAUSAL_LM" if self.is_causal else "SEQ_2_SEQ_LM",
            num_virtual_tokens=length,
            num_transformer_submodules=1,  # the encoder only
            token_dim=width,
        )
        # Without dropout, as ours.
        self.model: Any = get_peft_model(backbone.model, peft_config).eval()
        embedding = self.model.get_submodule("prompt_encoder.default.embedding")
        self.weight: Any = embedding.weight  # [n, h]

    def loss(self, rows: Sequence[Encoded]) -> Tensor:
        """Return the mean over the rows' tokens, as a training loop over PEFT takes it."""
        texts = []
        answers = []
        for row in rows:
            if self.is_causal:
                # One sequence, in which the input's tokens have no loss.
                texts.append(row.input_ids + row.label_ids)
                blank = [NO_LABEL] * len(row.input_ids)
                answers.append([*blank, *row.label_ids])
            else:
                texts.append(row.input_ids)
                answers.append(list(row.label_ids))

        device = self.backbone.device
        padding = self.backbone.tokenizer.pad_token_id or 0
        ids, mask = pad(texts, padding, device)  # [B, L]
        labels, _ = pad(answers, NO_LABEL, device)
        output = self.model(input_ids=ids, attention_mask=mask.long(), labels=labels)
        return output.loss

    def tune(self, job: Job, steps: int) -> Tensor:
        """Return the prompt [n, h] after these steps."""
        self.weight.data = self.start.clone()
        optimizer = torch.optim.Adam([self.weight], lr=job.learning_rate)
        for step in range(steps):
            # The same schedule and the same rows as the stacked loop has at this step.
            factor = rate_factor(torch.tensor(step), self.config.steps, self.config.warmup)
            optimizer.param_groups[0]["lr"] = job.learning_rate * float(factor)
            rows = [row for _, row in take_rows(job, step)]

            # What a user would write: loss, gradient, clipping, step.
            optimizer.zero_grad()
            loss = self.loss(rows)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([self.weight], self.config.clip)
            optimizer.step()
        return self.weight.detach().clone()


def measure_tuning(
    model: Model,
    start: Tensor,
    jobs: Sequence[Job],
    config: BenchmarkConfig,
) -> list[Measurement]:
    """Measure prompt tuning of all jobs, stacked, against PEFT, one job at a time.

    Also with four times the rows in each of PEFT's steps, and a quarter of the jobs: the same
    number of rows, in batches as large as a user could choose.
    """
    tune = TuneConfig(
        steps=config.steps,
        rows_per_step=ROWS,
        learning_rates=(LEARNING_RATE,),
    )
    peft = PeftTuning(model, start, tune)
    quarter = max(1, len(jobs) // 4)
    large_jobs = [replace(job, rows_per_step=4 * ROWS) for job in jobs[:quarter]]

    # One job after another: what PEFT offers.
    def tune_all(chosen: Sequence[Job]) -> None:
        for job in chosen:
            peft.tune(job, config.steps)

    times = median_times(
        {
            "stacked": stacked_steps(model, start, jobs, tune, config.steps),
            "one": lambda: tune_all(jobs),
            "large": lambda: tune_all(large_jobs),
        },
        config.repeats,
        model.device,
    )
    # The number of rows is the same in all three.
    rows = len(jobs) * config.steps * ROWS
    stacked = rows / times["stacked"]
    one = rows / times["one"]
    large = rows / times["large"]
    what = f"prompt tuning, {len(jobs)} tasks x {ROWS} rows"
    return [
        Measurement(
            what=what,
            against=f"PEFT, one task at a time, {ROWS} rows a step",
            ours=stacked,
            other=one,
            unit="rows/s",
            aim="1.5 x on 2 cores, 10 x on a GPU",
            ratio=stacked / one,
        ),
        Measurement(
            what=what,
            against=f"PEFT, one task at a time, {4 * ROWS} rows a step",
            ours=stacked,
            other=large,
            unit="rows/s",
            aim="-",
            ratio=stacked / large,
        ),
    ]


def compare_results(
    model: Model,
    start: Tensor,
    jobs: Sequence[Job],
    config: BenchmarkConfig,
) -> Measurement:
    """Train a few jobs to the end with both, and compare their dev losses.

    Stacked also a second time with another order of rows: what lies within that difference is
    noise.
    """
    tune = TuneConfig(
        steps=config.train_steps,
        rows_per_step=ROWS,
        learning_rates=(LEARNING_RATE,),
        eval_every=config.train_steps,
    )
    few = jobs[: config.trained_jobs]
    peft = PeftTuning(model, start, tune)
    # One run of each would not tell a difference of the loops from one of the order of rows.
    seed = few[0].seed
    ours = stacked_dev_losses(model, start, few, tune, seed)
    again = stacked_dev_losses(model, start, few, tune, seed + 1)

    # PEFT's prompts are scored by the same function, so that the losses mean the same.
    prompts = [peft.tune(job, tune.steps) for job in few]
    source = Free(start, len(few))
    source.values.data.copy_(torch.stack(prompts).flatten(1))
    theirs = dev_losses(model, source, few, 0)

    difference = float((ours - theirs).abs().max())
    noise = float((ours - again).abs().max())
    return Measurement(
        what=f"final dev loss, {len(few)} tasks, {tune.steps} steps",
        against="PEFT",
        ours=float(ours.mean()),
        other=float(theirs.mean()),
        unit="nats/token",
        aim="equal within seed noise",
        more=f"largest difference of a task {difference:.3f}, between two seeds {noise:.3f}",
    )


def stacked_dev_losses(
    model: Model,
    start: Tensor,
    jobs: Sequence[Job],
    config: TuneConfig,
    seed: int,
) -> Tensor:
    """Return each job's dev loss [J] after stacked training, nats per token.

    seed: of the order of rows.
    """
    source = Free(start, len(jobs))
    seeded = [replace(job, seed=seed, rows_per_step=ROWS) for job in jobs]
    fit(model, source, seeded, config)
    return dev_losses(model, source, seeded, 0)


# ------------------------------------------------------------------------------ growing J


class Call(NamedTuple):
    """An operation with what it was given."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class OperationRecorder(TorchDispatchMode):
    """Records the operations of a step that a transformer cannot do without.

    Dispatch sees forward and backward as torch's own operators, whatever the model's code is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record it where it is needed."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in NEEDED_OPERATIONS or "scaled_dot_product" in name:
            self.calls.append(Call(func, tuple(args), dict(kwargs)))
        return result

    def replay(self) -> None:
        """Do the recorded operations again, on the same tensors."""
        for call in self.calls:
            call.function(*call.args, **call.kwargs)


def floor_step(
    model: Model,
    start: Tensor,
    jobs: Sequence[Job],
    config: TuneConfig,
) -> Action:
    """Return an action: the matrix products, softmaxes and norms of one stacked step, no more."""
    recorder = OperationRecorder()
    source = Free(start, len(jobs))
    first_steps = [0] * len(jobs)
    with recorder:
        backward(model, source, jobs, first_steps, config)

    # The backward's operations are among the recorded ones, so no graph is built.
    def act() -> None:
        with torch.no_grad():
            recorder.replay()

    return act


def measure_scaling(
    model: Model,
    start: Tensor,
    jobs: Sequence[Job],
    config: BenchmarkConfig,
) -> list[Measurement]:
    """Measure rows per second as J grows, against the floor of the same step and J = 1."""
    tune = TuneConfig(steps=1, rows_per_step=ROWS, learning_rates=(LEARNING_RATE,))
    measurements = []
    rate_of_first = 0.0
    for count in config.jobs_grown:
        chosen = repeat_jobs(jobs, count)
        floor_jobs = chosen[:FLOOR_JOBS]
        times = median_times(
            {
                "step": stacked_steps(model, start, chosen, tune, 1),
                "floor": floor_step(model, start, floor_jobs, tune),
            },
            config.repeats,
            model.device,
        )
        rate = count * ROWS / times["step"]
        # The floor has a part of the rows.
        part = len(floor_jobs) / count
        bound = count * ROWS * part / times["floor"]
        rate_of_first = rate_of_first or rate  # J = 1, unless --jobs-grown says otherwise
        measurements.append(
            Measurement(
                what=f"one step, J = {count}",
                against="floor: its products, softmaxes, norms",
                ours=rate,
                other=bound,
                unit="rows/s",
                aim="within 3 x",
                ratio=rate / bound,
                more=f"{rate / rate_of_first:.2f} x J = 1",
            )
        )
    return measurements


def repeat_jobs(jobs: Sequence[Job], count: int) -> list[Job]:
    """Return so many jobs, the given ones again and again, each with its own prompt and seed."""
    repeated = []
    for i in range(count):
        job = jobs[i % len(jobs)]
        groups = []
        for group in job.groups:
            groups.append(tuple(Row(i, tokens) for _, tokens in group))
        repeated.append(
            replace(
                job,
                groups=tuple(groups),
                learning_rate=LEARNING_RATE,
                seed=i,
                rows_per_step=ROWS,
            )
        )
    return repeated


# --------------------------------------------------------------------------------- memory


def measure_memory(model: Model, start: Tensor, jobs: Sequence[Job]) -> list[Measurement]:
    """Measure the bytes of a loop's state, and of what a batch keeps for its backward pass."""
    measurements = []
    for count, length in STATE_SIZES:
        of_length = replace(model, tuner=SoftPrompt(prompt_length=length))
        measurements.append(measure_state(of_length, jobs[0], count))

    # A row's part should be the same in a batch four times as large.
    rows = [row for _, row in jobs[0].groups[0]][:ROWS]
    few = activation_bytes(model, start, rows) / len(rows) / 1e6
    many = activation_bytes(model, start, rows * 4) / 4 / len(rows) / 1e6
    measurements.append(
        Measurement(
            what=f"activations of a row, batch of {4 * len(rows)}",
            against=f"batch of {len(rows)}",
            ours=many,
            other=few,
            unit="MB",
            aim="linear in the token budget",
            ratio=few / many,
        )
    )
    return measurements


def measure_state(model: Model, job: Job, count: int) -> Measurement:
    """Measure the bytes of a loop's state against what is expected.

    count: jobs, J.
    """
    source = Free(torch.zeros(model.size), count)
    loop = Loop(source, [job] * count, model.device)
    state_bytes = sum(tensor.nbytes for tensor in loop.tensors().values())
    gradient_bytes = source.values.nbytes  # as many as the values
    held = state_bytes + gradient_bytes
    # Values, gradient, best values, Adam's mean and square; in float32.
    expected = 5 * count * model.size * 4
    return Measurement(
        what=f"state of J = {count}, n = {model.tuner.added_tokens}",
        against="5 numbers of 4 bytes x J x n x h",
        ours=held / 1e6,
        other=expected / 1e6,
        unit="MB",
        aim="linear",
        ratio=expected / held,
    )


def activation_bytes(model: Model, start: Tensor, rows: Sequence[Encoded]) -> int:
    """Return the bytes that a forward pass saves for the backward one, without the weights."""
    # The backward pass needs the weights too, but they are there once, whatever the batch.
    parameters = model.backbone.model.parameters()
    weights = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    # By address: several saved tensors may be views of one storage.
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    deltas = start.expand(len(rows), -1).clone().requires_grad_()  # [B, P]
    owner = torch.arange(len(rows), device=model.device)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model.losses(deltas, owner, rows)
    return sum(saved.values())


# ------------------------------------------------------------------- backbone, study, start-up


def bart_base_sized(tokenizer: PreTrainedTokenizerBase, device: str) -> Backbone:
    """Return a BART of the base model's size with random weights: for speed only.

    tokenizer: another model's; speed depends on the number of tokens and not on which they are.
    """
    # As in facebook/bart-base.
    config = BartConfig(
        d_model=768,
        encoder_layers=6,
        decoder_layers=6,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
    )
    model: Any = BartForConditionalGeneration(config)
    return EncoderDecoder(model.to(device_of(device)), tokenizer, BART_BASE)


def project_study(rates: Sequence[Measurement]) -> list[Measurement]:
    """Project the time of the whole study from the rates of prompt tuning measured here.

    rates: first that of stacked jobs beside one job at a time.
    """
    stacked = rates[0].ours * 3600  # rows an hour
    alone = rates[0].other * 3600
    released = released_rows()
    ours = default_rows()
    # Both lines are compared with this: the released steps in a loop over tasks.
    hours = released / alone
    return [
        Measurement(
            what="whole study, released steps, stacked",
            against="one task at a time",
            ours=released / stacked,
            other=hours,
            unit="h",
            aim="-",
            ratio=stacked / alone,
            more=f"{released:.3g} rows; in our steps {ours:.3g} rows: {ours / stacked:.2f} h",
        ),
        Measurement(
            what="whole study, our steps, stacked",
            against="released steps, one at a time",
            ours=ours / stacked,
            other=hours,
            unit="h",
            aim="100 x, under 24 h on a GPU",
            ratio=hours * stacked / ours,
        ),
    ]


def released_rows() -> int:
    """Return the rows of the whole study with the steps of the released scripts."""
    steps = 100_000
    # 120 tasks x 4 rates, at each of the batch sizes 2, 4 and 8.
    tune = 120 * 4 * steps * (2 + 4 + 8)
    # Six d, batches of 64 rows.
    msf = 6 * steps * 64
    # Six d, two data seeds, 120 tasks, batches of 4 rows.
    ist = 6 * 2 * 120 * steps * 4
    return tune + msf + ist


def default_rows() -> int:
    """Return the rows of the same tasks, settings, d and seeds with our default steps."""
    tune = TuneConfig(learning_rates=SoftPrompt.learning_rates)
    msf = MsfConfig()
    ist = IstConfig()
    ist_steps, _ = ist.work
    # 120 tasks, four rates, three batch sizes.
    tune_rows = 120 * 4 * 3 * tune.steps * tune.rows_per_step
    # Six d.
    msf_rows = 6 * msf.steps * msf.rows_per_step
    # `work` has the steps of all trials of a task together.
    ist_rows = 6 * 2 * 240 * ist_steps * ist.rows_per_step
    return tune_rows + msf_rows + ist_rows


def measure_start_up(config: BenchmarkConfig) -> list[Measurement]:
    """Time `ipt --help` and `ipt runs` as processes of their own."""
    measurements = []
    for verb, most_seconds in (("--help", 0.5), ("runs", 1.0)):
        command = [sys.executable, "-m", "ipt", verb]

        # A process of its own, since here everything is imported already.
        def act(command: list[str] = command) -> None:
            subprocess.run(command, capture_output=True, check=True)

        times = median_times({"start": act}, config.repeats, torch.device("cpu"))
        seconds = times["start"]
        measurements.append(
            Measurement(
                what=f"ipt {verb}",
                against="aim",
                ours=seconds,
                other=most_seconds,
                unit="s",
                aim=f"under {most_seconds:g} s",
                ratio=most_seconds / seconds,
            )
        )
    return measurements


# --------------------------------------------------------------------------------- record


def report(backbone: Backbone, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return what was measured, and on which machine, as JSON values.

    `ipt.analysis.summaries.bench_table` is its table.
    """
    values = [json_values(measurement) for measurement in measurements]
    # The log names a table by it.
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    record = {
        "kind": "bench",
        "digest": digest,
        "values": values,
        "device": str(backbone.device),
        "threads": torch.get_num_threads(),
        "model": backbone.name,
        "dtype": backbone.dtype,
    }
    return record | environment()


def json_values(measurement: Measurement) -> dict[str, Any]:
    """Return the fields of a measurement; what was never reached is null, JSON has no infinity."""
    values = asdict(measurement)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            values[name] = None
    return values

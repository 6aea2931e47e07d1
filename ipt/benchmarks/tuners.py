"""`ipt bench --tuner all`: each tuner's step beside the shallow prompt's and PEFT's loop.

All take turns in one process, over the same rows; the median of the turns is reported
(`ipt.benchmarks.speed`). PEFT trains one job at a time, where it has the method. A tuner of upper
layers alone is measured with and without what its lower blocks' states being kept saves.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.benchmarks.speed import (
    Action,
    Measurement,
    PeftTuning,
    activation_bytes,
    median_times,
    stacked_steps,
)
from ipt.config import BenchmarkConfig, TuneConfig
from ipt.encoded import EncodedTask
from ipt.progress import Reporter
from ipt.training.loop import STATE_BYTES, Job, rows_of, take_rows
from ipt.training.model import Model
from ipt.training.sweep import Sweep
from ipt.tuners import TUNERS, parse_tuner
from ipt.tuners.base import Tuner
from ipt.tuners.ia3 import IA3
from ipt.tuners.lora import LoRA
from ipt.tuners.p_tuning import PTuning
from ipt.tuners.prefix import Prefix
from ipt.tuners.soft_prompt import SoftPrompt

ALL = "all"
SHALLOW = "soft-prompt"
ROWS = (8, 32)  # of a job in one of its steps
RATE = 1e-3  # speed does not depend on it
BYTES = 4  # of a number in float32


@dataclass(frozen=True)
class JobMemory:
    """Bytes that one more job takes, beside what the backbone keeps for its backward pass."""

    state: int  # numbers trained, their gradient, Adam's moments, the best copy
    gathered: int  # deltas of the rows of its step, and their gradient


def job_memory(model: Model, rows: int) -> JobMemory:
    """Return the memory of one job by formula.

    20 bytes a trained number; 8 bytes times P for each of its rows, which a pass gathers. A tuner
    whose passes hold rows of one job gathers its delta once.
    """
    copies = rows if model.tuner.mixes_rows else 1
    return JobMemory(STATE_BYTES * model.trained_size, 2 * BYTES * model.size * copies)


class PeftLoop(PeftTuning):
    """Any of PEFT's methods that a tuner of ours is, one job after another."""

    def __init__(self, model: Model, config: TuneConfig) -> None:
        """Put PEFT's adapter on a copy of the backbone's model."""
        from peft import get_peft_model

        backbone = model.backbone
        assert isinstance(backbone, EncoderDecoder | CausalLM)
        self.backbone = backbone
        self.config = config
        self.is_causal = isinstance(backbone, CausalLM)
        settings = peft_config(model, "CAUSAL_LM" if self.is_causal else "SEQ_2_SEQ_LM")
        # A copy: PEFT puts its modules into the model.
        self.model: Any = get_peft_model(copy.deepcopy(backbone.model), settings).eval()
        parameters = self.model.parameters()
        self.trained = [parameter for parameter in parameters if parameter.requires_grad]

    def step_all(self, jobs: Sequence[Job]) -> None:
        """Take the first step of each job, one after another."""
        for job in jobs:
            optimizer = torch.optim.Adam(self.trained, lr=RATE)
            optimizer.zero_grad()
            self.loss([row for _, row in take_rows(job, 0)]).backward()
            torch.nn.utils.clip_grad_norm_(self.trained, self.config.clip)
            optimizer.step()


def has_peft(model: Model) -> bool:
    """Return whether PEFT has the tuner's method for models of this family."""
    kinds = SoftPrompt | PTuning | Prefix | LoRA | IA3
    families = EncoderDecoder | CausalLM
    return isinstance(model.tuner, kinds) and isinstance(model.backbone, families)


def peft_config(model: Model, task_type: str) -> Any:
    """Return PEFT's settings of the tuner's method, of the same size where PEFT has it."""
    import peft

    tuner, backbone = model.tuner, model.backbone
    if isinstance(tuner, LoRA):
        return peft.LoraConfig(
            task_type=task_type,
            r=tuner.rank,
            lora_alpha=int(tuner.alpha),
            target_modules=[linear.name for linear in tuner.linears(backbone)],
        )
    if isinstance(tuner, IA3):
        linears = tuner.linears(backbone)
        down = [linear.name for linear in linears if "down" in linear.roles]
        names = [linear.name for linear in linears]
        return peft.IA3Config(task_type=task_type, target_modules=names, feedforward_modules=down)
    if isinstance(tuner, Prefix):
        return peft.PrefixTuningConfig(
            task_type=task_type, num_virtual_tokens=tuner.prefix_length
        )
    assert isinstance(tuner, SoftPrompt | PTuning)
    shape: dict[str, Any] = {
        "task_type": task_type,
        "num_virtual_tokens": tuner.prompt_length,
        "num_transformer_submodules": 1,  # the encoder only
        "token_dim": backbone.hidden_size,
    }
    if isinstance(tuner, PTuning):
        return peft.PromptEncoderConfig(
            **shape,
            encoder_hidden_size=tuner.network_width or backbone.hidden_size // 2,
            encoder_reparameterization_type="LSTM" if tuner.network == "lstm" else "MLP",
        )
    return peft.PromptTuningConfig(**shape)


def chosen_tuners(model: Model, text: str) -> list[Tuner]:
    """Return the tuners that `--tuner` asks for, the shallow prompt first.

    `all` leaves those out that the model cannot take, and adds vectors to linear layers where the
    model has no biases. Raises ValueError for an unknown one.
    """
    backbone = model.backbone
    shallow = parse_tuner(SHALLOW)
    if text != ALL:
        tuner = parse_tuner(text)
        tuner.size(backbone)
        return [shallow] if tuner == shallow else [shallow, tuner]
    chosen = []
    for name in TUNERS:
        for described in (name, "bias:at=linears") if name == "bias" else (name,):
            try:
                tuner = parse_tuner(described)
                tuner.size(backbone)
            except ValueError:
                continue
            chosen.append(tuner)
            break
    return chosen + upper_tuners(model)


def upper_tuners(model: Model) -> list[Tuner]:
    """Return LoRA in the last third of the layers, where it finds its linear layers there."""
    depth = model.backbone.sites.depth()
    layers = tuple(range(depth - max(1, depth // 3), depth))
    tuner = LoRA(layers=layers)
    try:
        tuner.size(model.backbone)
    except ValueError:
        return []
    return [tuner]


def measure_tuners(
    model: Model,
    tasks: Sequence[EncodedTask],
    config: BenchmarkConfig,
    reporter: Reporter,
) -> list[Measurement]:
    """Measure one step of all jobs with each tuner that `config.tuner` asks for."""
    tuners = chosen_tuners(model, config.tuner)
    measurements = []
    for rows in ROWS:
        tune = TuneConfig(rows_per_step=rows, learning_rates=(RATE,))
        jobs = Sweep(tasks, (RATE,), 42).jobs(tune)
        with reporter.bar(f"bench: tuners, {rows} rows"):
            measurements += _measure(model, tuners, jobs, tune, config.repeats)
    return measurements


def _measure(
    model: Model,
    tuners: Sequence[Tuner],
    jobs: Sequence[Job],
    tune: TuneConfig,
    repeats: int,
) -> list[Measurement]:
    """Measure a step of these jobs with each tuner, all in turns."""
    actions: dict[str, Action] = {}
    models = {tuner.label: replace(model, tuner=tuner) for tuner in tuners}
    for name, own in models.items():
        start = own.initialize(1)
        kept = own.keeping(rows_of(jobs))
        actions[name] = stacked_steps(kept, start, jobs, tune, 1)
        if kept is not own:
            actions[f"{name}, whole passes"] = stacked_steps(own, start, jobs, tune, 1)
        if has_peft(own):
            loop = PeftLoop(own, tune)
            actions[f"{name}, PEFT"] = partial(loop.step_all, jobs)
    times = median_times(actions, repeats, model.device)

    rows = len(jobs) * tune.rows_per_step
    shallow = times[tuners[0].label]
    some = [row for _, row in take_rows(jobs[0], 0)]
    measurements = []
    for name, own in models.items():
        seconds = times[name]
        memory = job_memory(own, tune.rows_per_step)
        saved = 0.0
        if own.tuner.mixes_rows:
            saved = activation_bytes(own, own.initialize(1), some) / len(some) / 1e6
        others = (
            ("the shallow prompt", shallow, "above 0.67"),
            ("PEFT, one job at a time", times.get(f"{name}, PEFT"), "1.5 x at 8 rows"),
            ("without kept states", times.get(f"{name}, whole passes"), "-"),
        )
        for against, other, aim in others:
            if other is None:
                continue
            measurements.append(
                Measurement(
                    what=f"{name}, {len(jobs)} jobs x {tune.rows_per_step} rows",
                    against=against,
                    ours=rows / seconds,
                    other=rows / other,
                    unit="rows/s",
                    aim=aim,
                    ratio=other / seconds,
                )
            )
        of_row = f", {saved:.2f} MB a row for the backward pass" if saved else ""
        measurements[-1] = replace(
            measurements[-1],
            more=f"a job: {memory.state / 1e6:.2f} MB of state, "
            f"{memory.gathered / 1e6:.2f} MB gathered{of_row}",
        )
    return measurements

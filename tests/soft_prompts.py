"""The loop and the stages on soft prompts [n, h] before a backbone, as most tests write them.

The package knows flat deltas [P] of any tuner; here they have the shape of prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.checkpoint import Checkpoint
from ipt.distributed import Processes
from ipt.methods import ist, mixture, msf, tuning
from ipt.methods.tuning import Start
from ipt.training import evaluate, levenberg_marquardt, loop, source, sweep
from ipt.training.loop import Execution, no_progress
from ipt.training.model import Model
from ipt.tuners.bare import Bare
from ipt.tuners.soft_prompt import SoftPrompt


def model_of(backbone: Any, length: int) -> Any:
    """Return a backbone under soft prompts of this length; a stand-in for a model as it is."""
    if not hasattr(backbone, "generate_and_rank"):
        return backbone
    return Model(backbone, SoftPrompt(prompt_length=length) if length else Bare())


def model_for(backbone: Any, deltas: Tensor) -> Any:
    """Return the model whose deltas [U, P] or prompts [U, n, h] these are."""
    if not hasattr(backbone, "generate_and_rank"):
        return backbone
    size = deltas[0].numel() if len(deltas) else 0
    return model_of(backbone, size // backbone.hidden_size)


def flat(prompts: Tensor) -> Tensor:
    """Return prompts [..., n, h] as deltas [..., P]."""
    return prompts.flatten(-2)


# --- rows that are each led by their own prompt [B, n, h]


def led(backbone: Any, prompts: Tensor) -> tuple[Any, Tensor, Tensor]:
    owner = torch.arange(len(prompts), device=prompts.device)
    return model_for(backbone, prompts), prompts.flatten(1), owner


def nll(backbone: Any, prompts: Tensor, rows: Sequence[Encoded], smoothing: float = 0.0) -> Tensor:
    model, deltas, owner = led(backbone, prompts)
    return model.nll(deltas, owner, rows, smoothing)


def losses(backbone: Any, prompts: Tensor, rows: Sequence[Encoded]) -> Tensor:
    model, deltas, owner = led(backbone, prompts)
    return model.losses(deltas, owner, rows)


def answer_logits(backbone: Any, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    with backbone.prepended(prompts):
        return backbone.answer_logits(rows)


def embedded(backbone: Any, prompts: Tensor, sequences: Any, left: bool = False):
    with backbone.prepended(prompts):
        return backbone.embedded(sequences, left)


def generate(backbone: Any, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
    model, deltas, owner = led(backbone, prompts)
    return [p.text for p in model.predict(deltas, owner, rows, max_tokens)]


def rank(backbone: Any, prompts: Tensor, rows: Any, options: Any) -> list[int]:
    with backbone.prepended(prompts):
        return backbone.option_nll(rows, options).argmin(1).tolist()


def generate_and_rank(backbone: Any, prompts: Tensor, rows: Any, max_tokens: int, options: Any):
    with backbone.prepended(prompts):
        texts, scores = backbone.generate_and_rank(rows, max_tokens, options)
    return texts, scores.argmin(1).tolist()


def row_losses(
    backbone, prompts, owner, rows, token_budget=0, processes: Processes | None = None
) -> Tensor:
    model = model_for(backbone, prompts)
    return loop.row_losses(model, flat(prompts), owner, rows, token_budget, processes)


def in_batches(backbone, rows, prompt_length, token_budget, work):
    return backbone.in_batches(rows, prompt_length, token_budget, work)


# --- starts and sources


def vocabulary_start(backbone: Any, length: int, seed: int) -> Tensor:
    """Return the start [n, h] of a seed."""
    tuner = SoftPrompt(prompt_length=length)
    delta = tuner.initialize(backbone, torch.Generator().manual_seed(seed))
    return delta.view(length, -1)


def Free(start: Tensor, jobs: int) -> source.Free:  # noqa: N802
    return source.Free(flat(start), jobs)


def all_prompts(some: source.Source, count: int, device: torch.device) -> Tensor:
    return sweep.all_deltas(some, count, device)


def model_of_source(backbone: Any, some: source.Source) -> Any:
    if not hasattr(backbone, "generate_and_rank"):
        return backbone
    with torch.no_grad():
        return model_for(backbone, some(torch.zeros(1, dtype=torch.long)))


# --- the loop


def fit(
    backbone: Any,
    some: source.Source,
    jobs: Any,
    config: Any,
    checkpoint: Checkpoint | None = None,
    progress: Any = no_progress,
    processes: Processes = Processes(),
) -> list[loop.Outcome]:
    execution = Execution(checkpoint or Checkpoint.none(), progress, processes)
    model = model_of_source(backbone, some) if jobs else backbone
    return loop.fit(model, some, jobs, config, execution)


def backward(backbone, some, jobs, steps, config, processes: Processes | None = None) -> Tensor:
    return loop.backward(model_of_source(backbone, some), some, jobs, steps, config, processes)


def dev_losses(
    backbone, some, jobs, token_budget, processes: Processes | None = None
) -> Tensor:
    return loop.dev_losses(model_of_source(backbone, some), some, jobs, token_budget, processes)


def stack_jobs(data, rates, config, seeds) -> list[loop.Job]:
    return sweep.Sweep(data, rates, seeds).jobs(config)


def select_best(backbone, some, data, rates, outcomes, by_loss=False) -> list[sweep.Selected]:
    model = model_of_source(backbone, some) if len(outcomes) else backbone
    return sweep.select_best(model, some, sweep.Sweep(data, rates, 0), outcomes, by_loss)


def run_sweep(
    backbone, some, data, rates, config, seeds, checkpoint=None, progress=no_progress
) -> list[sweep.Selected]:
    model = model_of_source(backbone, some) if data else backbone
    tried = sweep.Sweep(data, rates, seeds)
    execution = Execution(checkpoint or Checkpoint.none(), progress)
    outcomes = loop.fit(model, some, tried.jobs(config), config, execution)
    return sweep.select_best(model, some, tried, outcomes, by_loss=config.prunes)


def score_prompts(backbone, prompts, data, part="test", rank=True, progress=lambda a, b: None):
    model = model_for(backbone, prompts)
    return evaluate.score_deltas(model, flat(prompts), data, part, rank, progress)


def linearize(backbone, some, vectors, jobs, config):
    model = model_of_source(backbone, some)
    made = levenberg_marquardt.linearize(model, some, vectors, jobs, config)
    return made.losses, made.gradient, made.curvature


def fit_vectors(backbone, some, jobs, config, checkpoint=None, progress=no_progress):
    model = model_of_source(backbone, some)
    execution = Execution(checkpoint or Checkpoint.none(), progress)
    return levenberg_marquardt.fit_vectors(model, some, jobs, config, execution)


# --- the stages


@dataclass(frozen=True)
class TunedPrompt:
    """A tuned delta as a prompt [n, h]."""

    prompt: Tensor
    learning_rate: float
    dev_loss: float
    steps: int


def tune_prompts(
    backbone, data, config, seeds, checkpoint=None, start=None, progress=no_progress
) -> list[TunedPrompt]:
    length = start.shape[-2]
    execution = Execution(checkpoint or Checkpoint.none(), progress)
    model = model_of(backbone, length)
    tuned = tuning.tune_deltas(model, data, config, Start(flat(start), seeds), execution)
    return [
        TunedPrompt(t.delta.view(length, -1), t.learning_rate, t.dev_loss, t.steps) for t in tuned
    ]


def find_subspace(
    backbone, bank, data, config, split, seed, checkpoint=None, progress=no_progress,
    processes: Processes = Processes(),
):  # fmt: skip
    execution = Execution(checkpoint or Checkpoint.none(), progress, processes)
    model = model_for(backbone, bank)
    found = msf.find_subspace(model, bank.flatten(1), data, config, seed, execution)
    found.split = split
    return found


def find_shared_prompt(
    backbone, start, data, config, rate, seed, checkpoint=None, progress=no_progress,
    processes: Processes = Processes(),
):  # fmt: skip
    from dataclasses import replace

    execution = Execution(checkpoint or Checkpoint.none(), progress, processes)
    model = model_of(backbone, start.shape[-2])
    at_rate = replace(config, learning_rate=rate)
    found = msf.find_shared_delta(model, flat(start), data, at_rate, seed, execution)
    return found.view(start.shape)


def choose_starts(backbone, decode, data, seen, seed, count=1):
    model = backbone
    if hasattr(backbone, "generate_and_rank"):
        model = model_for(backbone, decode(seen.vectors[:1]))
    return ist.choose_starts(model, decode, data, seen, seed, count)


def tune_vectors(
    backbone, subspace, data, config, seeds, checkpoint=None, progress=no_progress, start=None
):
    model = backbone
    if hasattr(backbone, "generate_and_rank"):
        model = model_of(backbone, subspace.size // backbone.hidden_size)
    if start is None:
        start = torch.zeros(len(data), 1, subspace.dim)
    execution = Execution(checkpoint or Checkpoint.none(), progress)
    return ist.tune_vectors(model, subspace, data, config, Start(start, seeds), execution)


def mix(backbone, bank, names, dim, data, config, seed, checkpoint=None, progress=no_progress):
    execution = Execution(checkpoint or Checkpoint.none(), progress)
    seen = ist.SeenVectors(bank.flatten(1), names)
    model = model_for(backbone, bank)
    return mixture.tune_mixtures(model, seen, dim, data, config, seed, execution).weights


def mixed(weights: Tensor, bank: Tensor) -> Tensor:
    """Return the prompts [A, n, h] that weights [A, S] make of the bank's [S, n, h]."""
    return source.mix_deltas(weights, bank.flatten(1)).view(len(weights), *bank.shape[1:])

"""What else adapts a frozen model to an unseen task with few numbers: rivals of an intrinsic subspace.

* A mixture of seen prompts, d numbers: p = P_0 + sum over k of z_k (P_k - P_0), where P_0 to P_d are d + 1 of the seen prompts (or
  their mean) with the least loss on the few shots; a part of `ipt ist`. After ATTEMPT (Asai et al., arXiv 2205.11961), whose weights
  come from the input.
* LoRA (Hu et al., arXiv 2106.09685) through PEFT, of rank 1 on one projection, the fewest numbers it allows, without a prompt;
  in `ipt bench --race`.
* d numbers along random directions of all the model's weights (Li et al., arXiv 1804.08838; SAID, arXiv 2012.13255, a variant of
  the released code, has Fastfood directions), without a prompt; in `ipt bench --race`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.methods.ist import SeenVectors, choose_starts
from ipt.training.source import Mixture, mix_deltas
from ipt.training.sweep import Progress, run_sweep


def mix(
    backbone: Backbone, bank: Tensor, names: tuple[str, ...], dim: int, data: Sequence[EncodedTask], config: IstConfig, seed: int,
    kept: Checkpoint, progress: Progress = lambda done, total, loss: None,
) -> Tensor:  # fmt: skip
    """Return each task's weights [T, S] of the seen prompts, bank [S, n, h] of the tasks `names`; `mixed` makes its prompt.

    Tried as in IST: each of the best prompts (of other tasks, or their mean) as the first anchor, one job each per rate, with the d
    best others beside it, or all where there are fewer; only the best where IST has one start (`--start` mean or noise).
    """
    one = torch.eye(len(bank), device=bank.device)
    tried = config.tries // len(config.learning_rates)  # starts of a task
    most = max(tried, dim + 1)
    best = choose_starts(backbone, lambda weights: mix_deltas(weights, bank), data, SeenVectors(one, names), seed, most)
    places = range(best.shape[1])
    order = [[k, *[i for i in places if i != k][:dim]] for k in places[:tried]]
    rates = config.learning_rates * len(order)
    source = Mixture(best[:, order].flatten(0, 1).repeat_interleave(len(config.learning_rates), 0), bank)
    choices = run_sweep(backbone, source, data, rates, config, seed, kept, progress)
    return source.weights(torch.tensor([c.index for c in choices], dtype=torch.long, device=bank.device)).detach()



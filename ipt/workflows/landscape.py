"""`ipt probe`: what a subspace looks like through the model. Figures and `ipt report` read what it leaves in an IST run's folder.

* landscape: dev loss and dev score of one task over a plane of codes that holds its solution and its two best starts, with the path of IST
* curvature: the generalised Gauss-Newton matrix of its train loss there, and from it the code's error bars
* transfer: the dev score of task i's code on task j; between two tasks: both scores along the line from one code to the other
* words: the vocabulary's nearest vectors to a decoded prompt's, and how far a prompt moves along each intrinsic axis

Nothing is trained but the path, which is IST's own again.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, LevenbergMarquardtConfig, ProbeConfig, identity
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment
from ipt.methods.subspace import Subspace
from ipt.run import Run
from ipt.storage import write_json, write_tensors
from ipt.training.evaluate import score_deltas
from ipt.training.levenberg_marquardt import linearize
from ipt.training.loop import fit, row_losses
from ipt.training.source import Decoded
from ipt.training.sweep import choose, stack

NEAR = 6  # seen tasks shown on the plane
WORDS = 3  # of the vocabulary per prompt vector
Tensors = dict[str, Tensor]


@torch.no_grad()
def run_probe(experiment: Experiment, subspace: Subspace, ist: IstConfig, vectors: Tensors, config: ProbeConfig, task: str, run: Run) -> None:
    """Look from all sides and write probe.safetensors and probe.json into the run's folder; vectors: those of the run, by setting."""
    seen, unseen = list(experiment.split.seen), [*experiment.split.unseen, *experiment.split.out_of_kind]
    codes = dict(zip(seen, subspace.encode(experiment.prompts(seen, SAME_DATA_SEED)), strict=True))
    for setting, names in (("train_same", seen), ("test", unseen)):
        codes |= dict(zip(names, vectors.get(setting, torch.empty(0)).to(experiment.backbone.device), strict=False))
    (data,) = experiment.data([task], SAME_DATA_SEED)
    with experiment.reporter.bar(f"the landscape of {task}"):
        tensors, about = landscape(experiment, subspace, ist, data, {name: codes[name] for name in seen if name != task}, config)
    end = tensors["landscape.end"]
    known = torch.stack([codes[name] for name in seen])
    middle, spread = known.mean(0), known.std(0)
    tensors |= curvature(experiment, subspace, data, end, spread)
    with experiment.reporter.bar("transfer between tasks"):
        chosen = spread_out([n for n in experiment.split.all if n in codes], experiment, config.tasks)
        tensors["transfer.scores"] = transfer(experiment, subspace, torch.stack([codes[n] for n in chosen]), chosen)
    near, far = about["nearest"][0], max((n for n in seen if n != task), key=lambda n: float((codes[n] - end).norm()))
    pairs = [(task, near), (task, far)]
    with experiment.reporter.bar("between two tasks"):
        tensors["between.scores"] = torch.stack([between(experiment, subspace, (end, codes[b]), (a, b), config.points) for a, b in pairs])
    tensors["words.change"] = axis_change(subspace, middle, spread)
    decoded = {name: words(experiment, subspace, codes[name]) for name in (task, near)}
    about |= {"task": task, "transfer": chosen, "between": pairs, "words": decoded, "probe": identity(config), "rows": "dev"}

    def write() -> None:
        write_tensors(run.folder / "probe.safetensors", {name: t.contiguous() for name, t in tensors.items()})
        write_json(run.folder / "probe.json", about)

    experiment.processes.on_main_process(write)


def landscape(
    experiment: Experiment, subspace: Subspace, ist: IstConfig, data: EncodedTask, seen: dict[str, Tensor], config: ProbeConfig
) -> tuple[Tensors, dict[str, Any]]:  # fmt: skip
    """Return dev loss (nats per token) and dev score over a plane of codes, [G, G] each, and what lies on it, in the codes' units.

    The plane goes through where IST ends (its origin) and, along its axes, towards the two best starts.
    """
    path, starts = follow(experiment, subspace, ist, data)
    end = path[-1]
    axes = torch.linalg.qr(torch.stack([path[0] - end, *(s - end for s in starts), *torch.eye(subspace.dim, device=end.device)]).T)[0].T[:2]
    place = lambda points: (points - end) @ axes.T  # noqa: E731
    nearest = sorted(seen, key=lambda name: float((seen[name] - end).norm()))[:NEAR]
    near = torch.stack([seen[name] for name in nearest])
    known = torch.cat([place(path), place(starts)])
    low, high = known.min(0).values - config.margin, known.max(0).values + config.margin
    across, up = (torch.linspace(float(low[i]), float(high[i]), config.grid, device=end.device) for i in (0, 1))
    grid = torch.cartesian_prod(up, across).flip(1)  # [G * G, 2], rows of equal height
    prompts = subspace.decode(end + grid @ axes)
    of_row = [u for u in range(len(prompts)) for _ in data.dev]
    losses = row_losses(experiment.backbone, prompts, of_row, [row for _ in prompts for row in data.dev], 0).view(len(prompts), -1).mean(1)
    scores = score_deltas(experiment.backbone, prompts, [data] * len(prompts), "dev", rank=False)
    shape = (config.grid, config.grid)
    found = {"loss": losses.view(shape), "score": torch.tensor([s.generated for s in scores]).view(shape), "across": across, "up": up}
    found |= {"path": place(path), "starts": place(starts), "near": place(near), "end": end, "axes": axes}
    distances = {name: round(float((seen[name] - end).norm()), 4) for name in nearest}
    return {f"landscape.{name}": tensor for name, tensor in found.items()}, {"nearest": nearest, "distances": distances}


@torch.enable_grad()
def follow(experiment: Experiment, subspace: Subspace, ist: IstConfig, data: EncodedTask) -> tuple[Tensor, Tensor]:
    """Return the codes [P, d] that IST goes through from the start that wins to its end, and all starts [S, d]."""
    starts = experiment.starts(ist, subspace, [data])[0]
    rates = ist.learning_rates * len(starts)
    source = Decoded(starts.repeat_interleave(len(ist.learning_rates), 0), subspace.decode)
    trail = [source.values.detach().clone()]
    note = lambda done, total, loss: trail.append(source.values.detach().clone())  # noqa: E731
    outcomes = fit(experiment.backbone, source, stack([data], rates, ist, experiment.seed), ist, Checkpoint.none(), note)
    best = choose(experiment.backbone, source, [data], rates, outcomes, by_loss=ist.prunes)[0].index
    return torch.stack(trail)[: outcomes[best].best_step + 1, best], starts


def curvature(experiment: Experiment, subspace: Subspace, data: EncodedTask, code: Tensor, spread: Tensor) -> Tensors:
    """Return the Gauss-Newton matrix [d, d] of the train loss, summed over rows, at a code [d], and the code's error bars [d].

    Laplace's approximation: covariance = (matrix + diag(1 / spread^2))^-1, the prior being the seen codes' spread [d].
    """
    config = LevenbergMarquardtConfig()
    jobs = stack([data], (0.0,), IstConfig(), experiment.seed)
    _, _, matrix = linearize(experiment.backbone, Decoded(code[None], subspace.decode), code[None], jobs, config)
    whole = len(data.train) * matrix[0]
    error = torch.linalg.inv(whole + spread.double().square().reciprocal().diag()).diagonal().sqrt()
    return {"curvature.matrix": whole, "curvature.error": error, "curvature.code": code}


def spread_out(names: Sequence[str], experiment: Experiment, count: int) -> list[str]:
    """Return so many of the tasks, in the order of their subcategories, evenly spaced."""
    order = sorted(names, key=lambda n: (experiment.tasks[n].subcategory, n))
    return [order[i * len(order) // count] for i in range(count)] if count < len(order) else order


def transfer(experiment: Experiment, subspace: Subspace, codes: Tensor, names: Sequence[str]) -> Tensor:
    """Return the dev score [K, K] of the code of task i (row) on task j (column)."""
    data = experiment.data(names, SAME_DATA_SEED)
    prompts = subspace.decode(codes).repeat_interleave(len(data), 0)
    scores = score_deltas(experiment.backbone, prompts, data * len(data), "dev", rank=False)
    return torch.tensor([s.generated for s in scores]).view(len(data), len(data))


def between(experiment: Experiment, subspace: Subspace, ends: tuple[Tensor, Tensor], names: tuple[str, str], points: int) -> Tensor:
    """Return the dev scores [2, P] of two tasks at codes on the line from the first's to the second's."""
    shares = torch.linspace(0, 1, points, device=ends[0].device)[:, None]
    prompts = subspace.decode((1 - shares) * ends[0] + shares * ends[1])
    data = experiment.data(names, SAME_DATA_SEED)
    scores = score_deltas(experiment.backbone, prompts.repeat(2, 1, 1), [d for d in data for _ in range(points)], "dev", rank=False)
    return torch.tensor([s.generated for s in scores]).view(2, points)


def axis_change(subspace: Subspace, middle: Tensor, spread: Tensor) -> Tensor:
    """Return how far each prompt vector moves [d, n] by a deviation of the seen codes along each axis, over its length at their mean."""
    moved = subspace.decode(middle + spread.diag()) - subspace.decode(middle - spread.diag())
    return moved.norm(dim=-1) / (2 * subspace.decode(middle[None]).norm(dim=-1))


def words(experiment: Experiment, subspace: Subspace, code: Tensor) -> list[list[tuple[str, float]]]:
    """Return for each vector of a decoded prompt the vocabulary's nearest tokens by cosine."""
    table = normalize(experiment.backbone.model.get_input_embeddings().weight.float(), dim=1)
    near = normalize(subspace.decode(code[None])[0].float(), dim=1) @ table.T
    values, places = near.topk(WORDS, dim=1)
    names = [experiment.backbone.tokenizer.convert_ids_to_tokens(row) for row in places.tolist()]
    return [[(name, round(value, 3)) for name, value in zip(*pair, strict=True)] for pair in zip(names, values.tolist(), strict=True)]

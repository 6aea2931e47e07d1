"""`ipt probe`: what a subspace looks like through the model.

* landscape: dev loss and dev score of one task over a plane of intrinsic vectors through the start
  and the end of IST, with its path on it
* curvature: the generalised Gauss-Newton matrix of the task's train loss where IST ends, and from
  it the error bars of the vector (Laplace's approximation)
* transfer: the dev score of task i's vector on task j
* between: the dev scores of two tasks along the line from one's vector to the other's
* words: the vocabulary's tokens nearest to a decoded prompt's vectors, and how far a prompt moves
  along each intrinsic axis

Read: an IST run, and the subspace of its MSF run. Trained: nothing but the path, which is IST's own
again. Written into the run's folder, for figures and `ipt report`: probe.safetensors, probe.json.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ipt.config import IstConfig, LevenbergMarquardtConfig, ProbeConfig
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment, encode_tasks
from ipt.methods.subspace import Subspace
from ipt.provenance import from_record, to_record
from ipt.results import RunResult
from ipt.run import Run
from ipt.storage import write_sealed, write_tensors
from ipt.training.evaluate import score_deltas
from ipt.training.levenberg_marquardt import linearize
from ipt.training.loop import Execution, fit, row_losses
from ipt.training.source import Decoded
from ipt.training.sweep import Sweep, select_best
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.deltas import tuned_deltas
from ipt.workflows.ist import choose_vectors

NEAREST_TASKS = 6  # seen tasks shown on the plane
NEAREST_TOKENS = 3  # of the vocabulary, for each prompt vector

Tensors = dict[str, Tensor]


class TaskVector(NamedTuple):
    """A task and its intrinsic vector [d]."""

    task: str
    vector: Tensor


class Path(NamedTuple):
    """The way of IST on one task: the trial that is chosen, and where all trials started."""

    vectors: Tensor  # [P, d], from the start to the step that is kept
    starts: Tensor  # [S, d], best first


class Landscape(NamedTuple):
    """What `landscape` yields."""

    tensors: Tensors  # as they are written
    end: Tensor  # [d] where IST ends
    nearest: list[str]  # seen tasks, the nearest first
    distances: dict[str, float]  # of these from the end


class SimilarToken(NamedTuple):
    """A token of the vocabulary, and the cosine of its embedding with a prompt's vector."""

    token: str
    cosine: float


def middle_task(result: RunResult) -> str:
    """Return the unseen task whose recovery is the middle one.

    The first seen task where no unseen one was tuned.
    """
    shares = {}
    reference = result.reference[SAME_DATA_SEED]
    for name, score in result.scores.get("test", {}).items():
        if reference[name].generated > 0:
            shares[name] = score.generated / reference[name].generated
    if not shares:
        return result.split.seen[0]
    order = sorted(shares, key=lambda name: shares[name])
    return order[len(order) // 2]


@torch.no_grad()
def run_probe(
    experiment: Experiment,
    subspace: Subspace,
    config: ProbeConfig,
    task: str,
    run: Run,
) -> None:
    """Look at a finished IST run from all sides, and write what is seen into its folder.

    task: the one of the landscape, of the curvature and of the first line.
    """
    seen = list(experiment.split.seen)
    vectors = task_vectors(experiment, subspace, run)
    seen_vectors = torch.stack([vectors[name] for name in seen])  # [S, d]
    mean = seen_vectors.mean(0)
    spread = seen_vectors.std(0)
    others = {}
    for name in seen:
        if name != task:
            others[name] = vectors[name]

    # What the run did is done again with its own settings, so that the path is its own.
    ist = from_record(IstConfig, run.config["ist"])
    (data,) = encode_tasks(experiment, [task], SAME_DATA_SEED)
    with experiment.reporter.bar(f"the landscape of {task}"):
        view = landscape(experiment, subspace, ist, data, others, config)
    tensors = dict(view.tensors)
    tensors |= curvature(experiment, subspace, data, view.end, spread)

    with experiment.reporter.bar("transfer between tasks"):
        names = [name for name in experiment.split.all if name in vectors]
        chosen = spread_out(experiment, names, config.tasks)
        of_chosen = [vectors[name] for name in chosen]
        tensors["transfer.scores"] = transfer(
            experiment,
            subspace,
            torch.stack(of_chosen),
            chosen,
        )

    # The nearest and the farthest of the other seen tasks.
    near = view.nearest[0]
    far = max(others, key=lambda name: _distance(others[name], view.end))
    with experiment.reporter.bar("between two tasks"):
        lines = []
        begin = TaskVector(task, view.end)
        for other in (near, far):
            ends = (begin, TaskVector(other, vectors[other]))
            scores = between(experiment, subspace, ends, config.points)
            lines.append(scores)
        tensors["between.scores"] = torch.stack(lines)  # [2, 2, points]

    # Tokens lie near the vectors of a soft prompt; other tuners have none.
    tokens = {}
    if isinstance(experiment.model.tuner, SoftPrompt):
        tensors["words.change"] = axis_change(experiment, subspace, mean, spread)
        for name in (task, near):
            tokens[name] = nearest_tokens(experiment, subspace, vectors[name])

    about = {
        "nearest": view.nearest,
        "distances": view.distances,
        "task": task,
        "transfer": chosen,
        "between": [(task, near), (task, far)],
        "words": tokens,
        "probe": to_record(config),
        "rows": "dev",
        "subspace": run.source.subspace_digest,
    }
    experiment.processes.on_main_process(lambda: write_probe(run, tensors, about))


def write_probe(run: Run, tensors: Tensors, about: dict[str, Any]) -> None:
    """Write both files of a probe into the run's folder."""
    # safetensors takes no views.
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_tensors(run.folder / "probe.safetensors", contiguous)
    write_sealed(run.folder / "probe.json", about)


def task_vectors(experiment: Experiment, subspace: Subspace, run: Run) -> dict[str, Tensor]:
    """Return the intrinsic vector [d] of each task that has one.

    IST's own where the run has tuned it; of a seen task else the encoding of its tuned prompt.
    """
    split = experiment.split
    device = experiment.backbone.device
    seen = list(split.seen)
    unseen = [*split.unseen, *split.out_of_kind]

    encoded = subspace.encode(tuned_deltas(experiment, seen, SAME_DATA_SEED))
    vectors = dict(zip(seen, encoded, strict=True))

    # A run may have some of the conditions only.
    names_by_condition = {"train_same": seen, "test": unseen}
    for condition, names in names_by_condition.items():
        tuned = run.numbers(condition, (len(names), subspace.dim))
        if tuned is not None:
            vectors |= dict(zip(names, tuned.to(device), strict=True))
    return vectors


def landscape(
    experiment: Experiment,
    subspace: Subspace,
    ist: IstConfig,
    data: EncodedTask,
    seen: dict[str, Tensor],
    config: ProbeConfig,
) -> Landscape:
    """Measure dev loss and dev score of a task over a plane of intrinsic vectors.

    The tensors: loss (nats per token) and score, [G, G], rows of one height `up`; what lies on the
    plane (path, starts, near) in its coordinates [N, 2], in the vectors' units; end [d] and axes
    [2, d], which place the plane.

    ist: the settings of the run.
    seen: by name, the vectors [d] of seen tasks other than this one.
    """
    path = follow(experiment, subspace, ist, data)
    end = path.vectors[-1]
    axes = plane_axes(path)

    def coordinates(vectors: Tensor) -> Tensor:
        return (vectors - end) @ axes.T  # [N, 2]

    # The plane goes a margin beyond the path and all starts; near tasks may lie outside.
    on_plane = torch.cat([coordinates(path.vectors), coordinates(path.starts)])
    low = on_plane.min(0).values - config.margin
    high = on_plane.max(0).values + config.margin
    left, bottom = low.tolist()
    right, top = high.tolist()
    across = torch.linspace(left, right, config.grid, device=end.device)
    up = torch.linspace(bottom, top, config.grid, device=end.device)

    # `cartesian_prod` lets its last factor vary fastest: rows of equal height.
    grid = torch.cartesian_prod(up, across).flip(1)  # [G * G, 2]
    points = end + grid @ axes  # [G * G, d]
    deltas = subspace.decode(points)
    shape = (config.grid, config.grid)
    losses = dev_losses_of_deltas(experiment, deltas, data)
    repeated = [data] * len(deltas)
    scores = dev_scores(experiment, deltas, repeated)

    # In the whole space, not on the plane.
    distance_by_name = {}
    for name, vector in seen.items():
        distance_by_name[name] = _distance(vector, end)
    order = sorted(seen, key=distance_by_name.__getitem__)
    nearest = order[:NEAREST_TASKS]
    near = torch.stack([seen[name] for name in nearest])
    tensors = {
        "landscape.loss": losses.view(shape),
        "landscape.score": scores.view(shape),
        "landscape.across": across,
        "landscape.up": up,
        "landscape.path": coordinates(path.vectors),
        "landscape.starts": coordinates(path.starts),
        "landscape.near": coordinates(near),
        "landscape.end": end,
        "landscape.axes": axes,
    }
    distances = {}
    for name in nearest:
        distances[name] = round(distance_by_name[name], 4)
    return Landscape(tensors, end, nearest, distances)


def plane_axes(path: Path) -> Tensor:
    """Return two orthonormal axes [2, d] of a plane that holds the path's start and end.

    The first goes towards the start of the trial that is chosen. The second goes towards the best
    of all starts; where that is the same one, its direction is arbitrary.
    """
    end = path.vectors[-1]
    to_start = path.vectors[:1] - end  # [1, d]
    to_starts = path.starts - end  # [S, d]
    # Unit vectors last, in case there is one start only.
    units = torch.eye(len(end), device=end.device)
    directions = torch.cat([to_start, to_starts, units])

    # The columns of Q are the directions, made orthonormal one after another.
    orthonormal, _ = torch.linalg.qr(directions.T)
    return orthonormal.T[:2]


@torch.enable_grad()
def follow(
    experiment: Experiment,
    subspace: Subspace,
    ist: IstConfig,
    data: EncodedTask,
) -> Path:
    """Run IST on one task again, and return the way of the trial that is chosen."""
    starts = choose_vectors(experiment, subspace, [data], ist, experiment.seed)[0]  # [S, d]
    rates = ist.learning_rates * len(starts)
    values = starts.repeat_interleave(len(ist.learning_rates), 0)  # [J, d]
    source = Decoded(values, subspace.decode)
    trail = [source.values.detach().clone()]

    def append_values(done: int, total: int, loss: float) -> None:
        trail.append(source.values.detach().clone())

    model = experiment.model
    sweep = Sweep([data], rates, experiment.seed)
    execution = Execution(progress=append_values)
    outcomes = fit(model, source, sweep.jobs(ist), ist, execution)
    (choice,) = select_best(model, source, sweep, outcomes, by_loss=ist.prunes)
    # Steps after the one that is kept are no part of the way.
    last = outcomes[choice.index].best_step
    return Path(torch.stack(trail)[: last + 1, choice.index], starts)


def dev_losses_of_deltas(
    experiment: Experiment,
    deltas: Tensor,
    data: EncodedTask,
) -> Tensor:
    """Return the dev loss [U] of a task under each of the deltas [U, P], nats per token."""
    count = len(deltas)
    owner = []
    rows = []
    for u in range(count):
        for row in data.dev:
            owner.append(u)
            rows.append(row)
    losses = row_losses(experiment.model, deltas, owner, rows, 0)
    by_prompt = losses.view(count, -1)  # [U, dev rows]
    return by_prompt.mean(1)


def dev_scores(
    experiment: Experiment,
    deltas: Tensor,
    data: Sequence[EncodedTask],
) -> Tensor:
    """Return the dev score [U] of each of the deltas [U, P] on its own task of U."""
    scores = score_deltas(experiment.model, deltas, data, "dev", rank=False)
    return torch.tensor([score.generated for score in scores])


def curvature(
    experiment: Experiment,
    subspace: Subspace,
    data: EncodedTask,
    vector: Tensor,
    spread: Tensor,
) -> Tensors:
    """Return the train loss's Gauss-Newton matrix [d, d] at a vector [d], and error bars [d].

    The loss is summed over rows. Error bars are deviations of Laplace's approximation,

        covariance = (matrix + diag(1 / spread^2))^-1

    spread: [d] deviation of the seen vectors, the prior's.
    """
    jobs = Sweep([data], (0.0,), experiment.seed).jobs(IstConfig())
    values = vector[None]
    source = Decoded(values, subspace.decode)
    config = LevenbergMarquardtConfig()
    matrices = linearize(experiment.model, source, values, jobs, config).curvature

    # `linearize` takes the mean over rows; each row is an observation, so their sum counts.
    matrix = len(data.train) * matrices[0]
    precisions = spread.double().square().reciprocal()
    covariance = torch.linalg.inv(matrix + precisions.diag())
    return {
        "curvature.matrix": matrix,
        "curvature.error": covariance.diagonal().sqrt(),
        "curvature.code": vector,
    }


def spread_out(experiment: Experiment, names: Sequence[str], count: int) -> list[str]:
    """Return so many of the tasks, or all, evenly spaced in the order of their subcategories."""

    def place(name: str) -> tuple[str, str]:
        return experiment.tasks[name].subcategory, name

    order = sorted(names, key=place)
    if count >= len(order):
        return order
    chosen = []
    for i in range(count):
        position = i * len(order) // count
        chosen.append(order[position])
    return chosen


def transfer(
    experiment: Experiment,
    subspace: Subspace,
    vectors: Tensor,
    names: Sequence[str],
) -> Tensor:
    """Return the dev score [K, K] of the vector of task i (row) on task j (column).

    vectors: [K, d], of the tasks `names`.
    """
    data = encode_tasks(experiment, names, SAME_DATA_SEED)
    count = len(data)
    # Pair (i, j) stands at place i * K + j.
    deltas = subspace.decode(vectors)
    deltas = deltas.repeat_interleave(count, 0)
    scores = dev_scores(experiment, deltas, data * count)
    return scores.view(count, count)


def between(
    experiment: Experiment,
    subspace: Subspace,
    ends: tuple[TaskVector, TaskVector],
    points: int,
) -> Tensor:
    """Return the dev scores [2, points] of two tasks on the line from the first's vector on."""
    first, second = ends
    device = first.vector.device
    shares = torch.linspace(0, 1, points, device=device)
    shares = shares[:, None]  # [points, 1], of the second vector
    line = (1 - shares) * first.vector + shares * second.vector  # [points, d]

    # Every prompt of the line on both tasks.
    deltas = subspace.decode(line)
    deltas = deltas.repeat(2, 1)
    data = []
    names = (first.task, second.task)
    for task in encode_tasks(experiment, names, SAME_DATA_SEED):
        data += [task] * points
    scores = dev_scores(experiment, deltas, data)
    return scores.view(2, points)


def axis_change(
    experiment: Experiment,
    subspace: Subspace,
    mean: Tensor,
    spread: Tensor,
) -> Tensor:
    """Return how far each prompt vector moves along each axis, [d, n], relative to its length.

    By one deviation of the seen vectors (central difference); the length is that at their mean.

    mean, spread: [d] of the seen vectors.
    """
    # One row for each axis, [d, d]: the mean, shifted along it. Both ways, since the decoder may
    # be curved.
    shifts = spread.diag()
    forth = decoded_prompts(experiment, subspace, mean + shifts)  # [d, n, h]
    back = decoded_prompts(experiment, subspace, mean - shifts)
    at_mean = decoded_prompts(experiment, subspace, mean[None])  # [1, n, h]
    change = (forth - back).norm(dim=-1)
    length = at_mean.norm(dim=-1)
    return change / (2 * length)


def decoded_prompts(experiment: Experiment, subspace: Subspace, vectors: Tensor) -> Tensor:
    """Return the soft prompts [U, n, h] of vectors [U, d]."""
    deltas = subspace.decode(vectors)
    return experiment.model.tuner.parts(experiment.backbone, deltas)["prompt"]


def nearest_tokens(
    experiment: Experiment,
    subspace: Subspace,
    vector: Tensor,
) -> list[list[SimilarToken]]:
    """Return for each vector of a decoded prompt the vocabulary's nearest tokens, by cosine."""
    backbone = experiment.backbone
    embeddings = backbone.model.get_input_embeddings().weight  # [V, h]
    (prompt,) = decoded_prompts(experiment, subspace, vector[None])  # [n, h]

    # Of unit vectors the product is the cosine: the length of a prompt is not that of
    # an embedding.
    table = normalize(embeddings.float(), dim=1)
    directions = normalize(prompt.float(), dim=1)
    cosines = directions @ table.T  # [n, V]
    top = cosines.topk(NEAREST_TOKENS, dim=1)

    nearest = []
    for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True):
        tokens = backbone.tokenizer.convert_ids_to_tokens(ids)
        similar = []
        for token, value in zip(tokens, values, strict=True):
            similar.append(SimilarToken(token, round(value, 3)))
        nearest.append(similar)
    return nearest


def _distance(vector: Tensor, other: Tensor) -> float:
    return float((vector - other).norm())

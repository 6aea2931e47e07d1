"""A complete run as a place to walk in: tasks' codes, and the model's answers anywhere.

A code is a task's d numbers: those that IST has tuned where the run has them, of a seen task else
those that the MSF run's encoder makes of its tuned delta. Any other d numbers are a place too: the
subspace decodes them to a delta, behind which a task's head has its own numbers.

Nothing is written, and nothing is tuned but by `Walk.tune`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ipt.bank import open_bank
from ipt.config import IstConfig
from ipt.data import SAME_DATA_SEED, Task
from ipt.encoded import EncodedTask, answer_limit, drawn_sets
from ipt.example import Example
from ipt.experiment import Experiment
from ipt.fewshot import FewShot
from ipt.heads.base import Prediction
from ipt.methods.subspace import Subspace
from ipt.metrics import score
from ipt.provenance import from_record
from ipt.results import RunResult
from ipt.run import Run
from ipt.training.evaluate import accepted_answers, groups_of
from ipt.training.loop import Execution, fit
from ipt.training.source import Decoded, joined, with_heads
from ipt.training.sweep import Sweep
from ipt.workflows.answers import (
    Answer,
    answer_of,
    likelihoods,
    option_shares,
    predict_stacked,
    unanswered,
)

# A row as a text, as an object with the fields of the task's kind, or of the task itself.
Row = str | Mapping[str, Any] | Example

OWN_TEXT_TOKENS = 16  # most of an answer to a text that is no task's
# Deltas that are decoded at once: of LoRA or full tuning a plane would not fit into memory.
MOST_NUMBERS = 2**26
# What a task's code was made by.
BY_IST, BY_MSF = "IST", "MSF"


class Way(NamedTuple):
    """The way of some steps of IST from a place."""

    path: Tensor  # [S + 1, d], from the start to the step with the least dev loss
    dev_loss: float  # at its end, nats per target


@dataclass(frozen=True)
class Plane:
    """Answers to one row over the plane through three tasks' codes.

    Place (x, y) of the plane is the code origin + x * axes[0] + y * axes[1].
    """

    names: tuple[str, str, str]
    origin: Tensor  # [d]
    axes: Tensor  # [2, d], orthonormal
    anchors: Tensor  # [3, 2] coordinates of the tasks
    across: Tensor  # [W] coordinates of the columns, left to right
    up: Tensor  # [H] coordinates of the lines, the lowest first
    answers: list[list[Answer]]
    """[H][W]."""
    likelihoods: Tensor | None
    """[H, W] geometric mean of the probabilities of the answer's tokens; None: not asked for."""


@dataclass(frozen=True)
class Walk:
    """A run's tasks, codes and model.

    names: seen tasks, then unseen ones; those that have a code.
    codes: [T, d] in the order of names.
    made_by: by name, whether IST or MSF has made the code.
    """

    run: Run
    experiment: Experiment
    result: RunResult
    found: RunResult
    """Of the MSF run, whose subspace it is."""
    subspace: Subspace
    names: tuple[str, ...]
    codes: Tensor
    made_by: dict[str, str]

    @classmethod
    def open(cls, run: Run, experiment: Experiment) -> "Walk":
        """Read the codes of a complete run of `ipt msf` or `ipt ist`.

        Raises ValueError for a run that is not complete, or has no codes of single tasks.
        """
        record = run.result
        if record is None:
            raise ValueError(f"{run.folder} is not complete; run its command again to finish it")
        if record.get("kind") not in ("msf", "ist"):
            raise ValueError(
                f"{run.folder} is a run of ipt {run.config['kind']} and has no codes of tasks; "
                "choose one of ipt ist or ipt msf"
            )
        result = RunResult.from_json(record)
        source = run if result.kind == "msf" else run.source
        subspace = Subspace.load(source.folder / "subspace").to(experiment.model.device)
        found = source.result
        if found is None:
            raise ValueError(f"{source.folder}, whose subspace it is, is not complete")
        codes = _codes(run, source, experiment, subspace.dim)
        return cls(
            run=run,
            experiment=experiment,
            result=result,
            found=RunResult.from_json(found),
            subspace=subspace,
            names=tuple(codes),
            codes=torch.stack([code for code, _ in codes.values()]).to(experiment.model.device),
            made_by={name: made_by for name, (_, made_by) in codes.items()},
        )

    # --- the space

    @property
    def dim(self) -> int:
        """d."""
        return self.subspace.dim

    @cached_property
    def seen_codes(self) -> Tensor:
        """[S, d] of the seen tasks."""
        seen = set(self.experiment.seen)
        places = [place for place, name in enumerate(self.names) if name in seen]
        # A run of unseen tasks alone has theirs to measure by.
        return self.codes[places] if places else self.codes

    @cached_property
    def mean(self) -> Tensor:
        """[d] of the seen codes."""
        return self.seen_codes.mean(0)

    @cached_property
    def spread(self) -> Tensor:
        """[d] standard deviations of the seen codes."""
        return self.seen_codes.std(0, correction=0)

    @cached_property
    def directions(self) -> Tensor:
        """[d, d] principal directions of the seen codes, one a line, the widest first."""
        return self._principal[0]

    @cached_property
    def shares(self) -> Tensor:
        """[d] share of the seen codes' variance along each principal direction."""
        return self._principal[1]

    @cached_property
    def _principal(self) -> tuple[Tensor, Tensor]:
        # On the CPU in float64: the signs of a map must not change from one start to the next.
        centred = (self.seen_codes - self.mean).double().cpu()
        covariance = centred.T @ centred
        values, vectors = torch.linalg.eigh(covariance)
        directions = vectors.T.flip(0)  # the largest first
        # The largest part of a direction is positive.
        largest = directions.abs().argmax(1, keepdim=True)
        directions = directions * directions.gather(1, largest).sign()
        values = values.flip(0).clamp(min=0)
        shares = values / values.sum().clamp(min=1e-12)
        return directions.to(self.codes), shares.to(self.codes)

    def task(self, name: str) -> Task:
        """Return a task of the run; raise ValueError where it has no code."""
        if name not in self.names:
            some = ", ".join(self.names[:8])
            raise ValueError(f"{self.run.folder} has no code of {name!r}; it has {some}, ...")
        return self.experiment.tasks[name]

    def code(self, name: str) -> Tensor:
        """Return the code [d] of a task; raise ValueError where it has none."""
        self.task(name)
        return self.codes[self.names.index(name)]

    # --- rows

    def sets(self, name: str) -> FewShot:
        """Return a task's few-shot sets, those that its code was tuned on, and its test rows."""
        work = self.experiment.work
        shots = self.experiment.tune.shots
        return drawn_sets(self.task(name), SAME_DATA_SEED, shots, work.limit, work.held_out)

    def max_tokens(self, name: str) -> int:
        """Return how many tokens an answer to the task's own rows may have."""
        task = self.task(name)
        sets = self.sets(name)
        model = self.experiment.model
        rows = model.head.encode(model.backbone, task, [*sets.train, *sets.dev])
        return answer_limit([*rows, *model.head.encode_options(model.backbone, task)])

    def examples(self, name: str, rows: Sequence[Row]) -> list[Example]:
        """Return rows as examples; raise ValueError, with a row's number, for another kind."""
        task = self.task(name)
        head = self.experiment.model.head.of_task(task)
        examples = []
        for number, row in enumerate(rows, 1):
            if not isinstance(row, Example):
                row = unanswered(row, task, head, f"row {number}")  # noqa: PLW2901
            examples.append(row)
        return examples

    # --- answers

    def deltas(self, vectors: Tensor, name: str) -> Tensor:
        """Return the deltas [N, P + H] of vectors [N, d], with the head of a task."""
        head = self._heads(name).expand(len(vectors), -1)
        return joined(self.subspace.decode(vectors.to(self.codes)), head)

    def predictions(
        self,
        vectors: Tensor,
        name: str,
        examples: Sequence[Example],
        max_tokens: int,
    ) -> list[list[Prediction]]:
        """Return what is predicted for R rows of a task at each of N places, N lists of R.

        vectors: [N, d].
        """
        found = []
        for some in self._pieces(vectors):
            deltas = self.deltas(some, name)
            found += predict_stacked(deltas, self.experiment, name, examples, max_tokens)
        return found

    def answers(
        self,
        vectors: Tensor,
        name: str,
        rows: Sequence[Row],
        max_tokens: int,
    ) -> list[list[Answer]]:
        """Return the answers to R rows of a task at each of N places, N lists of R.

        vectors: [N, d].
        Raises ValueError, with the number of the row, for one that is not of the task's kind.
        """
        examples = self.examples(name, rows)
        found = []
        for predictions in self.predictions(vectors, name, examples, max_tokens):
            found.append(self.said(name, examples, predictions))
        return found

    def said(
        self,
        name: str,
        examples: Sequence[Example],
        predictions: Sequence[Prediction],
    ) -> list[Answer]:
        """Return predictions for rows of a task as they are shown."""
        task = self.task(name)
        head = self.experiment.model.head.of_task(task)
        answers = []
        for example, prediction in zip(examples, predictions, strict=True):
            answers.append(answer_of(example, prediction, task, head))
        return answers

    def likelihoods(
        self,
        vectors: Tensor,
        name: str,
        examples: Sequence[Example],
        predictions: Sequence[Sequence[Prediction]],
    ) -> Tensor:
        """Return the likelihood [N, R] of each prediction (`ipt.workflows.answers`)."""
        found = []
        first = 0
        for some in self._pieces(vectors):
            deltas = self.deltas(some, name)
            of_some = predictions[first : first + len(some)]
            found.append(likelihoods(deltas, self.experiment, name, examples, of_some))
            first += len(some)
        return torch.cat(found)

    def option_shares(self, vector: Tensor, name: str, row: Row) -> dict[str, float]:
        """Return the probability of each of a task's options at a place [d]; none: it has none."""
        task = self.task(name)
        if not task.options or task.category != "cls":
            return {}
        (example,) = self.examples(name, [row])
        deltas = self.deltas(vector[None], name)
        (shares,) = option_shares(deltas, self.experiment, name, example).tolist()
        return dict(zip(task.options, shares, strict=True))

    def answers_of_tasks(self, row: Row, max_tokens: int) -> dict[str, Answer | None]:
        """Return what every task's own numbers answer to one row, by name.

        None where the row is not of the task's kind.
        """
        model = self.experiment.model
        found: dict[str, Answer | None] = {}
        # Whatever is generated depends on no task: one batch for all.
        if model.backbone.generates and not model.head.reads_states:
            name = self.names[0]
            answers = self.answers(self.codes, name, [row], max_tokens)
            for name, (answer,) in zip(self.names, answers, strict=True):
                found[name] = answer
            return found
        for place, name in enumerate(self.names):
            try:
                ((answer,),) = self.answers(self.codes[place][None], name, [row], max_tokens)
            except ValueError:
                found[name] = None
            else:
                found[name] = answer
        return found

    def tuned_predictions(
        self,
        name: str,
        examples: Sequence[Example],
        max_tokens: int,
    ) -> list[Prediction] | None:
        """Return what a task's own tuned delta predicts; None where the bank does not have it."""
        tuned = open_bank(self.experiment, SAME_DATA_SEED).get(self.task(name))
        if tuned is None:
            return None
        delta = torch.cat([tuned.delta, tuned.head]).to(self.codes)
        return predict_stacked(delta[None], self.experiment, name, examples, max_tokens)[0]

    def score(
        self,
        name: str,
        examples: Sequence[Example],
        predictions: Sequence[Prediction],
    ) -> float:
        """Return a task's metric over predictions for its own rows."""
        texts = [one.text for one in predictions]
        accepted = accepted_answers(examples)
        return score(self.task(name).metric, texts, accepted, groups_of(examples))

    # --- ways and planes

    def between(self, first: Tensor, second: Tensor, places: int) -> Tensor:
        """Return places [N, d] on the line from one code [d] to another, both ends among them."""
        shares = torch.linspace(0, 1, places, device=self.codes.device)[:, None]
        return (1 - shares) * first + shares * second

    def plane(
        self,
        row: Row,
        names: tuple[str, str, str],
        width: int,
        height: int,
        margin: float = 0.25,
    ) -> Plane:
        """Return the answers to one row over the plane through three tasks' codes.

        The head and the options are those of the first task; a model that generates has neither.
        width, height: places of the grid; they are squares.
        margin: beyond the tasks, as a share of their larger extent.
        Raises ValueError for codes that span no plane, and for a row of another kind.
        """
        plane = self._grid(names, width, height, margin)
        points = torch.cartesian_prod(plane.up, plane.across).flip(1)  # [H * W, 2]
        vectors = plane.origin + points @ plane.axes
        examples = self.examples(names[0], [row])
        predictions = self.predictions(vectors, names[0], examples, OWN_TEXT_TOKENS)
        likely = self.likelihoods(vectors, names[0], examples, predictions)
        answers = []
        for (prediction,) in predictions:
            answers += self.said(names[0], examples, [prediction])
        lines = [answers[i : i + width] for i in range(0, len(answers), width)]
        return replace(plane, answers=lines, likelihoods=likely.view(height, width))

    def _grid(
        self,
        names: tuple[str, str, str],
        width: int,
        height: int,
        margin: float,
    ) -> Plane:
        """Return a plane without answers."""
        first, second, third = (self.code(name) for name in names)
        directions = torch.stack([second - first, third - first])  # [2, d]
        if self.dim < 2 or torch.linalg.matrix_rank(directions) < 2:
            raise ValueError(
                f"the codes of {', '.join(names)} lie on one line and span no plane; "
                "choose other tasks, or a run with --dim 2 or more"
            )
        across = directions[0] / directions[0].norm()
        rest = directions[1] - (directions[1] @ across) * across
        axes = torch.stack([across, rest / rest.norm()])
        anchors = torch.cat([directions.new_zeros(1, self.dim), directions]) @ axes.T  # [3, 2]
        low, high = anchors.amin(0), anchors.amax(0)
        extent = (high - low) + 2 * margin * (high - low).max()
        # The side that is too short for squares is made longer, both ways.
        step = float(torch.maximum(extent[0] / width, extent[1] / height))
        middle = (low + high) / 2
        columns = torch.arange(width, device=self.codes.device) - (width - 1) / 2
        lines = torch.arange(height, device=self.codes.device) - (height - 1) / 2
        return Plane(
            names=names,
            origin=first,
            axes=axes,
            anchors=anchors,
            across=middle[0] + step * columns,
            up=middle[1] + step * lines,
            answers=[],
            likelihoods=None,
        )

    @torch.enable_grad()
    def tune(self, name: str, vector: Tensor, steps: int) -> Way:
        """Take some steps of IST on a task's few-shot rows, from a place [d].

        At the run's own settings and its first rate; the numbers of a head stay as they are.
        """
        task = self.task(name)
        model = self.experiment.model
        sets = self.sets(name)
        data = EncodedTask.of_sets(model.backbone, model.head, task, sets, SAME_DATA_SEED)
        config = IstConfig()
        if "ist" in self.run.config:
            config = from_record(IstConfig, self.run.config["ist"])
        config = replace(config, steps=steps, eval_every=min(config.eval_every, steps))
        decoded = Decoded(vector[None].to(self.codes), self.subspace.decode)
        source = with_heads(decoded, self._heads(name)[None], trained=False)
        path = [decoded.values.detach()[0].clone()]

        def append_values(done: int, total: int, loss: float) -> None:
            path.append(decoded.values.detach()[0].clone())

        jobs = Sweep([data], config.learning_rates[:1], self.experiment.seed).jobs(config)
        (outcome,) = fit(model, source, jobs, config, Execution(progress=append_values))
        return Way(torch.stack(path)[: outcome.best_step + 1], outcome.dev_loss)

    def _pieces(self, vectors: Tensor) -> Sequence[Tensor]:
        """Cut vectors [N, d] so that the deltas of each piece fit into memory."""
        count = max(1, MOST_NUMBERS // max(1, self.subspace.size))
        return vectors.to(self.codes).split(count)

    def _heads(self, name: str) -> Tensor:
        """Return the numbers [H] of a task's head; none of a model without."""
        sizes = self.experiment.head_sizes
        if not sizes:
            return self.codes.new_zeros(0)
        size = sizes[name]
        if self.made_by[name] == BY_IST:
            condition, names = _conditions(self.experiment)[name in self.experiment.unseen]
            longest = max(sizes.values())
            shape = (len(names), self.dim + size)
            numbers = self.run.numbers(condition, shape, longest - size)
            assert numbers is not None
            return numbers[names.index(name), self.dim :].to(self.codes)
        tuned = open_bank(self.experiment, SAME_DATA_SEED).get(self.task(name))
        if tuned is None:
            raise ValueError(
                f"the bank beside {self.run.folder} has no head of {name}; "
                "run its command again, or choose a run of ipt ist with --part same"
            )
        return tuned.head.to(self.codes)


def _conditions(experiment: Experiment) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
    """Return IST's tensors of seen and of unseen tasks, each with the names of its lines."""
    return ("train_same", experiment.seen), ("test", experiment.unseen)


def msf_codes(source: Run, experiment: Experiment, dim: int) -> Tensor:
    """Return the codes [T, d] that an MSF run has made of tuned deltas, of seen tasks first.

    Raises ValueError where the run does not have them.
    """
    count = len(experiment.seen) + len(experiment.unseen)
    codes = source.tensors("codes").get("codes")
    if codes is None or codes.shape != (count, dim) or not codes.isfinite().all():
        raise ValueError(f"{source.folder} has no codes [{count}, {dim}]; run `ipt msf` again")
    return codes


def _codes(
    run: Run,
    source: Run,
    experiment: Experiment,
    dim: int,
) -> dict[str, tuple[Tensor, str]]:
    """Return the code [d] of each task, and what has made it, seen tasks first.

    source: the MSF run.
    """
    codes: dict[str, tuple[Tensor, str]] = {}
    encoded = msf_codes(source, experiment, dim)
    names = [*experiment.seen, *experiment.unseen]
    if run.folder == source.folder:
        return {name: (code, BY_MSF) for name, code in zip(names, encoded, strict=True)}
    # IST's own: behind a code stand the numbers of a head, filled up to the longest.
    longest = max(experiment.head_sizes.values(), default=0)
    for name, code in zip(experiment.seen, encoded, strict=False):
        codes[name] = (code, BY_MSF)
    found = False
    for condition, of_condition in _conditions(experiment):
        numbers = run.numbers(condition, (len(of_condition), dim), longest)
        if numbers is not None:
            found = True
            for name, code in zip(of_condition, numbers, strict=True):
                codes[name] = (code, BY_IST)
    if not found:
        raise ValueError(
            f"{run.folder} has no codes of tasks, only controls or mixtures; "
            "its command again with --part unseen adds them"
        )
    return codes

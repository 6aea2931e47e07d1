"""What a run is measured on, and its result: conditions, scores by task, references, floors.

A condition (paper, section 4.1) is one line of the results: which tasks, which few-shot sets, and
where their deltas come from.

| name | tasks | deltas |
|---|---|---|
| train_msf, test_msf | seen, unseen | tuned, then through the autoencoder |
| train_same, train_diff | seen, on the same or on other few-shot sets | tuned vectors, decoded |
| test | unseen | tuned vectors, decoded |
| shared, mean_code, best_code | unseen | controls that tune nothing for a task |
| best_seen, nearest_seen | unseen | a seen delta as it is: best on few shots, or by definition |
| head_alone | unseen | none: heads tuned on the frozen model, where heads have numbers |
| start_test, random_test, pca_test, mixture_test | unseen | controls of equal d |
| choice_test | unseen | of test, mixture_test and pca_test the one with the least dev loss |

Every score stands beside a reference, tuning without a subspace on the same few-shot sets, and a
floor, the best of what doing nothing scores.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, TaskSplit


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One line of the results: tasks, few-shot sets, and the source of the deltas."""

    name: str
    """Key of its scores in result.json."""
    title: str
    """Row of the tables."""
    column: str = ""
    """What the columns of a study's table call it; empty: it has none."""
    stage: Literal["msf", "ist"]
    """The command that measures it."""
    tasks: Literal["seen", "unseen"]
    source: str
    """Where the deltas come from: tuned vectors of the subspace ("msf"), a control subspace, ..."""
    data_seed: int = SAME_DATA_SEED
    part: str = ""
    """Its name in studies and digests; empty: it comes with the others of its stage."""
    absence: str = ""
    """What a run without it does not say."""
    is_control: bool = False


# Every condition, in the order of tables. All code that measures, prints or draws conditions goes
# through this tuple: a new line of the results is a new entry.
CONDITIONS = (
    # What the subspace can say of deltas that it was found with, and of others.
    Condition(
        name="train_msf",
        title="T_train (MSF)",
        column="seen, MSF",
        stage="msf",
        tasks="seen",
        source="reconstructed",
    ),
    Condition(
        name="test_msf",
        title="T_test (MSF)",
        column="unseen, MSF",
        stage="msf",
        tasks="unseen",
        source="reconstructed",
    ),
    # IST: d numbers per task, on the few-shot sets of the bank, on others, on unseen tasks.
    Condition(
        name="train_same",
        title="T_train same (IST)",
        column="seen, same data",
        stage="ist",
        tasks="seen",
        source="msf",
        part="same",
        absence="Seen tasks with the data that the subspace was found with",
    ),
    Condition(
        name="train_diff",
        title="T_train diff (IST)",
        column="seen, other data",
        stage="ist",
        tasks="seen",
        source="msf",
        data_seed=DIFF_DATA_SEED,
        part="diff",
        absence="Seen tasks with other data",
    ),
    Condition(
        name="test",
        title="T_test (IST)",
        column="unseen",
        stage="ist",
        tasks="unseen",
        source="msf",
        part="unseen",
        absence="Unseen tasks",
    ),
    # What no tuning for a task gives: a method that does no better has learned nothing of it.
    Condition(
        name="shared",
        title="d = 0: one prompt",
        stage="msf",
        tasks="unseen",
        source="shared",
        is_control=True,
    ),
    Condition(
        name="mean_code",
        title="decode(mean code)",
        stage="msf",
        tasks="unseen",
        source="mean vector",
        is_control=True,
    ),
    Condition(
        name="best_code",
        title="decode(best seen code)",
        stage="ist",
        tasks="unseen",
        source="best seen vector",
        is_control=True,
    ),
    Condition(
        name="best_seen",
        title="best seen prompt",
        column="best seen",
        stage="ist",
        tasks="unseen",
        source="best seen delta",
        is_control=True,
    ),
    Condition(
        name="nearest_seen",
        title="nearest seen prompt",
        column="nearest seen",
        stage="ist",
        tasks="unseen",
        source="nearest seen delta",
        is_control=True,
    ),
    # What a task's own head gives on the frozen model: d numbers must do more.
    Condition(
        name="head_alone",
        title="the head alone",
        column="head alone",
        stage="msf",
        tasks="unseen",
        source="head",
        is_control=True,
    ),
    # What any d numbers give: a subspace that does no better is worth nothing.
    Condition(
        name="start_test",
        title="IST, random at start",
        column="random at start",
        stage="ist",
        tasks="unseen",
        source="random-start",
        part="random-start",
        absence="Random directions through the untrained start, as a control",
        is_control=True,
    ),
    Condition(
        name="random_test",
        title="IST, random subspace",
        column="random",
        stage="ist",
        tasks="unseen",
        source="random",
        part="random",
        absence="A random subspace of equal d, as a control",
        is_control=True,
    ),
    Condition(
        name="pca_test",
        title="IST, PCA subspace",
        column="PCA",
        stage="ist",
        tasks="unseen",
        source="pca",
        part="pca",
        absence="A PCA subspace of equal d, as a control",
        is_control=True,
    ),
    Condition(
        name="mixture_test",
        title="mixture of seen prompts",
        column="mixture",
        stage="ist",
        tasks="unseen",
        source="mixture",
        part="mixture",
        absence="A mixture of seen prompts of equal d, as a control",
        is_control=True,
    ),
    # Each task takes what its own dev rows find best: 1.6 bits beside its d numbers.
    Condition(
        name="choice_test",
        title="best of three by dev loss",
        column="choice",
        stage="ist",
        tasks="unseen",
        source="choice",
    ),
)
# What choice_test chooses among; of equal losses the first.
CHOSEN_FROM = ("test", "mixture_test", "pca_test")
# By the key in result.json, and by their parts.
BY_NAME = {condition.name: condition for condition in CONDITIONS}
PARTS = {condition.part: condition for condition in CONDITIONS if condition.part}
# What `ipt ist --on` calls the parts of the method; --against calls the others by their own names.
ON = {"seen": "same", "seen-other-data": "diff", "unseen": "unseen"}


def flags_of_parts(parts: Iterable[str]) -> dict[str, list[str]]:
    """Return the values of the flags `on` and `against` that name these parts, in their order."""
    names = {part: name for name, part in ON.items()}
    flags: dict[str, list[str]] = {"on": [], "against": []}
    for part in parts:
        if part in names:
            flags["on"].append(names[part])
        else:
            flags["against"].append(part)
    return flags


def parts_of_flags(on: Iterable[str], against: Iterable[str]) -> tuple[str, ...]:
    """Return the parts that the flags `on` and `against` name; none of them: all are meant."""
    return (*map(ON.__getitem__, on), *against)


def conditions_of_parts(parts: Iterable[str]) -> tuple[Condition, ...]:
    """Return the conditions that parts of `ipt ist` name, in the order of tables; all if none."""
    named = set(parts) or set(PARTS)
    conditions = []
    for part, condition in PARTS.items():
        if part in named:
            conditions.append(condition)
    return tuple(conditions)


@dataclass(frozen=True)
class TaskScore:
    """A task's score on its held-out rows, at most 1; None: not measured."""

    generated: float
    ranked: float | None = None


@dataclass(frozen=True)
class Floor:
    """What doing nothing scores on a task: a constant answer, the bare backbone, the start."""

    chance: float | None
    empty: float | None
    """Of the bare backbone: with the empty prompt, or with the head alone where there is one."""
    start: float | None

    @property
    def best(self) -> float:
        """The highest of the three: what a method must exceed."""
        # A floor may be missing: a task without options has no chance.
        values = []
        for value in (self.chance, self.empty, self.start):
            if value is not None:
                values.append(value)
        return max(values)


@dataclass(frozen=True)
class TaskRecord:
    """What a result says of a task."""

    category: str
    subcategory: str
    metric: str
    novel: bool
    knowledge: bool
    digest: str


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of `ipt msf` or `ipt ist`: numbers by condition and task."""

    # What was measured, and on what.
    kind: Literal["msf", "ist"]
    dim: int
    compresses: bool
    """Whether d is below the number of seen tasks."""
    tasks: dict[str, TaskRecord]
    split: TaskSplit
    # What was measured: scores, and what they stand beside.
    reference: dict[int, dict[str, TaskScore]]
    """Tuning's own scores by data seed and task."""
    floor: dict[str, Floor]
    scores: dict[str, dict[str, TaskScore]]
    """By condition and task."""
    # Of one command only.
    prompts: str = ""
    """Digest of the bank that the subspace was found in; MSF only."""
    parameters: int | None = None
    """Numbers of the decoder; MSF only."""
    pca_dim: int | None = None
    """Dimensions of the PCA control, fewer than d where there are few seen tasks; IST only."""
    dev_losses: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the numbers that were tuned, by condition and task, nats per target; IST only."""
    # Of heads with numbers of their own only.
    heads: dict[str, int] = field(default_factory=dict)
    """H, the numbers of each task's head, which are tuned beside its delta or vector."""

    def to_json(self) -> dict[str, Any]:
        """Return the record that result.json holds."""
        # Lists and not tuples: the record equals what is read back from the file.
        split: dict[str, Any] = {}
        for name, value in asdict(self.split).items():
            split[name] = value if name == "name" else list(value)

        # JSON's keys are texts.
        reference = {}
        for data_seed, scores in self.reference.items():
            reference[str(data_seed)] = _to_json(scores)
        by_condition = {}
        for name, scores in self.scores.items():
            by_condition[name] = _to_json(scores)

        record: dict[str, Any] = {
            "kind": self.kind,
            "dim": self.dim,
            "compresses": self.compresses,
            "tasks": _to_json(self.tasks),
            "split": split,
            "reference": reference,
            "floor": _to_json(self.floor),
            "scores": by_condition,
        }
        # Fields of one command only are missing in the other's record, as older runs have it.
        if self.kind == "msf":
            record |= {"prompts": self.prompts, "parameters": self.parameters}
        else:
            record["pca_dim"] = self.pca_dim
        # Results of older versions do not have them, and stay as they were.
        if self.dev_losses:
            record["dev_losses"] = self.dev_losses
        if self.heads:
            record["heads"] = self.heads
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "RunResult":
        """Read what `to_json` made; raise ValueError where a field is missing."""
        try:
            split = dict(record["split"])
            split_name = split.pop("name")
            parts = {}
            for part, names in split.items():
                parts[part] = tuple(names)

            reference = {}
            for data_seed, scores in record["reference"].items():
                reference[int(data_seed)] = _scores_from_json(scores)
            by_condition = {}
            for condition, scores in record["scores"].items():
                by_condition[condition] = _scores_from_json(scores)
            tasks = {}
            for name, task in record["tasks"].items():
                tasks[name] = TaskRecord(**task)
            floors = {}
            for name, floor in record["floor"].items():
                floors[name] = Floor(**floor)
            return cls(
                kind=record["kind"],
                dim=record["dim"],
                compresses=record["compresses"],
                tasks=tasks,
                split=TaskSplit(split_name, **parts),
                reference=reference,
                floor=floors,
                scores=by_condition,
                prompts=record.get("prompts", ""),
                parameters=record.get("parameters"),
                pca_dim=record.get("pca_dim"),
                dev_losses=dict(record.get("dev_losses", {})),
                heads=dict(record.get("heads", {})),
            )
        # A field that is missing, or one that this version does not have.
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"not a result of this version of ipt ({error}); run the command again"
            ) from error

    def reference_of(self, condition: Condition) -> dict[str, TaskScore]:
        """Return tuning's scores on the same few-shot sets, by task."""
        return self.reference[condition.data_seed]


def choice(result: RunResult) -> dict[str, TaskScore]:
    """Return, for each unseen task, the score of what has the least dev loss (`CHOSEN_FROM`).

    Empty where one of these was not measured.
    """
    if not all(result.dev_losses.get(name) for name in CHOSEN_FROM):
        return {}
    scores = {}
    for task in result.scores[CHOSEN_FROM[0]]:
        best = min(CHOSEN_FROM, key=lambda name: result.dev_losses[name][task])
        scores[task] = result.scores[best][task]
    return scores


def head_alone(floor: Mapping[str, Floor], names: Iterable[str]) -> dict[str, TaskScore]:
    """Return what the head alone scores on these tasks, of a model whose heads have numbers."""
    scores = {}
    for name in names:
        alone = floor[name].empty
        if alone is not None:
            scores[name] = TaskScore(alone)
    return scores


def range_text(counts: Iterable[int]) -> str:
    """Return the least and the largest of some counts of numbers, as a table has them."""
    values = list(counts)
    least, most = min(values), max(values)
    return f"{least:,}" if least == most else f"{least:,} … {most:,}"


def _to_json(by_task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dataclasses of tasks as JSON objects."""
    records = {}
    for name, value in by_task.items():
        records[name] = asdict(value)
    return records


def _scores_from_json(record: Mapping[str, Any]) -> dict[str, TaskScore]:
    scores = {}
    for name, score in record.items():
        scores[name] = TaskScore(**score)
    return scores

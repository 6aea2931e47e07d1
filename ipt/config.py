"""Every setting of every stage, with its default and where the default comes from.

Command-line flags derive from the fields. Defaults are the ones for the embedded backbone `mini`;
"paper" names the released scripts' value where it differs. What a tuner, a head or a backbone needs
is in its own file.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

Described = TypeVar("Described")
# Words that a flag accepts: a wrong one is an error of the parser, with the list.
Preset = Literal["default", "quick"]
DeltaStart = Literal["own", "shared"]
Pruning = Literal["halving", "none"]
Dtype = Literal["float32", "bfloat16", "float16"]

# Help texts of flags that several commands have: one flag is explained in the same words wherever
# it stands.
DEVICE = "where the model runs: cpu, cuda, cuda:1, mps; auto: an accelerator where there is one"
OUT = "folder that holds the runs and the bank of tuned deltas"
LIMIT = "score only so many test rows per task, 0 for all: a look, not a result"
BUDGET = (
    "most padded tokens in one forward pass, 0: what suits the device, less where its memory runs "
    "out; sums are rounded otherwise, which MSF makes grow (docs/scaling.md)"
)
DRY_RUN = "print what would be done and how long it would take, and stop"
PRESET = "quick: one learning rate, few steps; default: a search, early stopping"
PRUNING = (
    "a task's jobs (rates, starts): halving ends the worse half at each dev loss; with none all go "
    "on and the dev score decides"
)
RECIPE = (
    "paper: the released scripts' losses, sampling, clipping and starts; paper-adapter: the same "
    "over adapters; ours: the defaults named here"
)
PARTS = (
    "seen tasks, same or other data, unseen tasks, these in random directions through the "
    "untrained start, in a random or PCA subspace or as mixtures of seen prompts; all if not given"
)
CONFIG = "JSON, TOML or YAML file with flags as keys"
STACKED = (
    "most jobs trained at once, the others wait for a free place; sums are rounded otherwise "
    "(docs/scaling.md)"
)
CHECKPOINTS = "least seconds between two checkpoints; 0: after each step"
RATES = "rates tried per task, each as one more job"


# Width between the two layers of MSF's decoder in the released code, and the most that is chosen.
WIDEST = 768
# Above these no setting means anything: counts are 32-bit numbers, seeds the 64-bit ones of the
# generators, and what is trained is in single precision.
MOST_COUNT = 2**31 - 1
MOST_SEED = 2**63 - 1
MOST_FLOAT = 1e30
# Things that are made at once, before the first is used: more would only fill the memory.
MOST_AT_ONCE = 100_000


def setting(default: Any, text: str, source: str = "", most: int = 0) -> Any:
    """Declare a field with its help text and the source of its default.

    most: the largest value of a count, where it is another than that of all counts.
    """
    # In the help text, so that `--help` and the reference say where a number comes from.
    if source:
        text = f"{text} (source: {source})"
    metadata: dict[str, Any] = {"help": text}
    if most:
        metadata["most"] = most
    return field(default=default, metadata=metadata)


def positive(config: Any, *names: str) -> None:
    """Raise ValueError, naming the flag, where one of these fields is not above 0."""
    for name in names:
        value = getattr(config, name)
        if value <= 0:
            raise ValueError(f"--{flag(name)} must be above 0, found {value}")


def flag(name: str) -> str:
    """Return a field's name as flags have it."""
    return name.replace("_", "-")


def require_number(name: str, value: Any, kind: type, most: float) -> None:
    """Raise ValueError, naming the flag, for what is no finite number of a kind within a bound.

    kind: int or float; a float may be a whole number.
    """
    require_named_number(f"--{flag(name)}", value, kind, most)


def require_named_number(label: str, value: Any, kind: type, most: float) -> None:
    """Raise ValueError as `require_number` does.

    label: what the message calls the setting.
    """
    # A truth value is a number in Python; nan is neither above nor below anything.
    accepted: tuple[type, ...] = (int, float)
    noun = "a finite number"
    if kind is int:
        accepted = (int,)
        noun = "a whole number"
    is_number = isinstance(value, accepted) and not isinstance(value, bool)
    found = f"{value!r:.40}"
    if not is_number or not math.isfinite(value):
        raise ValueError(f"{label} must be {noun}, found {found}")
    if abs(value) > most:
        raise ValueError(f"{label} must be at most {most}, found {found}")


def require_rates(rates: tuple[float, ...]) -> None:
    """Raise ValueError where a learning rate is not above 0."""
    if rates and min(rates) <= 0:
        raise ValueError(f"--learning-rates needs one or more numbers above 0, found {list(rates)}")


def numbers_of(config: Any, most_count: int = MOST_COUNT) -> list[tuple[str, Any, type, float]]:
    """Return name, value, kind and bound of each number of a configuration.

    Those of a tuple follow each other; what may be None and is None is left out.
    most_count: the bound of whole numbers whose setting names no other.
    """
    found = []
    for declared in fields(cast(Any, config)):
        value = getattr(config, declared.name)
        # Of `int | None` and `tuple[int, ...]` as of `int`.
        kinds = get_args(declared.type) or (declared.type,)
        kind = next((kind for kind in kinds if kind in (int, float)), None)
        if kind is None or (value is None and type(None) in kinds):
            continue
        most = most_count if kind is int else MOST_FLOAT
        most = declared.metadata.get("most", most)
        values = value if isinstance(value, tuple) else (value,)
        for number in values:
            found.append((declared.name, number, kind, most))
    return found


def tuner_text(name: str, settings: Mapping[str, Any]) -> str:
    """Return a tuner's name and settings, as `--tuner` takes them."""
    described = settings_text(settings)
    return f"{name}:{described}" if described else name


def changed_settings_of(described: Any) -> dict[str, Any]:
    """Return those of its settings that are not the defaults."""
    changed = {}
    for declared in fields(described):
        value = getattr(described, declared.name)
        if value != declared.default:
            changed[declared.name] = value
    return changed


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return a tuner's settings, as they stand behind its name."""
    described = []
    for name, value in settings.items():
        if isinstance(value, bool):
            value = str(value).lower()
        if isinstance(value, (list, tuple)):
            # A comma stands between settings, so values of one are joined otherwise.
            value = "+".join(map(str, value))
        # A comma or backslash of a value's own has a backslash before it.
        escaped = re.sub(r"([\\,])", r"\\\1", str(value))
        described.append(f"{name}={escaped}")
    return ",".join(described)


def split_tuner(text: str, flag: str = "tuner") -> tuple[str, dict[str, str]]:
    """Return the name and the settings of what `--tuner` says; raise ValueError for other text.

    flag: another one whose text is of the same form.
    """
    name, _, described = text.partition(":")
    settings: dict[str, str] = {}
    for item in re.findall(r"(?:\\.|[^,])+", described):
        key, equals, value = item.partition("=")
        # Both spellings, since flags have hyphens and fields cannot.
        key = key.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"--{flag} {name}: expected setting=value, found {item!r}")
        if key in settings:
            raise ValueError(f"--{flag} {name}: {key} is there twice; give it once")
        settings[key] = re.sub(r"\\(.)", r"\1", value)
    return name, settings


def parse_described(text: str, kinds: Mapping[str, type[Described]], flag: str) -> Described:
    """Return what a text describes: NAME, or NAME:setting=value,setting=value.

    Settings are the fields of the dataclass of this name; several values of one have a + between.
    Raises ValueError for an unknown name or setting, and for a value of another kind.
    """
    name, described = split_tuner(text, flag)
    if name not in kinds:
        raise ValueError(f"--{flag} must be one of {', '.join(kinds)}, found {name!r}")
    fields_by_name = {}
    for declared in fields(cast(Any, kinds[name])):
        fields_by_name[declared.name] = declared

    settings = {}
    for key, value in described.items():
        if key not in fields_by_name:
            names = ", ".join(fields_by_name) or "none, as it has no settings"
            found = f"{key}={value}"
            raise ValueError(
                f"--{flag} {name}: expected setting=value with one of {names}, found {found!r}"
            )
        settings[key] = _value_of(fields_by_name[key], value, f"--{flag} {name}")
    return kinds[name](**settings)


def _value_of(declared: Field[Any], text: str, where: str) -> Any:
    """Return a setting's value, of the kind that its default has."""
    default: Any = declared.default
    # A text may begin with a space, as a separator does; what is chosen from a list does not.
    if declared.type is not str:
        text = text.strip()
    try:
        # Before the last line: bool("false") is True.
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            # tuple[int, ...] holds values of the kind int.
            of_part = get_args(declared.type)[0]
            words = text.split("+") if text else []
            return tuple(of_part(word.strip()) for word in words)
        return type(default)(text)
    except (ValueError, KeyError) as error:
        kind = type(default).__name__
        raise ValueError(
            f"{where}: {declared.name} must be of the kind {kind}, found {text!r}"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A configuration whose numbers are finite, within bounds and not negative."""

    def __post_init__(self) -> None:
        # Every number first, so that the checks of its own compare numbers only.
        numbers = numbers_of(self)
        for name, value, kind, most in numbers:
            require_number(name, value, kind, most)
        self.check()
        for name, value, _, _ in numbers:
            if value < 0:
                raise ValueError(f"--{flag(name)} must not be negative, found {value}")

    def check(self) -> None:
        """Raise ValueError, naming the flag, for a value that the configuration cannot have."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig(Checked):
    """Tasks and a frozen model: what every command starts from."""

    # The suite's own split instead of CrossFit's: its tasks need no download.
    tasks: str = setting(
        "random-100",
        "a task split of the suite, names of its tasks (*, commas), a task file or folder, or a "
        "file of lists; with crossfit/ before it, a split or names of CrossFit's tasks (-NAME "
        "leaves one out)",
    )
    as_published: bool = setting(
        False,
        "CrossFit's tasks with the faults of the released scripts",
    )
    # The embedded backbone, in full precision, on what the machine has: runs everywhere, without
    # a download.
    model: str = setting(
        "mini",
        "mini (embedded), a folder in transformers' layout, or a hub id",
    )
    dtype: Dtype = setting(
        "float32",
        "the frozen model's weights; what is trained stays float32",
    )
    device: str = setting("auto", DEVICE)
    # What chance decides in a stage. Which few-shot rows are drawn is not among it: data seeds are
    # fixed (`ipt.data`), so that runs with other seeds are measured on the same rows.
    seed: int = setting(42, "initial values and order of rows, in every stage", most=MOST_SEED)
    # What is scored: all test rows, unless a choice is still to be made.
    limit: int = setting(0, LIMIT)
    held_out: Literal["test", "dev"] = setting(
        "test",
        "rows that are scored; dev: for choices that must not see the test sets",
    )

    def check(self) -> None:
        if not self.tasks.strip():
            raise ValueError("--tasks must name tasks, a file or a folder, found nothing")


@dataclass(frozen=True, kw_only=True)
class WorkConfig(SourceConfig):
    """What a stage works on, and where."""

    # 0 is no number of tasks but the absence of one: a split of the suite says it itself.
    seen: int = setting(0, "where --tasks does not say which: how many seen tasks are drawn")
    unseen: int = setting(0, "where --tasks does not say which: how many unseen tasks are drawn")
    # What a delta is, and whether it is tuned here; the paper tunes soft prompts. A tuner's own
    # settings are in its file.
    prompts: Path | None = setting(
        None,
        "folder of folders named after tasks: what they hold is taken, not tuned; of PEFT "
        "(PROMPT_TUNING, P_TUNING, PREFIX_TUNING, LORA, IA3, BEFT) or of `ipt export`, and of "
        "what --tuner says",
    )
    tuner: str = setting(
        "soft-prompt",
        "what is tuned (docs/tuners.md); its settings are flags, or in the same text: "
        "soft-prompt:prompt_length=20",
    )
    head: str = setting(
        "language-model",
        "what is predicted, and from what (docs/heads.md): language-model, classification, tags, "
        "span, choice, by-kind, label-embedding; with settings: classification:layers=3",
    )

    # No result depends on these.
    out: Path = setting(Path("runs"), OUT)
    dry_run: bool = setting(False, DRY_RUN)
    preset: Preset = setting("default", PRESET)
    config: Path | None = setting(None, CONFIG)


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig(Checked):
    """Which subspace IST tunes vectors in; tasks, model and tuner come from there."""

    # Of those that `ipt msf` finds without flags; empty and None mean any.
    dim: int = setting(5, "numbers per task: which subspace to use")
    tasks: str = setting("", "use the subspace of this split")
    model: str = setting("", "use the subspace of this backbone")
    seed: int | None = setting(None, "use the subspace of this seed", most=MOST_SEED)
    run: str = setting("", "name of the MSF run to use")

    # This command's own, whatever the MSF run had.
    out: Path = setting(Path("runs"), OUT)
    device: str = setting("auto", DEVICE)
    limit: int = setting(0, LIMIT)
    dry_run: bool = setting(False, DRY_RUN)
    preset: Preset = setting("default", PRESET)
    config: Path | None = setting(None, CONFIG)

    def check(self) -> None:
        positive(self, "dim")


@dataclass(frozen=True, kw_only=True)
class LoopConfig(Checked):
    """The stacked loop: what each job does, and how much is done at once."""

    # Far fewer steps than the paper's, as `mini` is small and two cores are to do; the share of
    # warm-up and the grid of rows are the paper's.
    steps: int = setting(
        120,
        "steps of each job",
        "enough for mini, not searched; paper 100000",
    )
    rows_per_step: int = setting(
        4,
        "rows of a job in one of its steps",
        "paper's grid {2, 4, 8}, LOG.md",
        most=MOST_AT_ONCE,
    )
    warmup: float = setting(
        0.06,
        "share of the steps with rising learning rate",
        "paper's MSF and IST scripts",
    )
    # Sums, smoothing and the small clip belong together in the released code: a gradient of sums
    # is longer. `--recipe paper` sets all of them.
    loss: Literal["mean", "sum"] = setting(
        "mean",
        "over a row's answer tokens and a step's rows: means, or sums",
        "sum: released code",
    )
    label_smoothing: float = setting(
        0.0,
        "share of the target that is spread over the vocabulary",
        "released code 0.1",
    )
    clip: float = setting(
        1.0,
        "largest norm of a job's gradient",
        "not searched; paper 0.1 on summed losses",
    )
    # A dev loss costs a pass over all dev rows, so a job has few of them.
    eval_every: int = setting(20, "steps between dev losses", "not searched; paper 1000")
    patience: int = setting(
        4,
        "dev losses without improvement that end a job",
        "not searched; the paper does not stop early",
    )
    # How much is done at once. No result depends on these (`ipt.provenance`).
    stacked_jobs: int = setting(512, STACKED, "memory only")
    token_budget: int = setting(0, BUDGET)
    checkpoint_seconds: float = setting(60.0, CHECKPOINTS, "cost of a lost interval")

    def check(self) -> None:
        positive(
            self,
            "steps",
            "rows_per_step",
            "clip",
            "eval_every",
            "patience",
            "stacked_jobs",
        )
        for name in ("warmup", "label_smoothing"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ValueError(f"--{flag(name)} must be in [0, 1), found {share}")

    @property
    def prunes(self) -> bool:
        """Whether the worse half of a task's trials ends at each dev loss."""
        return False


@dataclass(frozen=True, kw_only=True)
class SearchConfig(LoopConfig):
    """A loop in which each task is tried several times."""

    # By runs on dev sets (LOG.md): no single rate serves all tasks, so each is tried with several.
    learning_rates: tuple[float, ...] = setting((0.3, 1.0), RATES, "LOG.md")
    pruning: Pruning = setting("none", PRUNING, "LOG.md")

    def check(self) -> None:
        super().check()
        # None are no rates that anything could be trained at.
        if not self.learning_rates:
            raise ValueError("--learning-rates needs one or more numbers above 0, found []")
        require_rates(self.learning_rates)

    @property
    def prunes(self) -> bool:
        return self.pruning == "halving"

    @property
    def trials(self) -> int:
        """How many jobs a task has at most."""
        return len(self.learning_rates)

    @property
    def work(self) -> tuple[int, int]:
        """How many steps and how many dev losses a task's jobs have at most, together."""
        # As the loop goes: the worse half ends at each dev loss, rounded in favour of the trials.
        jobs = self.trials
        steps = 0
        losses = 0
        done = 0
        while self.prunes and jobs > 1 and done < self.steps:
            steps += jobs * min(self.eval_every, self.steps - done)
            losses += jobs
            jobs = (jobs + 1) // 2
            done += self.eval_every
        # From here on no job ends, so the rest is counted at once, however long it is.
        left = max(0, self.steps - done)
        steps += jobs * left
        losses += jobs * -(-left // self.eval_every)
        return steps, losses


@dataclass(frozen=True, kw_only=True)
class TuneConfig(SearchConfig):
    """Tuning (stage 0): the deltas themselves are trained, each on its own task."""

    # Rates that suit a soft prompt are far too large for a bias: each tuner has its own.
    learning_rates: tuple[float, ...] = setting(
        (),
        f"{RATES}; the tuner's own, if not given",
        "LOG.md",
    )
    rates_tried: int = setting(
        0,
        "where --learning-rates is not given: how many of the tuner's own are tried, the best "
        "first; 0: all",
        "all: LOG.md",
    )
    # P-Tuning v2's multi-task learning: on all data sets of a kind first, each with its own head.
    delta_start: DeltaStart = setting(
        "own",
        "where a delta begins: own: the tuner's start; shared: one delta that all tasks of a kind "
        "have tuned together, each with its own head",
        "P-Tuning v2 compares both",
    )
    # None and not a number, as the paper's K depends on the kind of task.
    shots: int | None = setting(
        None,
        "K: rows per class (cls) or in all (non-cls)",
        "paper: 16 and 32",
    )

    def check(self) -> None:
        LoopConfig.check(self)
        # Empty means those of the tuner, which nobody knows here.
        require_rates(self.learning_rates)
        if self.shots is not None:
            positive(self, "shots")

    def with_rates(self, rates: tuple[float, ...]) -> "TuneConfig":
        """Return the same with a tuner's own rates, where none are given.

        rates: the best first.
        """
        if self.learning_rates:
            return replace(self, rates_tried=0)
        tried = rates[: self.rates_tried] if self.rates_tried else rates
        return replace(self, learning_rates=tried, rates_tried=0)


@dataclass(frozen=True, kw_only=True)
class MsfConfig(LoopConfig):
    """Multi-task subspace finding: the autoencoder is trained over all seen tasks' deltas."""

    # One job of all tasks, hence many rows in a step, as in the paper's MSF script. The other
    # numbers of the loop are for `mini` and were not searched.
    steps: int = setting(600, "steps of the autoencoder", "not searched; paper 100000")
    rows_per_step: int = setting(
        64,
        "rows in a step",
        "paper's MSF script",
        most=MOST_AT_ONCE,
    )
    eval_every: int = setting(100, "steps between dev losses", "paper: 20 in all")
    patience: int = setting(
        3,
        "dev losses without improvement that end the search",
        "not searched",
    )
    learning_rate: float = setting(
        2e-3,
        "Adam's rate",
        "not searched; paper 3e-5 over far more steps",
    )
    # The paper's leading result is the one of d = 5; its alpha weighs a sum, ours a mean.
    dim: int = setting(5, "numbers per task in the subspace, d", "paper: 3 to 250")
    alpha: float = setting(
        1.0,
        "weight of the reconstruction loss, a mean over a delta's numbers",
        "not searched; released code 200",
    )
    inner_width: int | None = setting(
        None,
        "width between the decoder's two layers; 0: one layer, linear; 768, or fewer where a delta "
        "has many numbers, if not given",
        "released code 768",
    )
    # The first value is ours, the second the released code's.
    sampling: Literal["tasks", "rows"] = setting(
        "tasks",
        "draw uniformly over tasks, or over rows as the paper's code",
    )
    codes: Literal["standard", "own"] = setting(
        "standard",
        "coordinates of the intrinsic vectors: mean 0 and deviation 1 over the seen tasks, or the "
        "autoencoder's own as in the released code",
    )

    def check(self) -> None:
        super().check()
        positive(self, "dim", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class IstConfig(SearchConfig):
    """Intrinsic subspace tuning: d numbers per task are trained, the subspace is frozen."""

    # By runs on dev sets (LOG.md). d numbers per task are cheap to try often: several starts, of
    # which halving ends the worse ones early.
    start: Literal["seen", "mean", "noise"] = setting(
        "seen",
        "first values: the best vectors of other seen tasks on the few shots, their mean, or "
        "N(0, 0.02) as the released code",
        "LOG.md",
    )
    starts: int = setting(
        8,
        "with --start seen: how many of the best vectors at most, each as one more job",
        "LOG.md",
    )
    pruning: Pruning = setting("halving", PRUNING, "LOG.md")
    # Fewer steps than tuning: the start is near, and the way has d dimensions.
    eval_every: int = setting(10, "steps between dev losses", "LOG.md; paper 1000")
    steps: int = setting(80, "steps of each job", "LOG.md; paper 100000")
    learning_rates: tuple[float, ...] = setting((0.2,), RATES, "LOG.md; paper 1e-5")

    def check(self) -> None:
        super().check()
        positive(self, "starts")

    @property
    def trials(self) -> int:
        """How many jobs a task has at most: starts times rates."""
        starts = self.starts if self.start == "seen" else 1
        return starts * super().trials


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardtConfig(Checked):
    """Second-order fitting of few numbers per task (`ipt.training.levenberg_marquardt`)."""

    # No paper fits vectors so, and none has settings: these are for standardized vectors, whose
    # unit is one deviation of the seen tasks.
    iterations: int = setting(
        10,
        "most steps of each job, each over all of its train rows",
        "not searched",
    )
    prior: float = setting(
        0.01,
        "precision of the Gaussian prior on standardized vectors, in nats",
        "not searched",
    )
    shift: float = setting(
        0.1,
        "length of the differences, in deviations of the seen vectors",
        "not searched",
    )
    tolerance: float = setting(
        1e-3,
        "relative gain of the objective below which a job ends",
        "not searched",
    )
    patience: int = setting(3, "steps without a better dev loss that end a job", "not searched")
    # Fewer at once than in the loop, as a job is evaluated in each of its d directions.
    stacked_jobs: int = setting(64, "most jobs fitted at once", "memory only")
    token_budget: int = setting(0, BUDGET)
    checkpoint_seconds: float = setting(60.0, CHECKPOINTS, "cost of a lost interval")

    def check(self) -> None:
        positive(self, "iterations", "shift", "patience", "stacked_jobs")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Checked):
    """How closely `ipt probe` looks."""

    # What two cores draw in about a minute: a picture, and no result that is reported.
    grid: int = setting(
        15,
        "vectors per side of the landscape",
        "a minute on 2 cores",
        most=255,
    )
    margin: float = setting(
        0.5,
        "how far the landscape goes beyond IST's path and starts, in the vectors' units",
        "not searched",
    )
    tasks: int = setting(16, "tasks of the transfer matrix", "a minute on 2 cores")
    points: int = setting(9, "vectors on the line between two tasks", "not searched", most=1000)

    def check(self) -> None:
        positive(self, "grid", "margin", "tasks", "points")


@dataclass(frozen=True, kw_only=True)
class PlaneConfig(Checked):
    """What `ipt runs plane` draws."""

    text: str = setting("", "what is answered; without it and --task, a rule chooses a test row")
    task: str = setting("", "whose test row is answered, in place of --text")
    row: int = setting(1, "which of the task's test rows, from 1 on")
    anchors: str = setting("", "three tasks whose numbers span the plane: A,B,C")
    # A 16:10 picture of places that are still seen; ten seconds on one core.
    width: int = setting(96, "places from left to right", "ten seconds on one core", most=1000)
    height: int = setting(60, "places from bottom to top", "ten seconds on one core", most=1000)

    def check(self) -> None:
        positive(self, "row")
        for name in ("width", "height"):
            if getattr(self, name) < 2:
                raise ValueError(f"--{name} must be at least 2, found {getattr(self, name)}")
        if self.text and self.task:
            raise ValueError("--text and --task are two ways to say the text; leave one out")
        names = self.anchor_names
        is_chosen = not (self.text or self.task or names)
        if not is_chosen and (len(names) != 3 or len(set(names)) < 3):
            raise ValueError(
                f"--anchors must be three tasks, A,B,C, found {','.join(names) or 'none'}"
            )

    @property
    def anchor_names(self) -> list[str]:
        """The tasks of `anchors`."""
        return [name.strip() for name in self.anchors.split(",") if name.strip()]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What `ipt bench` measures, and how long it takes."""

    # By what two cores measure in minutes; the median of few turns is steady enough for a factor.
    jobs: int = setting(
        32,
        "tasks that are tuned at once",
        "what PEFT is compared on",
        most=MOST_AT_ONCE,
    )
    steps: int = setting(2, "steps of each job in one timed part", "minutes on 2 cores")
    repeats: int = setting(3, "timed turns; the median is reported", "minutes on 2 cores")
    trained_jobs: int = setting(
        4,
        "tasks trained to the end for the comparison of dev losses",
        "minutes on 2 cores",
        most=MOST_AT_ONCE,
    )
    train_steps: int = setting(60, "steps of these", "minutes on 2 cores")
    # Each four times the one before: where stacking stops to pay depends on the machine.
    jobs_grown: tuple[int, ...] = setting(
        (1, 4, 16, 64, 256),
        "stacked jobs J at which a step is timed",
        most=MOST_AT_ONCE,
    )
    tuner: str = setting(
        "",
        "`all`, or one as in `ipt tune`: a step of each beside the shallow prompt, and beside PEFT",
    )
    search_cost: str = setting(
        "",
        "name of an MSF run below --out: ways of IST in its subspace, and baselines without one",
    )
    search_cost_tasks: int = setting(20, "unseen tasks of that comparison")

    def check(self) -> None:
        positive(
            self,
            "jobs",
            "steps",
            "repeats",
            "trained_jobs",
            "train_steps",
            "search_cost_tasks",
        )
        if not self.jobs_grown or min(self.jobs_grown) < 1:
            raise ValueError(
                f"--jobs-grown needs one or more numbers above 0, found {list(self.jobs_grown)}"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Checked):
    """The recipe of the embedded backbone."""

    # An hour on two cores: anybody can make the embedded backbone again.
    minutes: float = setting(
        60.0,
        "training time; the rate falls to zero over it",
        "what two cores have time for",
    )
    # A T5 in small: the sizes are by rows a second, none was searched.
    width: int = setting(192, "hidden size", "rows a second on two cores; not searched")
    inner_width: int = setting(512, "width inside the feed-forward layers", "as above")
    heads: int = setting(6, "attention heads", "as above")
    head_width: int = setting(32, "width of an attention head", "as above")
    encoder_layers: int = setting(4, "encoder layers", "as above")
    decoder_layers: int = setting(3, "decoder layers", "as above")
    vocabulary: int = setting(4096, "tokens", "size against length of inputs")
    token_budget: int = setting(
        4096,
        "padded tokens in a batch, answers counted twice",
        "not searched",
    )
    # By runs in LOG.md: a token is in few rows, so its embedding takes a larger rate.
    learning_rate: float = setting(1.5e-3, "AdamW's largest rate for the layers", "LOG.md")
    embedding_rate: float = setting(6e-3, "AdamW's largest rate for the embeddings", "LOG.md")
    warmup_steps: int = setting(100, "steps with rising rate", "usual")
    tokenizer_rows: int = setting(200_000, "rows the tokenizer is trained on", "usual")
    checkpoint_seconds: float = setting(
        300.0,
        "seconds between checkpoints",
        "cost of a lost interval",
    )
    bfloat16: bool = setting(
        True,
        "multiply in bfloat16, keep weights in float32",
        "1.5 times as fast where supported",
    )
    seed: int = setting(42, "initial weights and rows", "usual", most=MOST_SEED)

    def check(self) -> None:
        positive(
            self,
            "minutes",
            "width",
            "inner_width",
            "heads",
            "head_width",
            "encoder_layers",
            "decoder_layers",
            "vocabulary",
            "token_budget",
            "learning_rate",
            "embedding_rate",
            "warmup_steps",
            "tokenizer_rows",
        )

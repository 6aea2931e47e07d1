"""The table of a study under a protocol: each method's R, and how far it is from the first one.

What the figures are: `ipt.analysis.protocol`. The record is numbers; `protocol_table` is its text,
`protocol_figure` its drawing. With some of the cells done both show what there is.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ipt.analysis.dimensions import task_figures
from ipt.analysis.markup import TextTable
from ipt.analysis.plots.protocol import Mark, protocol_panels
from ipt.analysis.protocol import (
    STRATA,
    Estimate,
    Scores,
    Standing,
    Yardstick,
    difference,
    holm,
    standing,
)
from ipt.analysis.scores import NONE, WITHOUT_A_VECTOR
from ipt.analysis.study import CellsByLine, digest_of_cells
from ipt.data import stratum
from ipt.recovery import FEWEST
from ipt.results import BY_NAME, CHOSEN_FROM, RunResult, range_text

Record = dict[str, Any]
# In the order of the table: what is claimed, its rivals of as many numbers, what tunes none.
METHODS = (
    "test",
    "choice_test",
    "mixture_test",
    "pca_test",
    "random_test",
    "start_test",
    "best_seen",
    "nearest_seen",
    "head_alone",
    "tuned",
)
# Tuning alone, of a cell without a subspace: a line whose own reference nobody asks for.
TUNED = "tuned"
# Columns of the short table.
BRIEF = frozenset(
    {
        "method",
        "numbers + bits",
        "seeds",
        "tasks (counted)",
        "score",
        "R",
        "E_rel",
        "first minus this",
        "p (Holm)",
    }
)
BySeed = dict[int, dict[str, float]]


class Method(NamedTuple):
    """What is one row: a line of the study, a condition and its d, 0 where it tunes no vector."""

    line: str
    condition: str
    dim: int


def protocol_summary(cells: CellsByLine, command: str, protocol: str) -> Record:
    """Return a study's table as numbers.

    cells: by line, whose cells differ in tasks, d and seed; None: open.
    command: what makes the study again. protocol: the SHA-256 of its text.
    """
    done: dict[str, list[Record]] = {}
    everything: list[Record] = []
    for line, records in cells.items():
        done[line] = [record for record in records if record is not None]
        everything += done[line]
    # Lines that tune alike share one yardstick; others have references of their own.
    tuning = _tuning_of_lines(done)
    yardsticks = {key: _yardstick(_alike(everything, key)) for key in set(tuning.values())}

    scores = {}
    for method in _methods(done):
        of_all_seeds = _scores(done[method.line], method).complete
        # While cells are open, seeds may have no task in common: there is nothing to show yet.
        if of_all_seeds.tasks:
            scores[method] = of_all_seeds
    methods = list(scores)
    rows = []
    for method in methods:
        yardstick = yardsticks[tuning[method.line]]
        seen = _seen_counts(done[method.line], method)
        figures = standing(scores[method], yardstick)
        place = {
            "line": method.line,
            "condition": method.condition,
            "dim": method.dim,
            "numbers": _numbers(done[method.line], method),
            "seeds": len(scores[method].seeds),
            "seen": [min(seen), max(seen)] if seen else None,
            "bits": choice_bits(method.condition, method.dim, max(seen)) if seen else None,
        }
        rows.append(place | _figures(figures))
    _compare(rows, methods, scores, {line: yardsticks[key] for line, key in tuning.items()})

    seeds = sorted({record["seed"] for record in everything})
    protocols = sorted({record.get("protocol", "") for record in everything} | {protocol})
    return {
        "kind": "protocol",
        "command": command,
        "protocol": protocols,
        "seed": ", ".join(map(str, seeds)),
        "digest": digest_of_cells(cells),
        "done": len(everything),
        "planned": sum(map(len, cells.values())),
        "rows": rows,
        "references": _references(yardsticks, tuning),
    }


def protocol_cell(record: Record) -> Record:
    """Return a cell with what its study's tables need: unseen tasks, and lines of all tasks.

    A protocol has many cells, and each has hundreds of tasks.
    """
    if _only_tunes(record):
        return record
    tasks = {name: of for name, of in record["tasks"].items() if name in METHODS}
    named: set[str] = set()
    for of_condition in tasks.values():
        named |= of_condition.keys()
    groups = record["subcategories"]
    return record | {
        "lines": [line for line in record["lines"] if line["group"] == "all"],
        "tasks": tasks,
        "subcategories": {name: groups[name] for name in sorted(named & groups.keys())},
    }


def run_standing(result: RunResult, condition: str) -> Standing:
    """Return the figures of a condition of one run: of one seed, whose interval is over tasks."""
    scores: BySeed = {0: {}}
    references: BySeed = {0: {}}
    floors: BySeed = {0: {}}
    reference = result.reference_of(BY_NAME[condition])
    for name, score in result.scores[condition].items():
        scores[0][name] = score.generated
        references[0][name] = reference[name].generated
        floors[0][name] = result.floor[name].best
    clusters = {name: task.subcategory for name, task in result.tasks.items()}
    strata = {name: stratum(task.novel, task.knowledge) for name, task in result.tasks.items()}
    yardstick = Yardstick(Scores.of(references), Scores.of(floors), clusters, strata)
    return standing(Scores.of(scores), yardstick)


def run_sentence(result: RunResult) -> str:
    """Return what an IST run recovers on unseen tasks, and its strongest rival, in one sentence.

    Empty where the run has no such scores, or no task counts.
    """
    found = {}
    for condition in METHODS:
        if result.scores.get(condition):
            figures = run_standing(result, condition)
            if figures.counted:
                found[condition] = figures
    if "test" not in found:
        return ""
    own = found.pop("test")
    text = (
        f"{result.dim} numbers recover {_recovered_text(own)} of what tuning gains above "
        f"the floor, R, on unseen tasks ({own.counted} of {own.tasks} count, one seed)"
    )
    if found:
        best = max(found, key=lambda condition: found[condition].recovered.value)
        title = BY_NAME[best].title
        text += f"; the best other way, {title}, {_recovered_text(found[best])}"
    return text


def _recovered_text(figures: Standing) -> str:
    """Return R, with its interval where enough tasks are behind it."""
    share = f"{100 * figures.recovered.value:.0f} %"
    if figures.counted < FEWEST:
        return share
    low, high = figures.recovered.interval
    return f"{share} ({100 * low:.0f} … {100 * high:.0f})"


def choice_bits(condition: str, dim: int, seen: int) -> float:
    """Return how many bits say which parts a task's rows have chosen of S seen deltas."""
    source = BY_NAME[condition].source
    if source == "mixture":
        # Anchors among the deltas and their mean.
        return math.log2(math.comb(seen + 1, min(dim, seen) + 1))
    if source == "choice":
        # Which of the three, and at most a mixture's anchors.
        return math.log2(len(CHOSEN_FROM)) + choice_bits("mixture_test", dim, seen)
    if source == "best seen delta":
        return math.log2(seen)
    return 0.0


def _tuning_of_lines(done: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """Return what tells the references of lines apart: the settings of tuning.

    A line that only tunes is held against the first line that does more.
    """
    tuning = {}
    for line, records in done.items():
        whole = [record for record in records if not _only_tunes(record)]
        if whole:
            tuning[line] = _tuning(whole[0])
    first = next(iter(tuning.values()), "")
    return {line: tuning.get(line, first) for line in done}


def _tuning(record: Record) -> str:
    return json.dumps(record["settings"]["tune"], sort_keys=True)


def _alike(records: Iterable[Record], tuning: str) -> list[Record]:
    alike = []
    for record in records:
        if not _only_tunes(record) and _tuning(record) == tuning:
            alike.append(record)
    return alike


def _only_tunes(record: Record) -> bool:
    return record.get("kind") == "tuning"


def _tasks_of(record: Record, condition: str) -> Record:
    """Return the figures of a cell in a condition by task; empty where it has none."""
    if condition != TUNED:
        return dict(record["tasks"].get(condition, {}))
    tasks: Record = {}
    if _only_tunes(record):
        for of_part in record["tasks"].values():
            tasks |= of_part
    return tasks


def _yardstick(records: Sequence[Record]) -> Yardstick:
    references: BySeed = {}
    floors: BySeed = {}
    clusters: dict[str, str] = {}
    strata: dict[str, str] = {}
    for record in records:
        clusters |= record.get("subcategories", {})
        strata |= record.get("strata", {})
        for condition, tasks in record["tasks"].items():
            if condition not in METHODS:
                continue
            for name, values in tasks.items():
                figures = task_figures(values)
                references.setdefault(record["seed"], {})[name] = figures.reference
                floors.setdefault(record["seed"], {})[name] = figures.floor
    return Yardstick(Scores.of(references), Scores.of(floors), clusters, strata)


def _methods(done: Mapping[str, Sequence[Record]]) -> list[Method]:
    """Return the methods that some cell has: by line, then by d, those without a vector last."""
    found = []
    for line, records in done.items():
        methods = set()
        for record in records:
            for condition in METHODS:
                if _tasks_of(record, condition):
                    methods.add(Method(line, condition, _dim(record, condition)))
        ordered = sorted(
            methods,
            key=lambda method: (
                method.dim == 0,
                method.dim,
                METHODS.index(method.condition),
            ),
        )
        found += ordered
    return found


def _dim(record: Record, condition: str) -> int:
    if condition == TUNED or BY_NAME[condition].source in WITHOUT_A_VECTOR:
        return 0
    return int(record["dim"])


def _numbers(records: Iterable[Record], method: Method) -> list[int]:
    """Return how many numbers are tuned for a task, at least and at most: with its head."""
    counts = set()
    for record in records:
        for name, figures in _tasks_of(record, method.condition).items():
            if method.condition == TUNED:
                counts.add(figures.get("numbers", record["tuner"]["numbers"]))
            else:
                counts.add(method.dim + record.get("heads", {}).get(name, 0))
    return [min(counts), max(counts)]


def _scores(records: Iterable[Record], method: Method) -> Scores:
    by_seed: BySeed = {}
    for record in records:
        tasks = _tasks_of(record, method.condition)
        if tasks and _dim(record, method.condition) == method.dim:
            of_seed = by_seed.setdefault(record["seed"], {})
            for name, values in tasks.items():
                of_seed[name] = task_figures(values).score
    return Scores.of(by_seed)


def _seen_counts(records: Iterable[Record], method: Method) -> set[int]:
    """Return how many tasks the method's subspaces or mixtures have seen; older cells say none."""
    counts = set()
    for record in records:
        is_of = record["tasks"].get(method.condition) and "seen" in record
        if is_of and _dim(record, method.condition) == method.dim:
            counts.add(record["seen"])
    return counts


def _figures(found: Standing) -> Record:
    return {
        "tasks": found.tasks,
        "counted": found.counted,
        "score": _plain(found.score),
        "recovered": _interval(found.recovered),
        "relative": _interval(found.relative),
        "strata": {name: _interval(estimate) for name, estimate in found.strata.items()},
        "weighted": _interval(found.weighted),
        "share_of_tasks": _plain(found.share_of_tasks),
    }


def _compare(
    rows: Sequence[Record],
    methods: Sequence[Method],
    scores: Mapping[Method, Scores],
    yardsticks: Mapping[str, Yardstick],
) -> None:
    """Add to each row how far the first method of its reference and its d is above it."""
    compared = []
    for row, method in zip(rows, methods, strict=True):
        row["minus"] = None
        alike = [one for one in methods if yardsticks[one.line] is yardsticks[method.line]]
        # What tunes no vector is compared with the first method of all.
        base = next(one for one in alike if method.dim in (0, one.dim))
        if base == method:
            continue
        found = difference(scores[base], scores[method], yardsticks[method.line])
        if found is not None:
            row["minus"] = _interval(found.estimate) | {"p": _plain(found.p_value)}
            compared.append(row["minus"])
    for record, adjusted in zip(compared, holm([one["p"] for one in compared]), strict=True):
        record["holm"] = _plain(adjusted)


def _references(
    yardsticks: Mapping[str, Yardstick],
    tuning: Mapping[str, str],
) -> list[Record]:
    """Return mean score of each reference and of its floor, over all of its tasks."""
    records = []
    for key, yardstick in yardsticks.items():
        tasks = yardstick.reference.tasks
        if not tasks:
            continue
        records.append(
            {
                "lines": [line for line, own in tuning.items() if own == key],
                "tasks": len(tasks),
                "counted": int(yardstick.counted(tasks).sum()),
                "score": _plain(float(yardstick.reference.mean(tasks).mean())),
                "floor": _plain(float(yardstick.floor.mean(tasks).mean())),
            }
        )
    return sorted(records, key=lambda record: record["lines"])


def _plain(value: float) -> float | None:
    # JSON has no NaN.
    return None if math.isnan(value) else round(value, 6)


def _interval(estimate: Estimate) -> Record:
    low, high = estimate.interval
    return {"value": _plain(estimate.value), "low": _plain(low), "high": _plain(high)}


# ------------------------------------------------------------ text


def protocol_table(record: Record) -> TextTable:
    """Return the table as text: shares in per cent with 95 % intervals."""
    has_strata = any(row["weighted"]["value"] is not None for row in record["rows"])
    heads = ["method", "numbers + bits", "d / seen", "seeds", "tasks (counted)", "score"]
    heads += ["R", "E_rel"]
    if has_strata:
        heads += [f"R, {name}" for name in STRATA]
        heads.append("R, strata weighted")
    heads += ["80 % or more", "first minus this", "p (Holm)"]
    rows = []
    for row in record["rows"]:
        texts = [_title(row, record), _numbers_text(row), _density_text(row), str(row["seeds"])]
        texts += [f"{row['tasks']} ({row['counted']})", _score_text(row["score"])]
        texts += [_share_text(row["recovered"]), _share_text(row["relative"])]
        if has_strata:
            texts += [_share_text(row["strata"][name]) for name in STRATA]
            texts.append(_share_text(row["weighted"]))
        texts.append(_percent(row["share_of_tasks"]))
        texts += [_share_text(row["minus"], "+"), _p_text(row["minus"])]
        rows.append(texts)
    for reference in record["references"]:
        rows += _reference_rows(reference, len(heads))
    return TextTable(heads, rows)


def protocol_brief(record: Record) -> TextTable:
    """Return the table's main columns."""
    return protocol_table(record).only(BRIEF)


def _title(row: Record, record: Record) -> str:
    if row["condition"] == TUNED:
        return f"{row['line']}, tuned"
    title = BY_NAME[row["condition"]].title
    if row["dim"]:
        title += f", d = {row['dim']}"
    lines = {one["line"] for one in record["rows"] if one["condition"] != TUNED}
    return title if len(lines) == 1 else f"{row['line']}: {title}"


def _reference_rows(reference: Record, width: int) -> list[list[str]]:
    tasks = f"{reference['tasks']} ({reference['counted']})"
    rows = []
    for name, score in (("reference", reference["score"]), ("floor", reference["floor"])):
        row = [name, "", "", "", tasks, _score_text(score)]
        rows.append(row + [""] * (width - len(row)))
    return rows


def _numbers_text(row: Record) -> str:
    numbers = range_text(row["numbers"])
    return numbers if row["bits"] is None else f"{numbers} + {row['bits']:.0f}"


def _density_text(row: Record) -> str:
    if row["seen"] is None or not row["dim"]:
        return NONE
    return f"{row['dim']} / {range_text(row['seen'])}"


def _score_text(score: float | None) -> str:
    return NONE if score is None else f"{score:.3f}"


def _percent(share: float | None, sign: str = "") -> str:
    return NONE if share is None else f"{100 * share:{sign}.1f}"


def _share_text(estimate: Record | None, sign: str = "") -> str:
    if estimate is None or estimate["value"] is None:
        return NONE
    text = _percent(estimate["value"], sign)
    if estimate["low"] is None:
        return text
    return f"{text} ({_percent(estimate['low'], sign)} … {_percent(estimate['high'], sign)})"


def _p_text(minus: Record | None) -> str:
    if minus is None:
        return NONE
    return f"{minus['p']:.4f} ({minus['holm']:.4f})"


# ------------------------------------------------------------ figure


def protocol_figure(record: Record) -> Figure | None:
    """Return R with its interval by method, and by stratum; None where no cell is done."""
    rows = [row for row in record["rows"] if row["recovered"]["value"] is not None]
    if not rows:
        return None
    names = []
    for row in rows:
        bits = "" if row["bits"] is None else f", {row['bits']:.0f} bits of choice"
        names.append((_title(row, record), f"{range_text(row['numbers'])} numbers{bits}"))
    marks = [_mark(row["recovered"]) for row in rows]
    strata: dict[str, list[Mark]] = {}
    for name in STRATA:
        if any(row["strata"][name]["value"] is not None for row in rows):
            strata[name] = [_mark(row["strata"][name]) for row in rows]
    return protocol_panels(names, marks, strata)


def _mark(estimate: Record) -> Mark:
    value = estimate["value"]
    if value is None:
        return Mark(math.nan, math.nan, math.nan)
    low, high = estimate["low"], estimate["high"]
    return Mark(value, value if low is None else low, value if high is None else high)

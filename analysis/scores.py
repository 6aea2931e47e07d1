"""Run folders in, tables out: the settings of an MSF and an IST run with every figure of `ipt.recovery`.

Also two methods compared task by task, and any table as Markdown, LaTeX or CSV.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from ipt.recovery import Recovery, bootstrap, recovery
from ipt.run import Run

TITLES = {
    "train_msf": "T_train (MSF)",
    "test_msf": "T_test (MSF)",
    "train_same": "T_train same (IST)",
    "train_diff": "T_train diff (IST)",
    "test": "T_test (IST)",
    "shared": "d = 0: one prompt",
    "mean_code": "decode(mean code)",
    "best_code": "decode(best seen code)",
    "random_test": "IST, random subspace",
    "pca_test": "IST, PCA subspace",
    "mixture_test": "mixture of seen prompts",
}
CONTROLS = ("shared", "mean_code", "best_code", "random_test", "pca_test", "mixture_test")
REFERENCE_SEED = {"train_diff": "21"}  # every other setting is compared with prompt tuning on data seed 100
Result = dict[str, Any]
Groups = dict[str, Callable[[str], bool]]  # a group's name, and whether a task is in it


@dataclass(frozen=True)
class Line:
    """One row of the table: a setting on one group of tasks."""

    setting: str
    group: str
    recovery: Recovery

    @property
    def title(self) -> str:
        return TITLES[self.setting]


def read_results(folders: Iterable[Path]) -> list[Result]:
    """Return the results of complete runs; raise ValueError naming a folder that holds none."""
    results = []
    for folder in folders:
        result = Run(folder).result
        if result is None or "scores" not in result:
            raise ValueError(f"{folder} holds no complete run; run the command again to finish it, or choose another")
        results.append(result | {"folder": str(folder)})
    return results


def read_pair(folder: Path) -> list[Result]:
    """Return the results of the MSF run that an IST run stands on (a folder beside it), and of the IST run."""
    settings = Run(folder).config
    if settings["kind"] != "ist":
        raise ValueError(f"{folder} is a run of ipt {settings['kind']}; name runs of ipt ist")
    return read_results([folder.parent / settings["msf_run"], folder])


def lines(results: Sequence[Result], ranked: bool = False, grouping: Callable[[Result, str], Groups] | None = None) -> list[Line]:
    """Return the table of an MSF and an IST result (or one of them): each setting overall and by group of tasks.

    ranked: compare scores of ranked options (cls tasks only) instead of generated answers.
    grouping: another choice of groups than `groups`, such as `subcategories`.
    """
    chosen = grouping or groups
    found = []
    for setting in TITLES:
        for result in results:
            if setting in result["scores"]:
                found += [Line(setting, group, r) for group, r in _by_group(result, setting, ranked, chosen(result, setting))]
    return found


def _by_group(result: Result, setting: str, ranked: bool, chosen_groups: Groups) -> Iterable[tuple[str, Recovery]]:
    key = "ranked" if ranked else "generated"
    scores = {n: s[key] for n, s in result["scores"][setting].items() if s[key] is not None}
    reference = {n: s[key] for n, s in result["reference"][REFERENCE_SEED.get(setting, "100")].items()}
    floor = {n: max(values.values()) for n, values in result["floor"].items()}
    for group, member in chosen_groups.items():
        chosen = {n: s for n, s in scores.items() if member(n)}
        if chosen:
            yield group, recovery(chosen, reference, floor)


def groups(result: Result, setting: str) -> Groups:
    """Return the groups of tasks that are reported apart: kinds where a split has both, new subcategories, novel, knowledge."""
    tasks, split = result["tasks"], result["split"]
    chosen: Groups = {"all": lambda n: True}
    unseen = setting not in ("train_msf", "train_same", "train_diff")
    if unseen and split["out_of_kind"]:
        chosen["in kind"] = lambda n: n in split["unseen"]
        chosen["out of kind"] = lambda n: n in split["out_of_kind"]
    if unseen and split["new_subcategories"]:
        chosen["known subcategory"] = lambda n: n not in split["new_subcategories"]
        chosen["new subcategory"] = lambda n: n in split["new_subcategories"]
    if any(t["novel"] or t["knowledge"] for t in tasks.values()):  # a user's own tasks know no such difference
        chosen["novel"] = lambda n: tasks[n]["novel"]
        chosen["knowledge"] = lambda n: tasks[n]["knowledge"] and not tasks[n]["novel"]
        chosen["rule"] = lambda n: not tasks[n]["knowledge"] and not tasks[n]["novel"]
    return chosen


def subcategories(result: Result, setting: str) -> Groups:
    """Return a group for each subcategory of the tasks, in the order of their names; the same in every setting."""
    members: dict[str, set[str]] = {}
    for name, task in result["tasks"].items():
        members.setdefault(task["subcategory"] or "no subcategory", set()).add(name)
    return {group: members[group].__contains__ for group in sorted(members)}


def over_seeds(tables: Sequence[Sequence[Line]]) -> list[Line]:
    """Average the tables of runs that differ in their seed only; intervals become the least and the largest value of a seed.

    below_floor: the tasks that are below the margin with any seed. A setting that one of the runs lacks is left out.
    """
    found = []
    by_key = [{(line.setting, line.group): line for line in table} for table in tables]
    for key in (key for key in by_key[0] if all(key in each for each in by_key)):
        same = [each[key] for each in by_key]
        each = [line.recovery for line in same]
        values = {name: [getattr(r, name) for r in each] for name in ("absolute", "relative", "ratio_of_means", "floored")}
        means: dict[str, Any] = {name: float(np.mean(numbers)) for name, numbers in values.items()}
        averaged = replace(
            each[0],
            **means,
            interval=(min(values["relative"]), max(values["relative"])),
            floored_interval=(min(values["floored"]), max(values["floored"])),
            below_floor=tuple(sorted({name for r in each for name in r.below_floor})),
        )
        found.append(replace(same[0], recovery=averaged))
    return found


def per_task(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return one record per task and setting: metric, score, reference, floor, ranked score."""
    records = []
    for result in results:
        for setting, scores in result["scores"].items():
            for name, score in scores.items():
                task = {k: v for k, v in result["tasks"][name].items() if k != "digest"}
                reference = result["reference"][REFERENCE_SEED.get(setting, "100")][name]
                floor = max(result["floor"][name].values())
                row = {"setting": setting, "task": name, **task, "score": score["generated"], "ranked": score["ranked"]}
                records.append(row | {"reference": reference["generated"], "floor": floor, "dim": result["dim"]})
    return records


SEEDS_COLUMN = "least … largest seed"
COLUMNS = ("setting", "tasks", "n", "E_abs", "E_rel", "95 % interval", "ratio of means", "above floor", "95 % interval", "n above")


def cells(line: Line) -> tuple[str, ...]:
    """Return a line's cells as text, shares in per cent."""
    r = line.recovery
    share = lambda x: "–" if x != x else f"{100 * x:.1f}"  # noqa: E731
    span = lambda pair: "–" if pair[0] != pair[0] else f"{share(pair[0])} … {share(pair[1])}"  # noqa: E731
    return (
        line.title, line.group, str(r.tasks), f"{r.absolute:.3f}", share(r.relative), span(r.interval), share(r.ratio_of_means),
        share(r.floored), span(r.floored_interval), str(r.tasks - len(r.below_floor)),
    )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same tasks, first minus second.

    interval: bootstrap 95 % interval of the mean difference over tasks; NaN for one task.
    p_value: Wilcoxon signed-rank, two-sided, ties left out; 1 where all are ties.
    wins, ties, losses: tasks on which the first is better, equal, worse.
    """

    tasks: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    wins: int
    ties: int
    losses: int


def compare(first: Mapping[str, float], second: Mapping[str, float]) -> Comparison:
    """Compare two methods' scores (or recoveries) by task; raise ValueError where they are not of the same tasks."""
    if set(first) != set(second) or not first:
        lacking = sorted(set(first) ^ set(second))
        raise ValueError(f"scores of the same tasks were expected, found some in one method only: {lacking}; leave those out")
    differences = np.array([first[name] - second[name] for name in sorted(first)]).round(12)  # 0.8 - 0.6 is 0.7 - 0.5
    apart = differences[differences != 0]
    return Comparison(
        tasks=len(differences),
        difference=float(differences.mean()),
        interval=bootstrap(differences) if len(differences) > 1 else (float("nan"), float("nan")),
        p_value=float(wilcoxon(apart).pvalue) if len(apart) else 1.0,
        wins=int((differences > 0).sum()),
        ties=len(differences) - len(apart),
        losses=int((differences < 0).sum()),
    )


def compare_groups(first: Mapping[str, float], second: Mapping[str, float], chosen: Groups) -> dict[str, Comparison]:
    """Compare two methods on each group of tasks, such as those of `groups`; a group without any is left out."""
    of = lambda scores, member: {name: score for name, score in scores.items() if member(name)}
    parts = {group: (of(first, member), of(second, member)) for group, member in chosen.items()}
    return {group: compare(*pair) for group, pair in parts.items() if any(pair)}


COMPARED = ("tasks", "n", "mean difference", "95 % interval", "Wilcoxon p", "wins", "ties", "losses")


def comparison_rows(comparisons: Mapping[str, Comparison]) -> list[tuple[str, ...]]:
    """Return the cells below `COMPARED`, a row for each group of tasks; differences in points of the score, three digits."""
    rows = []
    for name, c in comparisons.items():
        span = "–" if c.interval[0] != c.interval[0] else f"{c.interval[0]:+.3f} … {c.interval[1]:+.3f}"
        p_value = "< 0.001" if c.p_value < 0.001 else f"{c.p_value:.3f}"
        signed = [cell.replace("-", "−") for cell in (f"{c.difference:+.3f}", span)]
        rows.append((name, str(c.tasks), *signed, p_value, str(c.wins), str(c.ties), str(c.losses)))
    return rows


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 2) -> str:
    """Return a Markdown table whose first columns are texts and the others numbers."""
    rule = "|" + "---|" * texts + "---:|" * (len(columns) - texts)
    return "\n".join(["| " + " | ".join(columns) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "–": "--", "…": r"\ldots{}", "−": "$-$",
}  # fmt: skip


def latex(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 2) -> str:
    """Return the table of `markdown` as a LaTeX tabular with the rules of booktabs; special characters are escaped.

    Letters outside ASCII stay as they are (UTF-8).
    """
    line = lambda cells: " & ".join(map(_escape, cells)) + r" \\"  # noqa: E731
    shape = "l" * texts + "r" * (len(columns) - texts)
    head = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", line(columns), r"\midrule"]
    return "\n".join([*head, *map(line, rows), r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escape(cell: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in " ".join(cell.split()))


def rows_as_csv(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, the header among them."""
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def to_csv(records: Sequence[dict[str, Any]]) -> str:
    """Return records as CSV with a header."""
    return rows_as_csv([list(records[0]), *(list(record.values()) for record in records)])

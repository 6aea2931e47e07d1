"""The table of planted faults (`tests/mutants.py`): which tests see a module, and what becomes docs/mutants.md."""

STRICT = (  # 90 % each, 85 % over all
    "ipt/training/loop.py",
    "ipt/methods/msf.py",
    "ipt/methods/ist.py",
    "ipt/recovery.py",
    "ipt/training/evaluate.py",
    "ipt/metrics.py",
    "ipt/methods/mixture.py",
    "ipt/data.py",
)
# A module and the test files that see it, the quickest first.
TESTS: dict[str, tuple[str, ...]] = {
    "ipt/training/loop.py": ("train_by_hand", "fit", "losses", "stacking", "train", "stages"),
    "ipt/methods/msf.py": ("msf", "stages"),
    "ipt/methods/ist.py": ("ist",),
    "ipt/recovery.py": ("recovery",),
    "ipt/training/evaluate.py": ("task_data", "evaluate"),
    "ipt/metrics.py": ("metrics_by_hand", "metrics"),
    "ipt/methods/mixture.py": ("mixtures", "rivals_by_hand", "rivals"),
    "ipt/data.py": ("data_rules", "data", "schema"),
    "ipt/methods/tuning.py": ("grid",),
    "ipt/training/sweep.py": ("grid",),
    "ipt/methods/subspace.py": ("linear_subspaces", "subspaces"),
    "ipt/training/levenberg_marquardt.py": ("newton_search", "newton_by_hand", "newton"),
    "ipt/bank.py": ("prompts",),
    "ipt/backbones/base.py": ("batches", "backbone", "families_by_hand", "families"),
    "ipt/backbones/loading.py": ("tokens_by_hand", "families_by_hand", "loading", "families"),
    "ipt/interop/peft.py": ("peft_by_hand",),
    "ipt/run.py": ("run", "checkpoint"),
    "ipt/experiment.py": ("pipeline", "pipeline_runs", "pipeline_state", "stability_by_hand"),
    "ipt/workflows/stability.py": ("stability_by_hand", "stability"),
    "ipt/predict.py": ("adapters_by_hand", "adapters"),
    "analysis/scores.py": ("scores", "analysis"),
    "analysis/geometry.py": ("geometry_by_hand", "geometry"),
    "analysis/summaries.py": ("report_by_hand", "analysis"),
    "analysis/report/comparison.py": ("compared", "page_runs"),
    "analysis/report/tables.py": ("page_tables", "page_runs"),
    "ipt/cli/study.py": ("study_by_hand", "study"),
    "tasks/readers/schema.py": ("files_by_hand", "files"),
    "tasks/readers/tables.py": ("tables_by_hand", "tables"),
    "ipt/config.py": ("config",),
    "ipt/resolve.py": ("plan", "plan_work"),
}


def page(result: dict) -> str:
    """Return docs/mutants.md."""
    lines = [
        "# Planted faults",
        "",
        f"`make mutants` planted {result['sample'] or 'all'} faults in each module (seed {result['seed']}; all where a module has "
        "fewer), one at a time, and ran its tests. Share: of the faults that change what the module does. The tests were mended "
        "until they found most of this sample, which flatters them; `python tests/mutants.py MODULE --seed 1` plants others "
        "(LOG.md has such figures).",
        "",
        f"Planted at revision {result['revision']}; modules are named as they are now.",
        "",
        "| module | planted | found | same behaviour | share |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    total = dict.fromkeys(("planted", "found", "equivalent"), 0)
    for module, row in result["modules"].items():
        total = {name: total[name] + row[name] for name in total}
        lines.append(table_row(f"`{module}`", row))
    lines += [table_row("all", total), "", "## Faults that were not found", ""]
    for survivor in result["survivors"]:
        lines += [
            f"* `{survivor['module']}`, line {survivor['line']}: {survivor['reason'] or 'no test finds it yet'}",
            "",
        ]
        lines += [
            "  ```diff",
            *(f"  {line}" for line in survivor["change"].splitlines()),
            "  ```",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def share(row: dict[str, int]) -> float:
    """Return the part found of the faults that are none in name only."""
    return row["found"] / max(1, row["planted"] - row["equivalent"])


def table_row(name: str, row: dict[str, int]) -> str:
    return f"| {name} | {row['planted']} | {row['found']} | {row['equivalent']} | {100 * share(row):.0f} % |"

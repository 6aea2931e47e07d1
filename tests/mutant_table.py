"""The table of planted faults (`tests/mutants.py`): which tests see a module, and what becomes docs/mutants.md."""

STRICT = ("train", "msf", "ist", "recovery", "evaluate", "metrics", "rivals", "data")  # 90 % each, 85 % over all
# A module and the test files that see it, the quickest first.
TESTS: dict[str, tuple[str, ...]] = {
    "ipt/train.py": ("train_by_hand", "fit", "losses", "stacking", "train", "stages"),
    "ipt/msf.py": ("msf", "stages"),
    "ipt/ist.py": ("ist",),
    "ipt/recovery.py": ("recovery",),
    "ipt/evaluate.py": ("task_data", "evaluate"),
    "ipt/metrics.py": ("metrics_by_hand", "metrics"),
    "ipt/rivals.py": ("mixtures", "rivals_by_hand", "rivals"),
    "ipt/data.py": ("data_rules", "data", "schema"),
    "ipt/tuning.py": ("grid",),
    "ipt/grid.py": ("grid",),
    "ipt/autoencoder.py": ("linear_subspaces", "subspaces"),
    "ipt/newton.py": ("newton_search", "newton_by_hand", "newton"),
    "ipt/prompts.py": ("prompts",),
    "ipt/backbone.py": ("batches", "backbone", "families_by_hand", "families"),
    "ipt/families.py": ("tokens_by_hand", "families_by_hand", "loading", "families"),
    "ipt/peft_folder.py": ("peft_by_hand",),
    "ipt/run.py": ("run", "checkpoint"),
    "ipt/pipeline.py": ("pipeline", "pipeline_runs", "pipeline_state", "stability_by_hand"),
    "ipt/stability.py": ("stability_by_hand", "stability"),
    "ipt/adapters.py": ("adapters_by_hand", "adapters"),
    "analysis/scores.py": ("scores", "analysis"),
    "analysis/geometry.py": ("geometry_by_hand", "geometry"),
    "analysis/report.py": ("report_by_hand", "analysis"),
    "analysis/compared.py": ("compared", "page_runs"),
    "analysis/tables.py": ("page_tables", "page_runs"),
    "ipt/study.py": ("study_by_hand", "study"),
    "tasks/files.py": ("files_by_hand", "files"),
    "tasks/tables.py": ("tables_by_hand", "tables"),
    "ipt/config.py": ("config",),
    "ipt/plan.py": ("plan", "plan_work"),
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
        "| module | planted | found | same behaviour | share |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    total = dict.fromkeys(("planted", "found", "equivalent"), 0)
    for module, row in result["modules"].items():
        total = {name: total[name] + row[name] for name in total}
        lines.append(table_row(f"`{module}`", row))
    lines += [table_row("all", total), "", "## Faults that were not found", ""]
    for survivor in result["survivors"]:
        lines += [f"* `{survivor['module']}`, line {survivor['line']}: {survivor['reason'] or 'no test finds it yet'}", ""]
        lines += ["  ```diff", *(f"  {line}" for line in survivor["change"].splitlines()), "  ```", ""]
    return "\n".join(lines).rstrip() + "\n"


def share(row: dict[str, int]) -> float:
    """Return the part found of the faults that are none in name only."""
    return row["found"] / max(1, row["planted"] - row["equivalent"])


def table_row(name: str, row: dict[str, int]) -> str:
    return f"| {name} | {row['planted']} | {row['found']} | {row['equivalent']} | {100 * share(row):.0f} % |"

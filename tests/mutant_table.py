"""The table of planted faults (`tests/mutants.py`): which tests see a module, and what becomes docs/mutants.md."""

STRICT = (  # 90 % each, 85 % over all
    "ipt/training/loop.py",
    "ipt/training/optimizer.py",
    "ipt/training/source.py",
    "ipt/training/model.py",
    "ipt/training/evaluate.py",
    "ipt/methods/msf.py",
    "ipt/methods/ist.py",
    "ipt/methods/mixture.py",
    "ipt/recovery.py",
    "ipt/metrics.py",
    "ipt/data.py",
    "ipt/fewshot.py",
    "ipt/encoded.py",
    "ipt/workflows/msf.py",
    "ipt/workflows/ist.py",
    "ipt/workflows/evaluation.py",
)
# A module and the test files that see it, the quickest first.
TESTS: dict[str, tuple[str, ...]] = {
    "ipt/training/loop.py": ("train_by_hand", "fit", "losses", "stacking", "train", "stages"),
    "ipt/training/optimizer.py": ("train_by_hand", "train", "stages"),
    "ipt/training/source.py": ("losses", "stages", "mixtures", "grid"),
    "ipt/training/model.py": ("train_by_hand", "train", "toy_tuner", "rivals_by_hand"),
    "ipt/training/evaluate.py": ("task_data", "evaluate"),
    "ipt/training/sweep.py": ("grid",),
    "ipt/training/levenberg_marquardt.py": ("newton_search", "newton_by_hand", "newton"),
    "ipt/tuners/base.py": ("toy_tuner", "stages"),
    "ipt/tuners/soft_prompt.py": ("toy_tuner", "config", "losses", "stages"),
    "ipt/heads/language_model.py": ("losses", "backbone", "families_by_hand", "evaluate"),
    "ipt/methods/msf.py": ("msf", "stages"),
    "ipt/methods/ist.py": ("ist",),
    "ipt/methods/mixture.py": ("mixtures", "rivals_by_hand", "rivals"),
    "ipt/methods/tuning.py": ("grid",),
    "ipt/methods/subspace.py": ("linear_subspaces", "subspaces"),
    "ipt/recovery.py": ("recovery",),
    "ipt/metrics.py": ("metrics_by_hand", "metrics"),
    "ipt/data.py": ("data_rules", "data", "schema"),
    "ipt/fewshot.py": ("data_rules", "data", "task_data"),
    "ipt/encoded.py": ("task_data", "evaluate", "mixtures"),
    "ipt/bank.py": ("prompts", "pipeline_state", "stale"),
    "ipt/results.py": ("pipeline", "scores", "pipeline_runs", "config"),
    "ipt/provenance.py": ("toy_tuner", "stale", "stale_runs", "pipeline", "crossfit"),
    "ipt/resolve.py": ("plan", "plan_work"),
    "ipt/run.py": ("run", "checkpoint"),
    "ipt/experiment.py": ("pipeline", "pipeline_runs", "pipeline_state", "stability_by_hand"),
    "ipt/predict.py": ("adapters_by_hand", "adapters"),
    "ipt/config.py": ("config",),
    "ipt/backbones/base.py": ("batches", "backbone", "families_by_hand", "families"),
    "ipt/backbones/causal.py": ("backbone", "tokens_by_hand", "families_by_hand", "families"),
    "ipt/backbones/encoder_decoder.py": ("backbone", "families_by_hand", "families"),
    "ipt/backbones/masked.py": ("backbone", "tokens_by_hand", "families_by_hand", "families"),
    "ipt/backbones/loading.py": ("tokens_by_hand", "families_by_hand", "loading", "families"),
    "ipt/workflows/deltas.py": ("pipeline", "pipeline_runs", "pipeline_state", "stale"),
    "ipt/workflows/evaluation.py": ("pipeline", "pipeline_runs", "stale"),
    "ipt/workflows/msf.py": ("pipeline", "pipeline_runs", "pipeline_state"),
    "ipt/workflows/ist.py": ("pipeline", "pipeline_runs", "pipeline_state"),
    "ipt/workflows/stability.py": ("stability_by_hand", "stability"),
    "ipt/workflows/study.py": ("study_by_hand", "study"),
    "ipt/interop/peft.py": ("peft_by_hand",),
    "ipt/cli/study.py": ("study_by_hand", "study"),
    "analysis/scores.py": ("scores", "analysis"),
    "analysis/spread.py": ("report_by_hand", "stability_by_hand", "analysis"),
    "analysis/comparison.py": ("compared", "scores", "analysis"),
    "analysis/geometry.py": ("geometry_by_hand", "geometry"),
    "analysis/summaries.py": ("report_by_hand", "analysis"),
    "analysis/study.py": ("report_by_hand", "study_by_hand", "study"),
    "analysis/report/comparison.py": ("compared", "page_runs"),
    "analysis/report/tables.py": ("page_tables", "page_runs"),
    "tasks/splits.py": ("files_by_hand", "files"),
    "tasks/readers/schema.py": ("files_by_hand", "files"),
    "tasks/readers/tables.py": ("tables_by_hand", "tables"),
    "tasks/readers/templates.py": ("tables_by_hand", "tables"),
}


def page(result: dict) -> str:
    """Return docs/mutants.md."""
    lines = [
        "# Planted faults",
        "",
        f"`make mutants` planted {result['sample'] or 'all'} faults in each module (seed {result['seed']}; all where a module has "
        "fewer), one at a time, and ran its tests. Share: of the faults that change what the module does. Some tests were written "
        "against this sample, which flatters them; LOG.md has the shares before that, and `python tests/mutants.py MODULE --seed 2` "
        "plants others.",
        "",
        f"Planted at revision {result['revision']}.",
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

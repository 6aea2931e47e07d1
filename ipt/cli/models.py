"""The verbs about models: `ipt pretrain`, `ipt convert`, `ipt score`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ipt.cli.options import Flat, Source, SummaryFile
from ipt.cli.output import new_table, print_list, print_quality
from ipt.config import CONFIG, PretrainConfig, SourceConfig
from ipt.progress import Reporter

# Tokens left for a definition where a model has a fixed number of positions; those of the suite
# take at most 29 of the embedded backbone's.
LONGEST_DEFINITION = 64
FOLDER = "run folder; the model is left in its folder model"
TEXT = "folder of plain text (*.txt.gz), a line a paragraph; none: tasks only"


def pretrain(
    *,
    out: Annotated[Path, Parameter(help=FOLDER)] = Path("runs/pretrain"),
    text: Annotated[Path | None, Parameter(help=TEXT)] = None,
    settings: Annotated[Path | None, Parameter(name="--config", help=CONFIG)] = None,
    config: Annotated[PretrainConfig, Flat] = PretrainConfig(),
) -> None:
    """Make the embedded backbone from the suite's generators (needs the extra `suite`)."""
    from ipt.backbones.pretraining import Sample
    from ipt.backbones.pretraining import pretrain as train
    from ipt.tasks.generators.build import all_recipes, pretraining_stream
    from ipt.tasks.readers.text import text_lines
    from ipt.tasks.suites.embedded import load

    # Inputs that the suite ships for rule tasks are left out of the stream: they stay unseen.
    recipes = all_recipes()
    shipped = load()

    # Both stream anew from each seed: a resumed run does not repeat its rows.
    def samples(seed: int) -> Iterator[Sample]:
        return pretraining_stream(recipes, shipped, seed)

    def lines(seed: int) -> Iterator[str]:
        assert text is not None
        return text_lines(text, seed)

    with Reporter().bar("pre-training") as progress:
        # A bar counts whole seconds, the training loop fractions of them.
        def report(done: float, total: float, loss: float) -> None:
            progress(int(done), int(total), loss)

        train(samples, lines if text else None, config, out, report)
    print(f"model: {out / 'model'}")


def convert(file: Path, folder: Path) -> None:
    """Turn a GGUF file of a left-to-right model into a folder for --model (extra `gguf`)."""
    from ipt.interop.gguf import convert as convert_gguf

    convert_gguf(file, folder)
    print(f"model: {folder}")


def score(*, source: Source = SourceConfig(tasks="all"), file: SummaryFile = None) -> None:
    """Score the manual prompt (each task's definition before its input) on the test sets."""
    from ipt.analysis.summaries import quality
    from ipt.resolve import open_backbone
    from ipt.tasks.catalog import load_tasks
    from ipt.workflows.scoring import score_definitions

    tasks = load_tasks(source.tasks, source.as_published)
    backbone = open_backbone(source.model, LONGEST_DEFINITION, source.dtype, source.device)
    scores = score_definitions(backbone, tasks, source, Reporter())

    table = new_table("task", "metric", "definition", "ranked")
    means = {}
    for task in tasks:
        result = scores[task.name]
        means[task.name] = result.generated
        # Only tasks with options are ranked.
        ranked = "" if result.ranked is None else f"{result.ranked:.3f}"
        table.add_row(task.name, task.metric, f"{result.generated:.3f}", ranked)
    print_list(table)
    # Without floors and dev losses: a definition is neither tuned nor the best of anything.
    print_quality(quality("definition", tasks, means), file, source.seed)

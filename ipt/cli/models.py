"""The verbs about models: `ipt pretrain`, `ipt convert`, `ipt score`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ipt.cli.options import Flat, Source, SummaryFile
from ipt.cli.output import new_table, print_list, print_quality
from ipt.config import CONFIG, PretrainConfig, SourceConfig
from ipt.progress import Reporter

LONGEST_DEFINITION = 64  # tokens left for a definition where a model has a fixed number of positions
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
    from ipt.tasks.readers.schema import text_lines
    from ipt.tasks.suites.embedded import load

    recipes = all_recipes()
    shipped = load()

    def samples(seed: int) -> Iterator[Sample]:
        return pretraining_stream(recipes, shipped, seed)

    def lines(seed: int) -> Iterator[str]:
        assert text is not None
        return text_lines(text, seed)

    with Reporter().bar("pre-training") as progress:

        def report(done: float, total: float, loss: float) -> None:
            progress(int(done), int(total), loss)

        train(samples, lines if text else None, config, out, report)
    print(f"model: {out / 'model'}")


def convert(file: Path, folder: Path) -> None:
    """Turn a GGUF file of a left-to-right model into a folder for --model (needs the extra `gguf`)."""
    from ipt.interop.gguf import convert as convert_gguf

    convert_gguf(file, folder)
    print(f"model: {folder}")


def score(*, source: Source = SourceConfig(tasks="all"), file: SummaryFile = None) -> None:
    """Score the manual prompt (each task's definition before its input) on the test sets."""
    from ipt.resolve import open_backbone
    from ipt.tasks.catalog import tasks_of
    from ipt.workflows.scoring import score_definitions

    tasks = tasks_of(source.tasks, source.as_published)
    backbone = open_backbone(source.model, LONGEST_DEFINITION, source.dtype, source.device)
    records = score_definitions(backbone, tasks, source, Reporter())

    table = new_table("task", "metric", "definition", "ranked")
    for record in records:
        ranked = [f"{value:.3f}" for value in record.ranked]
        table.add_row(record.name, record.metric, f"{record.mean:.3f}", *ranked)
    print_list(table)
    print_quality("definition", tasks, records, source.seed, file)

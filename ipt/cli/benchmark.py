"""`ipt bench`: speed and memory of stacking beside PEFT, and the cost of ways to search."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Column

from ipt.cli.options import Flat, Out, Source, SummaryFile
from ipt.cli.output import new_table, write_summary
from ipt.config import BenchmarkConfig, SourceConfig

PACKAGES = ("peft", "cma")  # of the extra `bench`
TEXTS = (0, 5)  # columns of the table that hold words


def bench(
    *,
    source: Source = SourceConfig(),
    config: Annotated[BenchmarkConfig, Flat] = BenchmarkConfig(),
    out: Out = Path("runs"),
    file: SummaryFile = None,
) -> None:
    """Measure what stacking gains, and its cost as it grows (needs the extra `bench`)."""
    from ipt.analysis.summaries import bench_notes, bench_table
    from ipt.benchmarks.search_cost import measure_search_cost
    from ipt.benchmarks.speed import measure, report
    from ipt.benchmarks.tuners import measure_tuners
    from ipt.progress import Reporter
    from ipt.resolve import open_search_problem, open_speed_benchmark

    # Asked before anything is measured: a missing package would else end it after minutes.
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"ipt bench needs {' and '.join(missing)}: pip install 'intrinsic-prompt-tuning[bench]'"
        )
    # Three benchmarks in one verb: all end with lines of one kind.
    if config.search_cost:
        problem = open_search_problem(source, config, out)
        model = problem.model
        measurements = measure_search_cost(problem, Reporter())
    elif config.tuner:
        model, tasks = open_speed_benchmark(source, config)
        measurements = measure_tuners(model, tasks, config, Reporter())
    else:
        model, tasks = open_speed_benchmark(source, config)
        start = model.initialize(source.seed)
        measurements = measure(model, start, tasks, config, Reporter())
    record = report(model.backbone, measurements)

    # Figures stand at the right, digits below digits.
    columns = []
    texts = bench_table(record)
    for position, name in enumerate(texts.columns):
        justify: Any = "left" if position in TEXTS else "right"
        columns.append(Column(name, justify=justify, overflow="fold"))
    table = new_table(*columns)
    for row in texts.rows:
        table.add_row(*row)
    Console().print(table)
    for note in bench_notes(record):
        print(note)
    if file:
        write_summary(file, record, source.seed)
        print(f"summary: {file}")

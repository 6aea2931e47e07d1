"""`ipt stability`: how much unseen tasks' scores depend on the seed (paper, section 4.4; stage two of the released scripts).

Five methods on the same tasks, few-shot sets and seeds: prompt tuning, IST in a frozen subspace, as many weights of a mixture of seen
prompts (`ipt.methods.mixture`), and prompt tuning started from the IST solution decode(z), or from the mixture. All seeds of a method are jobs of
one stacked run (mixtures: a run a seed). E_rel and the figure above the floor (`ipt.recovery`)
compare a task's mean over the seeds with prompt tuning's; the spread is the standard deviation over seeds (n - 1) of a task's score,
averaged over tasks.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ipt.config import IstConfig
from ipt.data import SAME_DATA_SEED
from ipt.experiment import Experiment
from ipt.methods.ist import tune_vectors
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import tune_deltas
from ipt.recovery import recovery
from ipt.run import Run
from ipt.storage import write_tensors
from ipt.training.source import mix_deltas

PROMPT, IST, MIXTURE = "prompt tuning", "IST", "mixture of seen prompts"
FROM = {IST: "prompt tuning from the IST solution", MIXTURE: "prompt tuning from the mixture"}
ByTask = Mapping[str, Sequence[float]]  # a score per seed


def run_stability(experiment: Experiment, subspace: Subspace, config: IstConfig, seeds: Sequence[int], run: Run) -> dict[str, Any]:
    """Tune every unseen task with every seed in the five ways, score them, and finish the run folder."""
    names = [*experiment.split.unseen, *experiment.split.out_of_kind]
    experiments = [replace(experiment, seed=seed) for seed in seeds]
    experiment.tune_missing(names, SAME_DATA_SEED, seeds)
    found: dict[str, list[Any]] = {PROMPT: [b.reference(names, SAME_DATA_SEED) for b in experiments]}
    once = experiment.data(names, SAME_DATA_SEED)
    data, each = [d for _ in seeds for d in once], [seed for seed in seeds for _ in once]
    starts = torch.cat([experiment.starts(config, subspace, once, seed) for seed in seeds])
    processes = experiment.processes
    mine, own = processes.shard(data), processes.shard(each)
    with experiment.reporter.bar("IST, all seeds") as progress:
        kept = run.checkpoint(processes.name("ist"), config.checkpoint_seconds)
        begin = starts[processes.shard(range(len(data)))]
        vectors, _ = tune_vectors(experiment.backbone, subspace, mine, config, own, kept, progress, begin)
    vectors = processes.gather_rows(vectors)
    weights = torch.cat([experiment.mixtures(subspace.dim, once, config, run, seed) for seed in seeds])
    leads = {IST: subspace.decode(vectors), MIXTURE: mix_deltas(weights, experiment.prompts(experiment.split.seen, SAME_DATA_SEED))}
    tensors = {"vectors": vectors, "mixture": weights}
    for what in (IST, MIXTURE):
        with experiment.reporter.bar(FROM[what]) as progress:
            kept = run.checkpoint(processes.name(f"from-{what.split()[0]}"), experiment.tune.checkpoint_seconds)
            begin = leads[what][processes.shard(range(len(data)))]
            tuned = tune_deltas(experiment.backbone, mine, experiment.tune, own, kept, begin, progress)
        leads[FROM[what]] = tensors[f"prompts from {what}"] = processes.gather_rows(torch.stack([t.prompt for t in tuned]))
    for what, lead in leads.items():
        parts = [slice(i * len(once), (i + 1) * len(once)) for i in range(len(seeds))]
        found[what] = [experiment.score(f"{what}, seed {seed}", lead[part], once) for seed, part in zip(seeds, parts, strict=True)]
    scores = {what: {name: [scored[name]["generated"] for scored in each] for name in names} for what, each in found.items()}
    digest = hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()
    known = {"kind": "stability", "dim": subspace.dim, "seeds": list(seeds), "by_seed": scores, "digest": digest, "scores": {}}
    floors = {name: max(v for v in each.values() if v is not None) for name, each in experiment.floors(names).items()}
    result = known | stability(scores, floors)

    def write() -> None:
        write_tensors(run.folder / "vectors.safetensors", tensors)
        run.finish(result)

    processes.on_main_process(write)
    return result


def stability(scores: Mapping[str, ByTask], floors: Mapping[str, float]) -> dict[str, Any]:
    """Return figures of each method: means, recovery of prompt tuning's mean, spread over seeds; None where undefined."""
    reference = {name: float(np.mean(values)) for name, values in scores[PROMPT].items()}
    spreads = {what: float(np.mean([np.std(v, ddof=1) for v in each.values()])) for what, each in scores.items()}
    rows = []
    for what, each in scores.items():
        means = {name: float(np.mean(values)) for name, values in each.items()}
        found = recovery(means, reference, floors)
        row = {"method": what, "tasks": len(means), "seeds": len(next(iter(each.values())))}
        row |= {"mean_score": found.absolute, "relative": _defined(found.relative), "floored": _defined(found.floored)}
        row |= {"spread": spreads[what], "spread_ratio": spreads[what] / spreads[PROMPT] if spreads[PROMPT] else None}
        rows.append(row)
    return {"rows": rows}


def _defined(figure: float) -> float | None:
    return None if np.isnan(figure) else figure

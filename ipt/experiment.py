"""What `ipt tune`, `ipt msf` and `ipt ist` do: prompts for the split's tasks, a subspace, vectors, and the scores of each setting.

Settings (paper, section 4.1): train_msf and test_msf push tuned prompts of seen and unseen tasks through the autoencoder;
train_same, train_diff and test tune d numbers on seen tasks (same or other data) and on unseen ones. Reference: prompt tuning
on the same data seed. Controls: mean_code = decode(mean code), best_code = decode(where IST starts on unseen tasks), shared = one
prompt for all tasks, IST in a random and a PCA subspace of equal d, and d weights of a mixture of seen prompts (`ipt.methods.mixture`).
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ipt.backbones.base import MAX_ANSWER, Backbone
from ipt.bank import DeltaBank, vocabulary_start
from ipt.checkpoint import Checkpoint
from ipt.config import IST_PARTS, IstConfig, MsfConfig, TuneConfig, identity
from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Task, TaskSplit, digest_of
from ipt.distributed import Processes
from ipt.encoded import EncodedTask
from ipt.interop.peft import GivenDeltas
from ipt.methods.ist import SeenVectors, choose_starts, tune_vectors
from ipt.methods.mixture import mix
from ipt.methods.msf import find_shared_delta, find_subspace
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import TunedDelta, tune_deltas
from ipt.progress import Reporter
from ipt.recovery import absolute_score
from ipt.run import Run
from ipt.storage import lock_folders, read_tensors, write_tensors
from ipt.training.evaluate import chance, score_deltas
from ipt.training.source import mix_deltas

NOISE = 0.02  # deviation of IST's first values in the released code
Scores = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Experiment:
    """Everything a verb works on: the frozen backbone, the split's tasks, the settings of their reference prompts.

    limit: above 0, only that many test rows are scored (a look, not a result).
    """

    backbone: Backbone
    split: TaskSplit
    tasks: dict[str, Task]
    tune: TuneConfig
    seed: int
    out: Path
    limit: int
    reporter: Reporter
    source: str = ""  # what --tasks said
    given: GivenDeltas = GivenDeltas()  # prompts of data seed 100 that are not tuned here
    as_published: bool = False
    processes: Processes = Processes()  # the processes that share the work
    held_out: str = "test"  # the rows that are scored: test, or dev where a choice must not see these

    @property
    def scored(self) -> str:
        """What the scored rows are called in the bank."""
        return f"{self.limit or 'all'}" + ("" if self.held_out == "test" else f"-{self.held_out}")

    def in_run(
        self, path: Path, settings: dict[str, Any], work: Callable[[Run], dict[str, Any]], parts: Mapping[str, str] | None = None
    ) -> tuple[Path, dict[str, Any]]:
        """Open a run folder and return it with its result; where it has none yet, or lacks some parts, the work makes it, under a lock."""
        run = self.processes.on_main_process(lambda: Run.open(path, settings))
        with run.locked() if self.processes.is_main else nullcontext():
            found = self.processes.on_main_process(lambda: None if run.missing_parts(parts or {}) else run.result)
            return path, found or work(run)

    def of(self, names: Sequence[str]) -> list[Task]:
        return [self.tasks[name] for name in names]

    def data(self, names: Sequence[str], data_seed: int) -> list[EncodedTask]:
        """Draw and tokenise the sets of these tasks; says how many rows had to be cut."""
        found = [EncodedTask.draw(self.backbone, t, data_seed, self.tune.shots, self.limit, self.held_out) for t in self.of(names)]
        rows = [row for d in found for row in (*d.train, *d.dev, *d.test)]
        longest = self.backbone.max_input
        cut = sum(len(row.input_ids) >= longest or len(row.label_ids) >= MAX_ANSWER for row in rows)
        if cut:
            self.reporter.info(f"note: {cut} of {len(rows)} rows fill {longest} input or {MAX_ANSWER} answer tokens; longer ones are cut")
        return found

    @cached_property
    def start(self) -> Tensor:
        return vocabulary_start(self.backbone, self.tune.prompt_length, self.seed)

    def bank(self, data_seed: int) -> DeltaBank:
        setting = {"backbone": self.backbone.fingerprint, "tune": identity(self.tune), "seed": self.seed, "data_seed": data_seed}
        own = {"given": self.given.digest} if self.given.digest and data_seed == SAME_DATA_SEED else {}
        return DeltaBank(self.out, setting | own)

    def missing(self, names: Sequence[str], data_seed: int) -> list[Task]:
        """Return the tasks whose prompts are still to be tuned."""
        given = self.given.prompts if data_seed == SAME_DATA_SEED else {}
        untuned = self.processes.on_main_process(lambda: [task.name for task in self.bank(data_seed).missing(self.of(names))])
        return self.of([name for name in untuned if name not in given])

    def prompts(self, names: Sequence[str], data_seed: int) -> Tensor:
        """Return the tuned prompts [T, n, h] of these tasks, tuning those that the bank lacks."""
        bank = self.bank(data_seed)
        if data_seed == SAME_DATA_SEED:
            self.processes.on_main_process(lambda: self._put_given(bank, names))
        self.tune_missing(names, data_seed, [self.seed])
        found = self.processes.on_main_process(lambda: [bank.get(task) for task in self.of(names)])
        return torch.stack([t.prompt for t in found if t is not None]).to(self.backbone.device)

    def tune_missing(self, names: Sequence[str], data_seed: int, seeds: Sequence[int]) -> None:
        """Tune the prompts that the banks of these seeds lack, all in one stacked run, each rank its share."""
        lacking = lambda: [(b, task) for b in (replace(self, seed=s) for s in seeds) for task in b.missing(names, data_seed)]
        todo = lacking()
        if not todo:
            return
        with ExitStack() as locks:
            folders = {experiment.bank(data_seed).folder for experiment, _ in todo}
            self.processes.on_main_process(lambda: lock_folders(folders, locks, self.reporter.info))
            todo = lacking()  # fewer where another process was tuning them
            if not todo:
                return
            experiments = list({experiment.seed: experiment for experiment, _ in todo}.values())
            there = len(names) * len(seeds) - len(todo)
            self.reporter.info(f"tuning {len(todo)} prompts, data seed {data_seed} ({there} are there already)")
            untuned = list(dict.fromkeys(task.name for _, task in todo))
            drawn = dict(zip(untuned, self.data(untuned, data_seed), strict=True))
            data, own = self.processes.shard([drawn[task.name] for _, task in todo]), self.processes.shard([experiment for experiment, _ in todo])
            what = digest_of([d.task for d in data], *(str(experiment.seed) for experiment in own if len(experiments) > 1))
            checkpoint = Checkpoint(experiments[0].bank(data_seed).folder, f"tune-{what}", self.tune.checkpoint_seconds)
            with self.reporter.bar("prompt tuning") as progress:
                start = torch.stack([experiment.start for experiment in own]) if own else self.start
                share = tune_deltas(self.backbone, data, self.tune, [experiment.seed for experiment in own], checkpoint, start, progress)
            for (experiment, task), prompt in zip(todo, self.processes.gather(share), strict=True):
                if self.processes.is_main:
                    experiment.bank(data_seed).put(task, prompt)
            checkpoint.discard()

    def starts(self, config: IstConfig, subspace: Subspace, data: Sequence[EncodedTask], seed: int | None = None) -> Tensor:
        """Return where IST starts [T, S, d]; `seen`: the best code of another seen task, each rank choosing for its share.

        seed: decides chance's part; the subspace and the seen codes stay those of the bench's own seed.
        """
        names, seed = self.split.seen, self.seed if seed is None else seed
        seen = SeenVectors(subspace.encode(self.prompts(names, SAME_DATA_SEED)), names)
        if config.start == "mean":
            return seen.mean.repeat(len(data), 1, 1)
        if config.start == "noise":  # one draw for all tasks: the released code runs each with the same seed
            draw = torch.randn(1, 1, subspace.dim, generator=torch.Generator().manual_seed(seed)) * NOISE
            return draw.to(seen.codes).repeat(len(data), 1, 1)
        with self.reporter.bar(f"best seen codes, {subspace.kind} subspace"):
            count = min(config.starts, len(names))  # as many for a seen task, whose own code is none, as for an unseen one
            own = choose_starts(self.backbone, subspace.decode, self.processes.shard(data), seen, seed, count)
        return self.processes.gather_rows(own)

    def vectors(
        self, subspace: Subspace, data: Sequence[EncodedTask], start: Tensor, config: IstConfig, run: Run, stage: str
    ) -> Tensor:  # fmt: skip
        """Return the tuned intrinsic vectors [T, d], each rank tuning its share."""
        kept = run.checkpoint(self.processes.name(stage), config.checkpoint_seconds)
        share, own = self.processes.shard(data), start[self.processes.shard(range(len(data)))]
        with self.reporter.bar(f"tuning {stage}") as progress:
            found, _ = tune_vectors(self.backbone, subspace, share, config, self.seed, kept, progress, own)
        return self.processes.gather_rows(found)

    def mixtures(self, dim: int, data: Sequence[EncodedTask], config: IstConfig, run: Run, seed: int | None = None) -> Tensor:
        """Return each task's weights [T, S] of the seen tasks' prompts, `dim` numbers tuned, each rank tuning its share; seed: as above."""
        names, share, stage = self.split.seen, self.processes.shard(data), "ist-mixture" + ("" if seed is None else f"-{seed}")
        bank, kept = self.prompts(names, SAME_DATA_SEED), run.checkpoint(self.processes.name(stage), config.checkpoint_seconds)
        with self.reporter.bar("tuning mixtures of seen prompts") as progress:
            found = mix(self.backbone, bank, names, dim, share, config, self.seed if seed is None else seed, kept, progress)
        return self.processes.gather_rows(found)

    def joint(self, run: Run, stage: str, config: MsfConfig) -> Checkpoint:
        """Return the checkpoint of a stage that all processes do together: the first one's."""
        return run.checkpoint(stage, config.checkpoint_seconds) if self.processes.is_main else Checkpoint.none()

    def _put_given(self, bank: DeltaBank, names: Sequence[str]) -> None:
        """Put prompts that were tuned elsewhere into the bank; raise ValueError where a run opened again has lost them."""
        for task in bank.missing(self.of([name for name in self.given.names if name in names])):
            if task.name not in self.given.prompts:
                raise ValueError(f"{bank.folder} has lost the prompt of {task.name}, which came from a PEFT folder; run `ipt msf` again")
            bank.put(task, TunedDelta(self.given.prompts[task.name], 0.0, float("nan"), 0))

    def score(self, what: str, prompts: Tensor, data: Sequence[EncodedTask], rank: bool = True) -> Scores:
        """Return each task's test scores, generated and (cls, where asked for) ranked."""
        with self.reporter.bar(f"scoring {what}") as progress:
            own, at = self.processes.shard(data), self.processes.shard(range(len(data)))
            done = lambda done, total: progress(done, total, float("nan"))
            scores = self.processes.gather(score_deltas(self.backbone, prompts[at], own, rank=rank, progress=done))
        return {d.task.name: s.rounded() for d, s in zip(data, scores, strict=True)}

    def reference(self, names: Sequence[str], data_seed: int) -> Scores:
        """Return prompt tuning's test scores, kept beside the bank's prompts."""
        bank = self.bank(data_seed)
        kept = self.processes.on_main_process(lambda: bank.scores("reference", self.of(names), self.scored))
        todo = [name for name in names if name not in kept]
        if todo:
            new = self.score(f"prompt tuning, data seed {data_seed}", self.prompts(todo, data_seed), self.data(todo, data_seed))
            self.processes.on_main_process(lambda: bank.put_scores("reference", self.of(todo), self.scored, new))
            kept |= new
        return {name: kept[name] for name in names}

    def floors(self, names: Sequence[str]) -> Scores:
        """Return what doing nothing scores: chance, the empty prompt, the shared untrained start."""
        bank = self.bank(SAME_DATA_SEED)
        kept = self.processes.on_main_process(lambda: bank.scores("floor", self.of(names), self.scored))
        todo = [name for name in names if name not in kept]
        if todo:
            data = self.data(todo, SAME_DATA_SEED)
            empty = self.score("the empty prompt", self.start.new_zeros(len(data), 0, self.start.shape[1]), data, rank=False)
            start = self.score("the untrained start", self.start.expand(len(data), -1, -1), data, rank=False)
            new: Scores = {}
            for d in data:
                name = d.task.name
                new[name] = {"chance": chance(d), "empty": empty[name]["generated"], "start": start[name]["generated"]}
            self.processes.on_main_process(lambda: bank.put_scores("floor", self.of(todo), self.scored, new))
            kept |= new
        return {name: kept[name] for name in names}

    def describe(self) -> dict[str, Any]:
        """Return what every result records of its tasks and split."""
        names = ("category", "subcategory", "metric", "novel", "knowledge", "digest")
        tasks = {name: {field: getattr(self.tasks[name], field) for field in names} for name in self.split.all}
        parts = {part: list(getattr(self.split, part)) for part in ("seen", "unseen", "out_of_kind", "new_subcategories")}
        return {"tasks": tasks, "split": {"name": self.split.name} | parts}


def run_msf(experiment: Experiment, config: MsfConfig, run: Run) -> dict[str, Any]:
    """Tune missing prompts, find the subspace, score its reconstructions and the controls, and finish the run folder."""
    split, backbone = experiment.split, experiment.backbone
    seen, unseen = list(split.seen), [*split.unseen, *split.out_of_kind]
    bank = experiment.prompts([*seen, *unseen], SAME_DATA_SEED)
    data = experiment.data(seen, SAME_DATA_SEED)
    if config.dim >= len(seen):
        experiment.reporter.info(f"note: {config.dim} dimensions for {len(seen)} seen tasks do not compress the training prompts")
    with experiment.reporter.bar("finding the subspace") as progress:
        kept = experiment.joint(run, "msf", config)
        subspace = find_subspace(backbone, bank[: len(seen)], data, config, split.name, experiment.seed, kept, progress, experiment.processes)
    with experiment.reporter.bar("control: one shared prompt") as progress:
        rate = experiment.tune.learning_rates[0]
        kept = experiment.joint(run, "shared", config)
        shared = find_shared_delta(backbone, experiment.start, data, config, rate, experiment.seed, kept, progress, experiment.processes)
    everything = experiment.data([*seen, *unseen], SAME_DATA_SEED)
    rebuilt = subspace.decode(subspace.encode(bank))
    through = experiment.score("reconstructed prompts", rebuilt, everything)
    rest = everything[len(seen) :]
    mean = subspace.decode(subspace.encode(bank[: len(seen)]).mean(0, keepdim=True)).expand(len(rest), -1, -1)
    scores = {
        "train_msf": {name: through[name] for name in seen},
        "test_msf": {name: through[name] for name in unseen},
        "mean_code": experiment.score("the mean code", mean, rest),
        "shared": experiment.score("the shared prompt", shared.expand(len(rest), -1, -1), rest),
    }
    reference, floors = experiment.reference([*seen, *unseen], SAME_DATA_SEED), experiment.floors([*seen, *unseen])
    subspace.scores = card_scores({name: scores[name] for name in ("train_msf", "test_msf") if scores[name]}, reference)
    result = experiment.describe() | {
        "kind": "msf",
        "dim": config.dim,
        "prompts": hashlib.sha256(bank.cpu().numpy().tobytes()).hexdigest(),
        "parameters": sum(p.numel() for p in subspace.prompt_decoder.parameters()),
        "compresses": config.dim < len(seen),
        "reference": {str(SAME_DATA_SEED): reference},
        "floor": floors,
        "scores": scores,
    }

    def write() -> None:
        save_subspace(subspace, run.folder / "subspace")
        write_tensors(run.folder / "codes.safetensors", {"codes": subspace.encode(bank), "shared": shared})
        run.finish(result)

    experiment.processes.on_main_process(write)
    return result


def card_scores(scores: dict[str, Scores], reference: Scores) -> dict[str, float]:
    """Return the mean test scores that the subspace's card states."""
    found = {"prompt tuning": reference} | {f"reconstructed prompts, {name}": values for name, values in scores.items()}
    return {f"mean score: {name}": absolute_score([v["generated"] or 0.0 for v in values.values()]) for name, values in found.items()}


def save_subspace(subspace: Subspace, folder: Path) -> None:
    """Write the subspace's folder in one step."""
    draft = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    subspace.save_pretrained(draft, config=subspace.get_params())
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def run_ist(experiment: Experiment, subspace: Subspace, config: IstConfig, run: Run, parts: Mapping[str, str] = IST_PARTS) -> dict[str, Any]:
    """Tune d numbers per task in each of the parts that the run lacks, settings and rivals, score them, and finish the run folder."""
    split, backbone = experiment.split, experiment.backbone
    known, todo = experiment.processes.on_main_process(lambda: (run.result, run.missing_parts(parts)))
    seen, unseen = list(split.seen), [*split.unseen, *split.out_of_kind]
    every = {"same": ("train_same", seen, SAME_DATA_SEED), "diff": ("train_diff", seen, DIFF_DATA_SEED)}
    every["unseen"] = ("test", unseen, SAME_DATA_SEED)
    settings = {name: (names, data_seed) for part, (name, names, data_seed) in every.items() if part in todo}
    data = [d for names, data_seed in settings.values() for d in experiment.data(names, data_seed)]
    if settings:
        start = experiment.starts(config, subspace, data)
        vectors = experiment.vectors(subspace, data, start, config, run, "-".join(["ist", *settings]))
    tensors, scores, at = {}, {}, 0
    for setting, (names, _) in settings.items():
        part = slice(at, at + len(names))
        tensors[setting], at = vectors[part].contiguous(), at + len(names)
        scores[setting] = experiment.score(f"IST, {setting}", subspace.decode(tensors[setting]), data[part])
    bank = experiment.prompts(seen, SAME_DATA_SEED)
    named = {"backbone": backbone.name, "split": split.name}
    rivals = {
        "random": Subspace.random(bank, subspace.dim, experiment.seed, **named),
        "pca": Subspace.pca(bank, subspace.dim, seed=experiment.seed, **named),
    }
    rest = experiment.data(unseen, SAME_DATA_SEED)
    if "mixture" in todo:
        tensors["mixture"] = experiment.mixtures(subspace.dim, rest, config, run)
        scores["mixture_test"] = experiment.score("mixtures of seen prompts", mix_deltas(tensors["mixture"], bank), rest)
    if config.start == "seen" and "unseen" in todo:
        scores["best_code"] = experiment.score("the best seen code", subspace.decode(start[len(data) - len(rest) :, 0]), rest)
    for kind, rival in rivals.items():
        if kind not in todo:
            continue
        rival.to(backbone.device)
        begin = experiment.starts(config, rival, rest)
        found = experiment.vectors(rival, rest, begin, config, run, f"ist-{kind}")
        scores[f"{kind}_test"] = experiment.score(f"IST in the {kind} subspace", rival.decode(found), rest)
    references = {str(SAME_DATA_SEED): experiment.reference([*seen, *unseen], SAME_DATA_SEED)}
    if "diff" in todo:
        references[str(DIFF_DATA_SEED)] = experiment.reference(seen, DIFF_DATA_SEED)
    before = known or {"reference": {}, "scores": {}}
    result = experiment.describe() | {
        "kind": "ist",
        "dim": subspace.dim,
        "pca_dim": rivals["pca"].dim,
        "compresses": subspace.dim < len(seen),
        "reference": before["reference"] | references,
        "floor": experiment.floors([*seen, *unseen]),
        "scores": before["scores"] | scores,
    }

    def write() -> None:
        path = run.folder / "vectors.safetensors"
        write_tensors(path, (read_tensors(path)[0] if known else {}) | tensors)
        run.finish(result)

    experiment.processes.on_main_process(write)
    return result

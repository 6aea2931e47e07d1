"""What `ipt tune`, `ipt msf` and `ipt ist` do: prompts for the split's tasks, a subspace, vectors, and the scores of each setting.

Settings (paper, section 4.1): train_msf and test_msf push tuned prompts of seen and unseen tasks through the autoencoder;
train_same, train_diff and test tune d numbers on seen tasks (same or other data) and on unseen ones. Reference: prompt tuning
on the same data seed. Controls: mean_code = decode(mean code), best_code = decode(where IST starts on unseen tasks), shared = one
prompt for all tasks, IST in a random and a PCA subspace of equal d, and d weights of a mixture of seen prompts (`ipt.rivals`).
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

from ipt.autoencoder import Subspace
from ipt.backbone import MAX_ANSWER, Backbone
from ipt.config import DIFF_DATA_SEED, IST_PARTS, IstConfig, MsfConfig, TuneConfig, identity
from ipt.data import SAME_DATA_SEED, Task, TaskSplit, digest_of
from ipt.evaluate import TaskData, chance, score_prompts
from ipt.ist import SeenCodes, choose_starts, tune_vectors
from ipt.msf import find_shared_prompt, find_subspace
from ipt.peft_folder import GivenPrompts
from ipt.progress import Reporter
from ipt.prompts import PromptBank, TunedPrompt, vocabulary_start
from ipt.ranks import Ranks
from ipt.recovery import absolute_score
from ipt.rivals import mix, mixed
from ipt.run import Checkpoint, Run, hold, read_tensors, write_tensors
from ipt.tuning import tune_prompts

NOISE = 0.02  # deviation of IST's first values in the released code
Scores = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Bench:
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
    given: GivenPrompts = GivenPrompts()  # prompts of data seed 100 that are not tuned here
    as_published: bool = False
    ranks: Ranks = Ranks()  # the processes that share the work
    held_out: str = "test"  # the rows that are scored: test, or dev where a choice must not see these

    @property
    def scored(self) -> str:
        """What the scored rows are called in the bank."""
        return f"{self.limit or 'all'}" + ("" if self.held_out == "test" else f"-{self.held_out}")

    def in_run(
        self, path: Path, settings: dict[str, Any], work: Callable[[Run], dict[str, Any]], parts: Mapping[str, str] | None = None
    ) -> tuple[Path, dict[str, Any]]:
        """Open a run folder and return it with its result; where it has none yet, or lacks some parts, the work makes it, under a lock."""
        run = self.ranks.once(lambda: Run.open(path, settings))
        with run.locked() if self.ranks.first else nullcontext():
            found = self.ranks.once(lambda: None if run.lacking(parts or {}) else run.result)
            return path, found or work(run)

    def of(self, names: Sequence[str]) -> list[Task]:
        return [self.tasks[name] for name in names]

    def data(self, names: Sequence[str], data_seed: int) -> list[TaskData]:
        """Draw and tokenise the sets of these tasks; says how many rows had to be cut."""
        found = [TaskData.draw(self.backbone, t, data_seed, self.tune.shots, self.limit, self.held_out) for t in self.of(names)]
        rows = [row for d in found for row in (*d.train, *d.dev, *d.test)]
        longest = self.backbone.max_input
        cut = sum(len(row.input_ids) >= longest or len(row.label_ids) >= MAX_ANSWER for row in rows)
        if cut:
            self.reporter.say(f"note: {cut} of {len(rows)} rows fill {longest} input or {MAX_ANSWER} answer tokens; longer ones are cut")
        return found

    @cached_property
    def start(self) -> Tensor:
        return vocabulary_start(self.backbone, self.tune.prompt_length, self.seed)

    def bank(self, data_seed: int) -> PromptBank:
        setting = {"backbone": self.backbone.fingerprint, "tune": identity(self.tune), "seed": self.seed, "data_seed": data_seed}
        own = {"given": self.given.digest} if self.given.digest and data_seed == SAME_DATA_SEED else {}
        return PromptBank(self.out, setting | own)

    def missing(self, names: Sequence[str], data_seed: int) -> list[Task]:
        """Return the tasks whose prompts are still to be tuned."""
        given = self.given.prompts if data_seed == SAME_DATA_SEED else {}
        untuned = self.ranks.once(lambda: [task.name for task in self.bank(data_seed).missing(self.of(names))])
        return self.of([name for name in untuned if name not in given])

    def prompts(self, names: Sequence[str], data_seed: int) -> Tensor:
        """Return the tuned prompts [T, n, h] of these tasks, tuning those that the bank lacks."""
        bank = self.bank(data_seed)
        if data_seed == SAME_DATA_SEED:
            self.ranks.once(lambda: self._put_given(bank, names))
        self.tune_missing(names, data_seed, [self.seed])
        found = self.ranks.once(lambda: [bank.get(task) for task in self.of(names)])
        return torch.stack([t.prompt for t in found if t is not None]).to(self.backbone.device)

    def tune_missing(self, names: Sequence[str], data_seed: int, seeds: Sequence[int]) -> None:
        """Tune the prompts that the banks of these seeds lack, all in one stacked run, each rank its share."""
        lacking = lambda: [(b, task) for b in (replace(self, seed=s) for s in seeds) for task in b.missing(names, data_seed)]
        todo = lacking()
        if not todo:
            return
        with ExitStack() as locks:
            self.ranks.once(lambda: hold({bench.bank(data_seed).folder for bench, _ in todo}, locks, self.reporter.say))
            todo = lacking()  # fewer where another process was tuning them
            if not todo:
                return
            benches = list({bench.seed: bench for bench, _ in todo}.values())
            there = len(names) * len(seeds) - len(todo)
            self.reporter.say(f"tuning {len(todo)} prompts, data seed {data_seed} ({there} are there already)")
            untuned = list(dict.fromkeys(task.name for _, task in todo))
            drawn = dict(zip(untuned, self.data(untuned, data_seed), strict=True))
            data, own = self.ranks.share([drawn[task.name] for _, task in todo]), self.ranks.share([bench for bench, _ in todo])
            what = digest_of([d.task for d in data], *(str(bench.seed) for bench in own if len(benches) > 1))
            checkpoint = Checkpoint(benches[0].bank(data_seed).folder, f"tune-{what}", self.tune.checkpoint_seconds)
            with self.reporter.bar("prompt tuning") as progress:
                start = torch.stack([bench.start for bench in own]) if own else self.start
                share = tune_prompts(self.backbone, data, self.tune, [bench.seed for bench in own], checkpoint, start, progress)
            for (bench, task), prompt in zip(todo, self.ranks.gather(share), strict=True):
                if self.ranks.first:
                    bench.bank(data_seed).put(task, prompt)
            checkpoint.discard()

    def starts(self, config: IstConfig, subspace: Subspace, data: Sequence[TaskData], seed: int | None = None) -> Tensor:
        """Return where IST starts [T, S, d]; `seen`: the best code of another seen task, each rank choosing for its share.

        seed: decides chance's part; the subspace and the seen codes stay those of the bench's own seed.
        """
        names, seed = self.split.seen, self.seed if seed is None else seed
        seen = SeenCodes(subspace.encode(self.prompts(names, SAME_DATA_SEED)), names)
        if config.start == "mean":
            return seen.mean.repeat(len(data), 1, 1)
        if config.start == "noise":  # one draw for all tasks: the released code runs each with the same seed
            draw = torch.randn(1, 1, subspace.dim, generator=torch.Generator().manual_seed(seed)) * NOISE
            return draw.to(seen.codes).repeat(len(data), 1, 1)
        with self.reporter.bar(f"best seen codes, {subspace.kind} subspace"):
            count = min(config.starts, len(names))  # as many for a seen task, whose own code is none, as for an unseen one
            own = choose_starts(self.backbone, subspace.decode, self.ranks.share(data), seen, seed, count)
        return self.ranks.gather_rows(own)

    def vectors(
        self, subspace: Subspace, data: Sequence[TaskData], start: Tensor, config: IstConfig, run: Run, stage: str
    ) -> Tensor:  # fmt: skip
        """Return the tuned intrinsic vectors [T, d], each rank tuning its share."""
        kept = run.checkpoint(self.ranks.name(stage), config.checkpoint_seconds)
        share, own = self.ranks.share(data), start[self.ranks.share(range(len(data)))]
        with self.reporter.bar(f"tuning {stage}") as progress:
            found, _ = tune_vectors(self.backbone, subspace, share, config, self.seed, kept, progress, own)
        return self.ranks.gather_rows(found)

    def mixtures(self, dim: int, data: Sequence[TaskData], config: IstConfig, run: Run, seed: int | None = None) -> Tensor:
        """Return each task's weights [T, S] of the seen tasks' prompts, `dim` numbers tuned, each rank tuning its share; seed: as above."""
        names, share, stage = self.split.seen, self.ranks.share(data), "ist-mixture" + ("" if seed is None else f"-{seed}")
        bank, kept = self.prompts(names, SAME_DATA_SEED), run.checkpoint(self.ranks.name(stage), config.checkpoint_seconds)
        with self.reporter.bar("tuning mixtures of seen prompts") as progress:
            found = mix(self.backbone, bank, names, dim, share, config, self.seed if seed is None else seed, kept, progress)
        return self.ranks.gather_rows(found)

    def joint(self, run: Run, stage: str, config: MsfConfig) -> Checkpoint:
        """Return the checkpoint of a stage that all ranks do together: the first one's."""
        return run.checkpoint(stage, config.checkpoint_seconds) if self.ranks.first else Checkpoint.none()

    def _put_given(self, bank: PromptBank, names: Sequence[str]) -> None:
        """Put prompts that were tuned elsewhere into the bank; raise ValueError where a run opened again has lost them."""
        for task in bank.missing(self.of([name for name in self.given.names if name in names])):
            if task.name not in self.given.prompts:
                raise ValueError(f"{bank.folder} has lost the prompt of {task.name}, which came from a PEFT folder; run `ipt msf` again")
            bank.put(task, TunedPrompt(self.given.prompts[task.name], 0.0, float("nan"), 0))

    def score(self, what: str, prompts: Tensor, data: Sequence[TaskData], rank: bool = True) -> Scores:
        """Return each task's test scores, generated and (cls, where asked for) ranked."""
        with self.reporter.bar(f"scoring {what}") as progress:
            own, at = self.ranks.share(data), self.ranks.share(range(len(data)))
            done = lambda done, total: progress(done, total, float("nan"))
            scores = self.ranks.gather(score_prompts(self.backbone, prompts[at], own, rank=rank, progress=done))
        return {d.task.name: s.rounded() for d, s in zip(data, scores, strict=True)}

    def reference(self, names: Sequence[str], data_seed: int) -> Scores:
        """Return prompt tuning's test scores, kept beside the bank's prompts."""
        bank = self.bank(data_seed)
        kept = self.ranks.once(lambda: bank.scores("reference", self.of(names), self.scored))
        todo = [name for name in names if name not in kept]
        if todo:
            new = self.score(f"prompt tuning, data seed {data_seed}", self.prompts(todo, data_seed), self.data(todo, data_seed))
            self.ranks.once(lambda: bank.put_scores("reference", self.of(todo), self.scored, new))
            kept |= new
        return {name: kept[name] for name in names}

    def floors(self, names: Sequence[str]) -> Scores:
        """Return what doing nothing scores: chance, the empty prompt, the shared untrained start."""
        bank = self.bank(SAME_DATA_SEED)
        kept = self.ranks.once(lambda: bank.scores("floor", self.of(names), self.scored))
        todo = [name for name in names if name not in kept]
        if todo:
            data = self.data(todo, SAME_DATA_SEED)
            empty = self.score("the empty prompt", self.start.new_zeros(len(data), 0, self.start.shape[1]), data, rank=False)
            start = self.score("the untrained start", self.start.expand(len(data), -1, -1), data, rank=False)
            new: Scores = {}
            for d in data:
                name = d.task.name
                new[name] = {"chance": chance(d), "empty": empty[name]["generated"], "start": start[name]["generated"]}
            self.ranks.once(lambda: bank.put_scores("floor", self.of(todo), self.scored, new))
            kept |= new
        return {name: kept[name] for name in names}

    def describe(self) -> dict[str, Any]:
        """Return what every result records of its tasks and split."""
        names = ("category", "subcategory", "metric", "novel", "knowledge", "digest")
        tasks = {name: {field: getattr(self.tasks[name], field) for field in names} for name in self.split.all}
        parts = {part: list(getattr(self.split, part)) for part in ("seen", "unseen", "out_of_kind", "new_subcategories")}
        return {"tasks": tasks, "split": {"name": self.split.name} | parts}


def run_msf(bench: Bench, config: MsfConfig, run: Run) -> dict[str, Any]:
    """Tune missing prompts, find the subspace, score its reconstructions and the controls, and finish the run folder."""
    split, backbone = bench.split, bench.backbone
    seen, unseen = list(split.seen), [*split.unseen, *split.out_of_kind]
    bank = bench.prompts([*seen, *unseen], SAME_DATA_SEED)
    data = bench.data(seen, SAME_DATA_SEED)
    if config.dim >= len(seen):
        bench.reporter.say(f"note: {config.dim} dimensions for {len(seen)} seen tasks do not compress the training prompts")
    with bench.reporter.bar("finding the subspace") as progress:
        kept = bench.joint(run, "msf", config)
        subspace = find_subspace(backbone, bank[: len(seen)], data, config, split.name, bench.seed, kept, progress, bench.ranks)
    with bench.reporter.bar("control: one shared prompt") as progress:
        rate = bench.tune.learning_rates[0]
        kept = bench.joint(run, "shared", config)
        shared = find_shared_prompt(backbone, bench.start, data, config, rate, bench.seed, kept, progress, bench.ranks)
    everything = bench.data([*seen, *unseen], SAME_DATA_SEED)
    rebuilt = subspace.decode(subspace.encode(bank))
    through = bench.score("reconstructed prompts", rebuilt, everything)
    rest = everything[len(seen) :]
    mean = subspace.decode(subspace.encode(bank[: len(seen)]).mean(0, keepdim=True)).expand(len(rest), -1, -1)
    scores = {
        "train_msf": {name: through[name] for name in seen},
        "test_msf": {name: through[name] for name in unseen},
        "mean_code": bench.score("the mean code", mean, rest),
        "shared": bench.score("the shared prompt", shared.expand(len(rest), -1, -1), rest),
    }
    reference, floors = bench.reference([*seen, *unseen], SAME_DATA_SEED), bench.floors([*seen, *unseen])
    subspace.scores = card_scores({name: scores[name] for name in ("train_msf", "test_msf") if scores[name]}, reference)
    result = bench.describe() | {
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

    bench.ranks.once(write)
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


def run_ist(bench: Bench, subspace: Subspace, config: IstConfig, run: Run, parts: Mapping[str, str] = IST_PARTS) -> dict[str, Any]:
    """Tune d numbers per task in each of the parts that the run lacks, settings and rivals, score them, and finish the run folder."""
    split, backbone = bench.split, bench.backbone
    known, todo = bench.ranks.once(lambda: (run.result, run.lacking(parts)))
    seen, unseen = list(split.seen), [*split.unseen, *split.out_of_kind]
    every = {"same": ("train_same", seen, SAME_DATA_SEED), "diff": ("train_diff", seen, DIFF_DATA_SEED)}
    every["unseen"] = ("test", unseen, SAME_DATA_SEED)
    settings = {name: (names, data_seed) for part, (name, names, data_seed) in every.items() if part in todo}
    data = [d for names, data_seed in settings.values() for d in bench.data(names, data_seed)]
    if settings:
        start = bench.starts(config, subspace, data)
        vectors = bench.vectors(subspace, data, start, config, run, "-".join(["ist", *settings]))
    tensors, scores, at = {}, {}, 0
    for setting, (names, _) in settings.items():
        part = slice(at, at + len(names))
        tensors[setting], at = vectors[part].contiguous(), at + len(names)
        scores[setting] = bench.score(f"IST, {setting}", subspace.decode(tensors[setting]), data[part])
    bank = bench.prompts(seen, SAME_DATA_SEED)
    named = {"backbone": backbone.name, "split": split.name}
    rivals = {
        "random": Subspace.random(bank, subspace.dim, bench.seed, **named),
        "pca": Subspace.pca(bank, subspace.dim, seed=bench.seed, **named),
    }
    rest = bench.data(unseen, SAME_DATA_SEED)
    if "mixture" in todo:
        tensors["mixture"] = bench.mixtures(subspace.dim, rest, config, run)
        scores["mixture_test"] = bench.score("mixtures of seen prompts", mixed(tensors["mixture"], bank), rest)
    if config.start == "seen" and "unseen" in todo:
        scores["best_code"] = bench.score("the best seen code", subspace.decode(start[len(data) - len(rest) :, 0]), rest)
    for kind, rival in rivals.items():
        if kind not in todo:
            continue
        rival.to(backbone.device)
        begin = bench.starts(config, rival, rest)
        found = bench.vectors(rival, rest, begin, config, run, f"ist-{kind}")
        scores[f"{kind}_test"] = bench.score(f"IST in the {kind} subspace", rival.decode(found), rest)
    references = {str(SAME_DATA_SEED): bench.reference([*seen, *unseen], SAME_DATA_SEED)}
    if "diff" in todo:
        references[str(DIFF_DATA_SEED)] = bench.reference(seen, DIFF_DATA_SEED)
    before = known or {"reference": {}, "scores": {}}
    result = bench.describe() | {
        "kind": "ist",
        "dim": subspace.dim,
        "pca_dim": rivals["pca"].dim,
        "compresses": subspace.dim < len(seen),
        "reference": before["reference"] | references,
        "floor": bench.floors([*seen, *unseen]),
        "scores": before["scores"] | scores,
    }

    def write() -> None:
        path = run.folder / "vectors.safetensors"
        write_tensors(path, (read_tensors(path)[0] if known else {}) | tensors)
        run.finish(result)

    bench.ranks.once(write)
    return result

"""One task's prompt out of a run, and answers with it.

A run of `ipt msf` has the tuned prompts of its tasks; a run of `ipt ist` has their d numbers, which the subspace decodes, and for unseen
tasks the weights of a mixture of seen prompts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ipt.data import SAME_DATA_SEED
from ipt.experiment import Experiment
from ipt.methods.subspace import Subspace
from ipt.run import Run
from ipt.storage import read_tensors
from ipt.training.source import mix_deltas


@dataclass(frozen=True)
class TaskPrompt:
    """A prompt [n, h] and where it comes from: run, task, scores; `vector` are the d numbers it was decoded from, `weights` a mixture's."""

    prompt: Tensor
    about: dict[str, Any]


@torch.no_grad()
def task_prompt(run: Run, experiment: Experiment, name: str, mixture: bool = False) -> TaskPrompt:
    """Return the prompt of a task of a complete run, or its mixture; raise ValueError where the run does not have it."""
    result = run.result
    if result is None:
        raise ValueError(f"{run.folder} is not complete; run its command again to finish it")
    parts = run.config["parts"]
    rest = [*parts["unseen"], *parts["out_of_kind"]]
    if name not in (*parts["seen"], *rest):
        raise ValueError(f"{run.folder} has no task {name!r}; it has {', '.join([*parts['seen'], *rest][:8])}, ...")
    about = {"run": run.folder.name, "task": name, "split": experiment.split.name, "seed": experiment.seed, "data_seed": SAME_DATA_SEED}
    about |= {"metric": experiment.tasks[name].metric, "backbone": experiment.backbone.name, "fingerprint": experiment.backbone.fingerprint}
    if mixture and (result["kind"] != "ist" or name not in rest):
        raise ValueError(f"--mixture: runs of ipt ist have mixtures, of their unseen tasks ({', '.join(rest[:4])}, ...)")
    if result["kind"] == "msf":
        return TaskPrompt(experiment.prompts([name], SAME_DATA_SEED)[0], about | {"test_score": result["reference"]["100"][name]["generated"]})
    setting = "mixture" if mixture else "train_same" if name in parts["seen"] else "test"
    names = parts["seen"] if name in parts["seen"] else rest
    vectors = read_tensors(run.folder / "vectors.safetensors")[0]
    if setting not in vectors:
        raise ValueError(f"{run.folder} has no numbers for {name}: its command again, without --part, adds them")
    vector = vectors[setting][names.index(name)].to(experiment.backbone.device)
    if mixture:
        weights = {seen: weight for seen, weight in zip(parts["seen"], vector.tolist(), strict=True) if weight}
        about |= {"weights": weights, "setting": setting, "test_score": result["scores"]["mixture_test"][name]["generated"]}
        return TaskPrompt(mix_deltas(vector[None], experiment.prompts(parts["seen"], SAME_DATA_SEED))[0], about)
    subspace = Subspace.load(run.folder.parent / run.config["msf_run"] / "subspace").to(experiment.backbone.device)
    about |= {"vector": vector.tolist(), "subspace": run.config["msf_run"], "setting": setting}
    return TaskPrompt(subspace.decode(vector[None])[0], about | {"test_score": result["scores"][setting][name]["generated"]})


@torch.no_grad()
def answers(prompt: Tensor, experiment: Experiment, name: str, texts: Sequence[str], tokens: int) -> list[str]:
    """Return an answer per text: generated, or with a masked model the likeliest of the task's options."""
    backbone = experiment.backbone
    rows = backbone.encode(texts, [""] * len(texts))
    options = experiment.tasks[name].options or ()
    choices = backbone.encode(options, options)
    found = [""] * len(rows)

    def answer(picked: list[int]) -> None:
        lead, chosen = prompt.expand(len(picked), *prompt.shape), [rows[i] for i in picked]
        if backbone.generates:
            written = backbone.generate(lead, chosen, tokens)
        else:
            written = [options[option] for option in backbone.rank(lead, chosen, choices)]
        for i, text in zip(picked, written, strict=True):
            found[i] = text

    backbone.in_batches(rows, len(prompt) + tokens, 4 * backbone.token_budget, answer)
    return found


def record_of(line: str, number: int) -> str | dict[str, Any]:
    """Return a line of standard input as it is, or read where it is a JSON object."""
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"standard input, line {number}: not valid JSON ({error.msg})") from error
    if not isinstance(record.get("input"), str):
        raise ValueError(f"standard input, line {number}: field 'input' must be a text, found {record.get('input')!r:.40}")
    return dict(record)

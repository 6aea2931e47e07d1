"""The commands from end to end in a toy world: runs, resumes, tables, and one clear error for each mistake."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from threading import Thread

import pytest
import torch
from conftest import QUICK, ist_words, msf_words, source, toy_task
from filelock import FileLock
from small_runs import job_lines

import ipt
from ipt.checkpoint import stream_of
from ipt.cli import app as cli
from ipt.provenance import to_argv
from ipt.results import flags_of_parts
from ipt.run import Run
from ipt.storage import read_json, read_tensors
from ipt.tasks.catalog import select_tasks


def results(out):
    found = [Run(path.parent).result for path in sorted(out.glob("*/result.json"))]
    return {r["kind"]: r for r in found}


def test_both_commands_leave_complete_runs(done, capsys):
    found = results(done)
    assert set(found["msf"]["scores"]) == {"train_msf", "test_msf", "mean_code", "shared"}
    assert set(found["ist"]["scores"]) == {
        "train_same",
        "train_diff",
        "test",
        "best_code",
        "best_seen",
        "nearest_seen",
        "start_test",
        "random_test",
        "pca_test",
        "mixture_test",
        "choice_test",
    }
    assert (
        len(found["ist"]["scores"]["train_diff"]) == 3 and len(found["ist"]["scores"]["test"]) == 2
    )
    assert cli.main(["runs", "--out", str(done)]) == 0
    name = next(done.glob("ist-*")).name
    shown = capsys.readouterr().out
    assert name in shown and "unfinished" not in shown
    assert (
        cli.main(["runs", "--out", str(done / "nowhere")]) == 0
        and "no runs in" in capsys.readouterr().out
    )
    assert cli.main(["runs", "show", name, "--out", str(done)]) == 0
    shown = capsys.readouterr().out
    assert "numbers, unseen tasks" in shown and "T_test" not in shown
    assert cli.main(["runs", "show", name, "--by", "all", "--out", str(done)]) == 0
    shown = capsys.readouterr().out
    assert "T_test (IST)" in shown and "IST, random subspace" in shown and "E_rel" in shown
    assert cli.main(["runs", "figure", "--out", str(done)]) == 0
    assert (done / "recovery.png").read_bytes()[:4] == b"\x89PNG"


def test_parts_done_one_after_another_are_the_run_done_at_once(done, tmp_path, capsys):
    out = Path(shutil.copytree(done, tmp_path / "runs"))
    whole = next(out.glob("ist-*"))
    shutil.rmtree(whole)
    for parts, scored in [
        (["pca"], {"pca_test"}),
        (["unseen", "pca"], {"pca_test", "test", "best_code"}),
    ]:
        assert cli.main(ist_words(out, *to_argv(flags_of_parts(parts)))) == 0
        assert results(out)["ist"]["scores"].keys() == scored
        assert (" numbers a task (IST): " in capsys.readouterr().err) == (
            "unseen" in parts
        )  # no bar of what is not done
    first = (whole / "metrics-ist-pca.jsonl").stat().st_mtime_ns
    assert cli.main(ist_words(out)) == 0  # the rest
    assert (
        results(out)["ist"] == results(done)["ist"]
        and (whole / "metrics-ist-pca.jsonl").stat().st_mtime_ns == first
    )
    ours, all_at_once = (
        read_tensors(next(folder.glob("ist-*")) / "vectors.safetensors")[0]
        for folder in (out, done)
    )
    assert ours.keys() == all_at_once.keys() == {"train_same", "train_diff", "test", "mixture"}
    for name, vectors in ours.items():
        torch.testing.assert_close(vectors, all_at_once[name])
    before = (whole / "result.json").stat().st_mtime_ns
    assert (
        cli.main(ist_words(out, "--on", "unseen")) == 0
    )  # control: nothing is lacking, nothing is done
    assert (whole / "result.json").stat().st_mtime_ns == before


def next_lines(text):
    lines = [line for line in text.splitlines() if line.startswith("next: ")]
    return [shlex.split(line.removeprefix("next: ipt ")) for line in lines]


def test_the_next_command_is_of_this_run_and_the_last_ones_work(
    world, done, tmp_path, capsys, monkeypatch
):
    out = Path(shutil.copytree(done, tmp_path / "my runs"))
    words = msf_words(world, out, "--run", "mine", "--preset", "quick", "--recipe", "paper")
    assert cli.main(words) == 0
    (words,) = next_lines(capsys.readouterr().out)
    # Other runs of this d are there: without --run it would be asked which one.
    found = cli.parse(words)
    assert words[0] == "ist" and found["recipe"] == "paper"
    choice = found["choice"]
    assert (choice.run, choice.dim, choice.limit, choice.preset) == ("mine", 2, 6, "quick")
    assert choice.out == out and choice.device == "auto"
    assert cli.main([*words, "--on", "unseen"]) == 0
    report, predict = next_lines(capsys.readouterr().out)
    run = max(out.glob("ist-*"), key=os.path.getmtime)
    assert Run(run).config["msf_run"] == "mine"
    assert report == ["report", run.name, "--out", str(out)]
    assert cli.main(predict) == 0 and predict[:2] == ["predict", "TEXT"]
    # Control: where no unseen task was tuned, there is nothing to answer with.
    assert cli.main([*words, "--against", "pca", "--steps", "3"]) == 0
    assert [line[0] for line in next_lines(capsys.readouterr().out)] == ["report"]


def test_another_dim_reuses_the_prompts(world, done, capsys):
    assert cli.main(msf_words(world, done, "--dim", "1", "--run", "thin")) == 0
    assert "prompt tuning" not in capsys.readouterr().err


def test_same_seed_same_files(world, done, tmp_path):
    assert cli.main(msf_words(world, tmp_path)) == 0
    (first,), (again,) = done.glob("msf-*"), tmp_path.glob("msf-*")
    for name in (
        "result.json",
        "subspace/model.safetensors",
        "codes.safetensors",
    ):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    lines = [job_lines(folder / "metrics-msf.jsonl") for folder in (first, again)]
    assert lines[0] and lines[0] == lines[1]
    other = tmp_path / "other"
    assert cli.main(msf_words(world, other, "--seed", "1")) == 0  # control: the seed matters
    assert (next(other.glob("msf-*")) / "codes.safetensors").read_bytes() != (
        first / "codes.safetensors"
    ).read_bytes()


def test_sigkill_and_resume_give_the_uninterrupted_result(world, tmp_path):
    slow = [
        "--steps",
        "60",
        "--tune.steps",
        "60",
        "--tune.patience",
        "99",
        "--tune.checkpoint-seconds",
        "0",
        "--checkpoint-seconds",
        "0",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert cli.main(msf_words(world, whole, *slow)) == 0
    words = [sys.executable, "-m", "ipt", *msf_words(world, broken, *slow)]
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": ""},
    )
    waited = 0.0
    while (
        not list(broken.glob("bank/*/checkpoint-*.safetensors"))
        and process.poll() is None
        and waited < 60
    ):
        time.sleep(0.05)
        waited += 0.05
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(broken.glob("bank/*/checkpoint-*.safetensors")), (
        "was not killed in the middle of prompt tuning"
    )
    assert not list(broken.glob("*/result.json"))
    assert cli.main(msf_words(world, broken, *slow)) == 0
    assert results(broken) == results(whole)
    kept = [
        *whole.glob("bank/*/*.safetensors"),
        *whole.glob("msf-*/*.safetensors"),
        *whole.glob("msf-*/subspace/*.safetensors"),
    ]
    assert len(kept) == 5 + 1 + 1  # prompts, codes and subspace
    for path in kept:
        tensors, again = (
            read_tensors(folder / path.relative_to(whole))[0] for folder in (whole, broken)
        )
        assert tensors.keys() == again.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(again[name], tensor, rtol=0, atol=1e-5)
    for path in [*whole.glob("bank/*/metrics-*.jsonl"), *whole.glob("msf-*/metrics-*.jsonl")]:
        steps = [
            [line["step"] for line in job_lines(folder / path.relative_to(whole))]
            for folder in (whole, broken)
        ]
        assert steps[0] == steps[1]  # no line is missing or there twice
        streams = [stream_of(folder / path.relative_to(whole)) for folder in (whole, broken)]
        stream = [line["step"] for line in streams[1]]
        assert stream == sorted(set(stream))
        assert stream[-1] == streams[0][-1]["step"]  # as far as without a break


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["msf", "--tasks", "random-10O"], "random-100"),
        (["msf", "--model", "nobody/nowhere"], "hf download nobody/nowhere --local-dir FOLDER"),
        (["msf", "--model", "no where"], "--model must be 'mini', a folder or a hub id"),
        (["msf", "--device", "nothing"], "--device must be auto, cpu"),
        (["msf", "--dim", "0"], "--dim must be above 0"),
        (["msf", "--dim", "99999999"], "--dim must be below"),
        (["msf", "--alpha", "-1"], "--alpha must not be negative"),
        (["msf", "--tuner", "soft-prompt:prompt_length=0"], "prompt_length must be above 0"),
        (["msf", "--steps", "none"], "--steps"),
        (["msf", "--nonsense"], "--nonsense"),
        (["ist", "--dim", "7"], "ipt msf --tasks random-100 --dim 7"),
        (["ist", "--dim", "-3"], "--dim must be above 0"),
        (["runs", "show", "nothing"], "is no run folder"),
        (["tasks", "show", "rel_capitol"], "rel_capital"),
        (["msf", "--config", "settings.txt"], "--config must be"),
        (["msf", "--preset", "slow"], "--preset"),
        (["bench", "--jobs-grown", "0"], "--jobs-grown"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_mistakes_in_task_files_name_file_and_line(world, tmp_path, capsys):
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "empty.json").write_text("")
    (folder / "broken.json").write_text('{"name": "x",\n "category" "cls"}')
    record = toy_task("early").to_dict()
    record["examples"][3]["output"] = ["perhaps"]
    (folder / "label.json").write_text(json.dumps(record))
    assert cli.main(["tasks", "check", str(folder)]) == 2
    shown = capsys.readouterr().out
    assert (
        "empty.json" in shown
        and "broken.json" in shown
        and "line 2" in shown
        and "perhaps" in shown
    )
    assert cli.main(["tasks", "check", str(world / "tasks")]) == 0
    assert (
        cli.main(["msf", "--tasks", str(folder), "--seen", "1", "--out", str(tmp_path / "o")]) == 2
    )
    assert cli.main(["msf", "--tasks", str(world / "tasks"), "--out", str(tmp_path / "o")]) == 2
    assert "--seen" in capsys.readouterr().err


def test_too_few_rows_are_a_note_and_what_is_one_is_said_as_one(world, tmp_path, capsys):
    (tmp_path / "few.tsv").write_text("input\toutput\na\tb\n")
    assert cli.main(["tasks", "check", str(tmp_path / "few.tsv")]) == 0
    note, last = capsys.readouterr().out.splitlines()
    assert note.startswith("note: task few: data seed 100 needs 16 train and 16 dev rows")
    assert last == f"{tmp_path / 'few.tsv'}: one task, no problem"
    assert cli.main(["tasks", "check", str(world / "tasks")]) == 0  # control: enough rows
    assert capsys.readouterr().out == f"{world / 'tasks'}: 5 tasks, no problem\n"
    record = toy_task("early").to_dict() | {"category": "foo", "metric": "bar"}
    (tmp_path / "two.json").write_text(json.dumps(record))
    assert cli.main(["tasks", "check", str(tmp_path / "two.json")]) == 2
    assert "ipt: 2 problems in" in capsys.readouterr().err
    (tmp_path / "two.json").write_text(json.dumps(record | {"metric": "accuracy"}))
    assert cli.main(["tasks", "check", str(tmp_path / "two.json")]) == 2
    assert "ipt: one problem in" in capsys.readouterr().err


def test_too_many_shots_is_an_error_with_the_counts(world, tmp_path, capsys):
    assert cli.main(msf_words(world, tmp_path, "--tune.shots", "500")) == 2
    assert "--shots" in capsys.readouterr().err


def test_ist_asks_where_runs_differ_and_takes_the_newest_of_equals(world, done, tmp_path, capsys):
    assert cli.main(msf_words(world, tmp_path)) == 0
    assert cli.main(ist_words(tmp_path, "--dry-run")) == 0
    assert "using the newest" in capsys.readouterr().err
    assert cli.main(msf_words(world, tmp_path, "--alpha", "7")) == 0
    capsys.readouterr()
    assert cli.main(ist_words(tmp_path, "--dry-run")) == 2
    assert "--run NAME" in capsys.readouterr().err


def test_corrupt_and_foreign_folders_are_named(world, done, tmp_path, capsys):
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "notes.json").write_text("{}")
    assert cli.main(msf_words(world, tmp_path, "--run", "mine")) == 2
    assert "not a run folder" in capsys.readouterr().err
    (foreign / "config.json").write_text("{broken")
    assert cli.main(msf_words(world, tmp_path, "--run", "mine")) == 2
    assert "not a readable JSON file" in capsys.readouterr().err
    assert (foreign / "notes.json").read_text() == "{}"
    (foreign / "config.json").write_text('{"config": {"model": "x"}}')
    assert (
        cli.main(["runs", "--out", str(tmp_path)]) == 0
        and "not readable" in capsys.readouterr().out
    )
    assert cli.main(["runs", "show", "mine", "--out", str(tmp_path)]) == 2
    assert "is no run of ipt msf or ipt ist" in capsys.readouterr().err
    run = next(done.glob("msf-*"))
    kept = (run / "config.json").read_bytes()
    assert cli.main(msf_words(world, done, "--run", run.name, "--alpha", "3")) == 2
    assert (
        f"{run} holds a run with other settings (see {run / 'config.json'}); choose another"
        in capsys.readouterr().err
    )
    assert (run / "config.json").read_bytes() == kept
    assert cli.main(msf_words(world, done, "--run", run.name)) == 0  # control: its own settings


def test_a_run_of_another_version_is_told(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path / "old")
    path = next((tmp_path / "old").glob("msf-*")) / "config.json"
    record = read_json(path)
    del record["config"]["dtype"]
    path.write_text(json.dumps(record))
    assert cli.main(["ist", "--dim", "2", "--out", str(tmp_path / "old")]) == 2
    assert (
        "made by another version of ipt: its settings do not name dtype; run `ipt msf` again"
        in capsys.readouterr().err
    )


def test_a_second_process_is_turned_away(world, done, capsys):
    run = Run(next(done.glob("msf-*")))
    with run.locked():
        assert cli.main(msf_words(world, done)) == 2
    assert "another process" in capsys.readouterr().err


def test_prompts_that_another_process_tunes_are_waited_for(world, done, tmp_path, capsys):
    (bank,) = (
        path
        for path in (done / "bank").iterdir()
        if json.loads((path / "setting.json").read_text())["data_seed"] == 100
    )
    (ours := tmp_path / "bank" / bank.name).mkdir(parents=True)
    ended = []
    command = Thread(target=lambda: ended.append(cli.main(msf_words(world, tmp_path))), daemon=True)
    with FileLock(ours / ".lock"):  # the other process
        command.start()
        said = ""
        for _ in range(600):
            said += capsys.readouterr().err
            if "waiting for it" in said:
                break
            time.sleep(0.1)
        assert f"another process is tuning prompts in {ours}" in said and not ended
        for prompt in bank.glob("*.safetensors"):
            if prompt.stem != "first":
                shutil.copy(prompt, ours)
    command.join(120)
    assert (
        ended == [0]
        and "tuning 1 deltas, data seed 100 (4 are in the bank)" in capsys.readouterr().err
    )


def test_a_reader_that_leaves_ends_the_command_without_a_word(monkeypatch, capfd):
    def left(*args, **kwargs):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "app", left)
    monkeypatch.setattr(cli.os, "dup2", lambda *files: None)  # the tests' own output stays
    assert cli.main(["runs"]) == 141
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("files", [0, 4])
def test_a_full_disk_ends_with_one_message_and_whole_files(
    world, done, tmp_path, capsys, monkeypatch, files
):
    """The disk fills up in the middle of a file, after so many whole ones; when there is room again the command goes on."""
    out, written, write = Path(shutil.copytree(done, tmp_path / "runs")), [], Path.write_bytes

    def full(path, content):
        written.append(path)
        if len(written) <= files:
            return write(path, content)
        write(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device", str(path))

    before = {path: path.read_bytes() for path in out.glob("*/*.json")}
    monkeypatch.setattr(Path, "write_bytes", full)
    words = msf_words(world, out, "--alpha", "3", "--run", "later")
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert "No space left" in error and "Traceback" not in error and len(written) == files + 1
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp") and path.is_file()]
    for path in (out / "later").rglob("*.json"):
        json.loads(path.read_text())
    for path in (out / "later").rglob("*.safetensors"):
        read_tensors(path)
    assert not (out / "later" / "result.json").exists()
    monkeypatch.setattr(Path, "write_bytes", write)
    assert cli.main(words) == 0 and Run(out / "later").result["scores"]


def test_too_little_space_is_found_before_any_work(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ipt.estimate.free_bytes", lambda folder: 100)
    assert cli.main(msf_words(world, tmp_path)) == 2
    assert "MB free; make room" in capsys.readouterr().err
    assert not list(tmp_path.glob("msf-*")) and not list(tmp_path.glob("prompts/*"))


def test_quality_of_tuned_prompts_and_of_definitions_is_summed_up(world, done, monkeypatch, capsys):
    tuned = {
        flag.replace("--tune.", "--"): value
        for flag, value in QUICK.items()
        if flag.startswith("--tune.")
    }
    tuned["--tuner"] = QUICK["--tuner"]
    runs = {
        "tune": source(world) | tuned | {"--out": done, "--file": done / "t.json"},
        "score": {k: v for k, v in source(world).items() if k not in ("--seen", "--unseen")}
        | {"--file": done / "s.json"},
    }
    for verb, flags in runs.items():
        monkeypatch.setattr(
            "sys.argv", ["ipt", verb, *(str(word) for pair in flags.items() for word in pair)]
        )
        assert cli.main() == 0
    reference = results(done)["msf"]["reference"]["100"]
    mean = sum(s["generated"] for s in reference.values()) / len(reference)
    tune, score = (json.loads((done / name).read_text()) for name in ("t.json", "s.json"))
    assert (
        tune["rows"][0]["dev_loss"] > 0 and score["rows"][0]["dev_loss"] is None
    )  # only prompts that were tuned have one
    twice = [str(word) for pair in (runs["tune"] | {"--more-seeds": 43}).items() for word in pair]
    assert cli.main(["tune", *twice]) == 0
    shown = capsys.readouterr()
    assert (
        "tuning 5 deltas" in shown.err and "(5 are in the bank)" in shown.err
    )  # those of seed 42 are
    assert len(set(re.findall(r"prompts: (\S+)", shown.out[-400:]))) == 2 and "…" in shown.out
    figures = [
        (row["prompt"], row["tasks"], row["count"], row["mean_score"]) for row in tune["rows"]
    ]
    assert figures == [
        ("prompt tuning", kind, 5, pytest.approx(mean)) for kind in ("trained", "rule")
    ]
    assert [(row["tasks"], row["count"]) for row in score["rows"]] == [("trained", 5), ("rule", 5)]
    assert score["command"].startswith("ipt score --tasks ")


def test_a_run_leaves_as_a_small_summary(done, capsys):
    (run,) = (path.name for path in done.glob("ist-*"))
    words = ["--out", str(done), "--command", "ipt ist"]
    assert cli.main(["runs", "summary", run, str(done / "small.json"), *words]) == 0
    record = json.loads((done / "small.json").read_text())
    (line,) = (x for x in record["lines"] if (x["setting"], x["group"]) == ("test", "all"))
    scores = [s["generated"] for s in results(done)["ist"]["scores"]["test"].values()]
    assert (
        line["absolute"] == pytest.approx(sum(scores) / len(scores), abs=1e-5)
        and record["seed"] == 42
    )
    (msf,) = (path.name for path in done.glob("msf-*"))
    assert cli.main(["runs", "summary", msf, str(done / "none.json"), *words]) == 2
    assert "name runs of ipt ist" in capsys.readouterr().err and not (done / "none.json").exists()


def test_config_file_comes_before_the_preset_and_after_flags(world, tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"dim": 3, "alpha": 0.5, "tune": {"steps": 5}}))
    out = tmp_path / "out"
    words = [w for w in msf_words(world, out, "--config", str(path), "--preset", "quick")]
    del words[words.index("--tune.steps") : words.index("--tune.steps") + 2]
    assert cli.main(words) == 0
    settings = Run(next(out.glob("msf-*"))).config
    assert (
        settings["msf"]["dim"] == 2
        and settings["msf"]["alpha"] == 0.5
        and settings["tune"]["steps"] == 5
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ist", "--rivals", "halve"], "--rivals is called --pruning now"),
        (["tune", "--rivals=all"], "--rivals is called --pruning now"),
        (["msf", "--tune.rivals", "all"], "--tune.rivals is called --tune.pruning now"),
        (["bench", "--race", "msf-1"], "--race is called --search-cost now"),
        (["bench", "--race-tasks", "3"], "--race-tasks is called --search-cost-tasks now"),
        (["msf", "--config", "old.toml"], "[tune][rivals] is called --tune.pruning now"),
        (["study", "old.json"], "--rivals is called --pruning now"),
    ],
)
def test_an_old_flag_ends_with_the_name_of_the_new_one(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.toml").write_text('tune.rivals = "halve"')
    cells = [{"name": "a", "ist": {"rivals": "all"}}]
    (tmp_path / "old.json").write_text(json.dumps({"cells": cells}))
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"ipt: {says}\n"
    assert not (tmp_path / "runs").exists()


def test_files_come_in_order_before_the_flags(tmp_path):
    """Default < preset < recipe < --config file < flag."""
    path = tmp_path / "settings.toml"
    path.write_text('alpha = 0.5\nlearning_rate = 0.25\ntasks = "random-20"\n[tune]\nsteps = 5\n')
    words = ["msf", "--preset", "quick", "--recipe", "paper", "--config", str(path)]
    found = cli.parse([*words, "--learning-rate", "0.125"])
    msf, tune, work = found["config"], found["tune"], found["work"]
    assert (msf.dim, msf.steps, msf.clip) == (5, 260, 0.1)  # default, preset, recipe
    assert (msf.alpha, msf.learning_rate) == (0.5, 0.125)  # file before recipe, flag before file
    assert (tune.steps, tune.rows_per_step, tune.rates_tried) == (5, 2, 1)
    assert work.tasks == "random-20"  # a setting that has the name of a verb
    assert cli.parse(["ist", "--recipe", "paper", "--preset", "quick"])["config"].steps == 40
    assert cli.parse(["ist", "--recipe", "paper"])["config"].learning_rates == (0.5, 2.0)


def test_a_file_may_name_recipe_and_preset(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("recipe: paper\npreset: quick\ntune.shots: 4\nas_published: true\n")
    found = cli.parse(["msf", "--config", str(path)])
    assert (found["recipe"], found["config"].loss, found["config"].steps) == ("paper", "sum", 260)
    assert found["tune"].shots == 4 and found["work"].as_published


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "--config a.json cannot be read"),
        ("a.json", "[1]", "--config a.json must hold settings by name, found a list"),
        ("a.toml", "nonsense = 1", '"[nonsense]" from a.toml'),
        ("a.toml", "tune.nonsense = 1", '"[tune][nonsense]" from a.toml'),
        ("a.yaml", "steps: many", "steps"),
    ],
)
def test_a_mistake_in_a_settings_file_names_the_file(
    name, text, says, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    assert cli.main(["msf", "--config", name]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "Traceback" not in error


HEAVY = "import sys; from ipt.cli.app import main; main({words}); print(sorted({{'torch', 'transformers', 'datasets'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    ("words", "loaded"), [(["--help"], "[]"), (["runs"], "[]"), (["runs", "show", "x"], "[]")]
)
def test_help_and_lists_load_no_model_library(words, loaded, tmp_path):
    made = subprocess.run(
        [sys.executable, "-c", HEAVY.format(words=words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.splitlines()[-1] == loaded


def test_the_version_is_that_of_the_distribution_with_torch_and_the_device(capsys):
    assert cli.main(["--version"]) == 0
    named = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    version = named["project"]["version"]
    device = torch.accelerator.current_accelerator() or "cpu"
    said = f"ipt {version}, torch {torch.__version__}, device {device}\n"
    assert capsys.readouterr().out == said and ipt.__version__ == version


def test_control_the_check_sees_a_loaded_library(tmp_path):
    code = "import ipt.resolve; " + HEAVY.format(words=["runs"])
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "torch" in made.stdout.splitlines()[-1]


def test_a_message_quotes_a_part_of_what_is_far_too_long(tmp_path, capsys):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"[" * 3000: 1}))
    for words in (["msf", "--config", str(path)], ["tune", "--" + "x" * 3000, "1"]):
        assert cli.main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith("ipt: ") and len(said) < 1100 and said.count("\n") == 1
        assert " ... " in said


def test_folds_are_lists_that_tasks_reads(tmp_path, capsys):
    exported, lists = tmp_path / "mine", tmp_path / "deep" / "lists"
    assert cli.main(["tasks", "write", "ari_*", "--to", str(exported)]) == 0
    count = len(list(exported.glob("*.json")))
    words = ["tasks", "folds", str(exported), "--count", "2", "--to", str(lists)]
    assert cli.main(words) == 0
    unseen = []
    for number in (1, 2):
        chosen = select_tasks(str(lists / f"fold-{number}.json"), 0, 0, 0)
        assert len(chosen.split.seen) + len(chosen.split.unseen) == count
        unseen += chosen.split.unseen
    assert len(set(unseen)) == count

    # Tasks that no list can name, and more folds than groups.
    for words in (["superglue/all"], [str(exported), "--count", "999"]):
        capsys.readouterr()
        assert cli.main(["tasks", "folds", *words, "--to", str(lists)]) == 2
        assert capsys.readouterr().err.count("\n") == 1

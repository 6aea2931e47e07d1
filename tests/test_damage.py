"""Files of runs and banks: what was changed, damaged or copied is one line that names it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ist_words, msf_words, page_of, plain
from safetensors.torch import load_file, save_file

from ipt.bank import DeltaBank
from ipt.cli import app as cli
from ipt.data import NAME_PATTERN, Task
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import TunedDelta
from ipt.run import Run
from ipt.storage import (
    HOST,
    SEAL,
    read_json,
    read_tensors,
    remove_drafts,
    write_json,
    write_sealed,
    write_tensors,
)


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    """An MSF run with a name given by hand, and an IST run in its subspace."""
    out = tmp_path_factory.mktemp("made")
    assert cli.main(msf_words(world, out, "--run", "mine")) == 0
    assert cli.main(ist_words(out, "--on", "unseen")) == 0
    return out


@pytest.fixture
def runs(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.fixture
def unseen(made):
    """The name of an unseen task."""
    return Run(next(made.glob("ist-*"))).config["parts"]["unseen"][0]


def last_line(capsys, words):
    """Return what a command that ends with exit code 2 says, in one line."""
    capsys.readouterr()
    assert cli.main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.splitlines()
    mistakes = [line for line in lines if line.startswith("ipt: ")]
    assert mistakes == lines[-1:]
    return mistakes[0]


# JSON


def test_a_sealed_file_is_read_without_its_seal_and_any_changed_digit_is_seen(tmp_path):
    path = tmp_path / "result.json"
    record = {"scores": {"a": 0.25, "é": (1, 2)}, "reference": {100: None, 21: float("inf")}}
    write_sealed(path, record)
    plain_record = json.loads(json.dumps(record))
    assert read_json(path) == plain_record
    text = path.read_text()
    path.write_text(text.replace("0.25", "0.75"))
    with pytest.raises(ValueError, match=f"{path} has changed since it was written; remove the"):
        read_json(path)
    path.write_text(text.replace("\n ", "\n   "))  # control: other spaces are the same record
    assert read_json(path) == plain_record
    write_json(path, plain_record)  # control: files of older versions have no seal
    assert SEAL not in path.read_text() and read_json(path) == plain_record
    assert not NAME_PATTERN.fullmatch(SEAL)  # no task, whose scores stand beside it, has the name


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "[" * 100_000])
@pytest.mark.parametrize("name", ["mine/config.json", "mine/result.json", "bank"])
def test_json_of_another_kind_is_one_line_that_names_it(world, runs, capsys, content, name):
    path = next(runs.glob("bank/*/reference-6.json")) if name == "bank" else runs / name
    path.write_text(content)
    said = last_line(capsys, msf_words(world, runs, "--run", "mine" if name != "bank" else "new"))
    assert f"{path} is not a readable JSON file" in said
    if name == "bank":
        assert said.endswith("remove it and run again: the scores in it are measured again")
        if content == "[]":
            path.unlink()
            assert cli.main(msf_words(world, runs, "--run", "new")) == 0


def change_a_digit(path):
    text = path.read_text()
    place = text.index("0.")
    digit = "1" if text[place + 2] != "1" else "2"
    path.write_text(text[: place + 2] + digit + text[place + 3 :])


@pytest.mark.parametrize("name", ["mine/result.json", "ist-*/result.json"])
def test_another_digit_in_a_result_is_told_by_all_that_read_it(runs, capsys, name, unseen):
    (path,) = runs.glob(name)
    change_a_digit(path)
    ist = next(runs.glob("ist-*")).name
    readers = [["report", ist], ["runs", "show", ist]]
    if name.startswith("ist"):
        readers.append(["predict", "red blue green", "--run", ist, "--task", unseen])
    for words in readers:
        assert f"{path} has changed" in last_line(capsys, [*words, "--out", runs])


def test_the_result_of_another_run_is_told(runs, capsys):
    """It is whole, so that its seal is right."""
    (path,) = runs.glob("ist-*/result.json")
    own = path.read_bytes()
    shutil.copy(runs / "mine" / "result.json", path)
    for words in (["runs", "show", path.parent.name], ["report", path.parent.name]):
        said = last_line(capsys, [*words, "--out", runs])
        assert (
            said == f"ipt: {path} is the result of another run; remove the run folder and run again"
        )
    path.write_bytes(own)
    assert cli.main(["runs", "show", path.parent.name, "--out", str(runs)]) == 0  # control
    other_seed = runs / "other"
    shutil.copytree(path.parent, other_seed)
    config = read_json(other_seed / "config.json")
    config["config"]["seed"] += 1
    write_sealed(other_seed / "config.json", config)
    said = last_line(capsys, ["runs", "show", "other", "--out", runs])
    assert said.startswith(f"ipt: {other_seed / 'result.json'} is the result of another run")
    record = read_json(path)
    record["split"]["seen"] = record["split"]["seen"][::-1]
    write_sealed(path, record)
    assert "is the result of another run" in last_line(capsys, ist_words(runs, "--on", "unseen"))


def test_the_list_of_runs_goes_on_where_a_result_is_a_whole_file_of_another_kind(runs, capsys):
    (path,) = runs.glob("ist-*/result.json")
    write_sealed(path, {"early": {"digest": "0", "scores": {}}})
    capsys.readouterr()
    assert cli.main(["runs", "--out", str(runs)]) == 0
    ist, mine = capsys.readouterr().out.splitlines()[2:4]
    assert path.parent.name in ist and "not readable" in ist
    assert mine.startswith("mine") and "%" in mine  # control


def test_a_delta_that_is_missing_in_the_bank_is_tuned_where_no_gradients_are(runs, capsys, unseen):
    (ist,) = runs.glob("ist-*")
    assert cli.main(ist_words(runs, "--against", "mixture")) == 0
    words = ["predict", "red blue green", "--run", ist.name, "--task", unseen, "--mixture"]
    capsys.readouterr()
    assert cli.main([*words, "--out", str(runs)]) == 0
    answer = capsys.readouterr().out
    seen = Run(ist).config["parts"]["seen"][0]
    (path,) = [
        p
        for p in runs.glob(f"bank/*/{seen}.safetensors")
        if "100" in str(read_json(p.parent / "setting.json"))
    ]
    before, _ = read_tensors(path)
    path.unlink()
    assert cli.main([*words, "--out", str(runs)]) == 0
    assert capsys.readouterr().out == answer
    assert torch.allclose(read_tensors(path)[0]["prompt"], before["prompt"], atol=1e-4)


def test_a_result_without_scores_is_told(runs, capsys):
    (path,) = runs.glob("ist-*/result.json")
    write_json(path, {})
    said = last_line(capsys, ist_words(runs))
    assert f"{path} holds no scores of a run; remove the run folder" in said


# tensors


def flipped(path):
    """Flip the lowest bit of a byte in the middle of the numbers."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[(start + len(content)) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_is_seen_and_files_without_a_sum_are_read(tmp_path):
    path = tmp_path / "t.safetensors"
    tensors = {"a": torch.randn(3, 4), "b": torch.tensor(2), "c": torch.zeros(0, 2).bool()}
    write_tensors(path, tensors, {"digest": "x"})
    assert read_tensors(path)[1] == {"digest": "x"}
    flipped(path)
    with pytest.raises(ValueError, match=f"{path} has changed since it was written; remove it"):
        read_tensors(path)
    save_file(tensors, path, {"digest": "x"})
    flipped(path)
    assert read_tensors(path)[1] == {"digest": "x"}


@pytest.mark.parametrize("change", ["name", "type", "shape", "text"])
def test_names_types_shapes_and_texts_are_part_of_the_sum(tmp_path, change):
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(2, 2)}, {"note": "x"})
    with_sum = {"note": "x"} | {"sha256": sum_of(path)}
    other = {
        "name": {"b": torch.zeros(2, 2)},
        "type": {"a": torch.zeros(2, 2, dtype=torch.int32)},
        "shape": {"a": torch.zeros(4)},
        "text": {"a": torch.zeros(2, 2)},
    }[change]
    save_file(other, path, with_sum | ({"note": "y"} if change == "text" else {}))
    with pytest.raises(ValueError, match="has changed since it was written"):
        read_tensors(path)


def sum_of(path):
    from ipt.storage import read_metadata

    return read_metadata(path)["sha256"]


@pytest.mark.parametrize(
    "name",
    ["bank/*/first.safetensors", "mine/subspace/model.safetensors", "ist-*/vectors.safetensors"],
)
def test_a_flipped_bit_of_what_a_run_reads_is_one_line(runs, capsys, name, unseen):
    path = next(path for path in runs.glob(name) if path.exists())
    flipped(path)
    ist = next(runs.glob("ist-*")).name
    words = ["predict", "red blue", "--run", ist, "--task", unseen, "--out", runs]
    if name.startswith("bank"):
        words[words.index(ist)] = "mine"
        words[words.index(unseen)] = "first"
    said = last_line(capsys, words)
    assert f"{path} has changed since it was written" in said


@pytest.mark.parametrize(
    ("delta", "says"),
    [
        (torch.zeros(47), "holds 47 numbers, 48 were expected; remove it and run again"),
        (torch.full((48,), torch.nan), "finite numbers of float32 were expected"),
        (torch.zeros(48, dtype=torch.float16), "found others, of torch.float16"),
        (torch.zeros(48, dtype=torch.int32), "found others, of torch.int32"),
        (None, "is no tuned delta"),
    ],
)
def test_a_delta_of_another_kind_is_one_line(world, runs, capsys, delta, says):
    """Also in a file of an older version, which names no sha256."""
    for path in runs.glob("bank/*/first.safetensors"):
        _, metadata = read_tensors(path)
        tensors = {"other": torch.zeros(1)} if delta is None else {"prompt": delta}
        save_file(tensors, path, metadata)
    said = last_line(capsys, msf_words(world, runs, "--run", "new"))
    assert "first.safetensors" in said and says in said


@pytest.mark.parametrize(
    "vectors", [torch.zeros(2, 3), torch.zeros(3, 2), torch.full((2, 2), torch.inf)]
)
def test_vectors_of_another_kind_are_one_line(runs, capsys, vectors, unseen):
    (path,) = runs.glob("ist-*/vectors.safetensors")
    write_tensors(path, {"test": vectors})
    for words in (["predict", "red", "--task", unseen, "--run"], ["probe"]):
        said = last_line(capsys, [*words, path.parent.name, "--out", runs])
        assert f"{path}: test must be [2, 2] finite numbers" in said


# the subspace

SPACE = {"size": 10, "dim": 2, "inner_width": 4}
SPOILED = {
    "a missing tensor": lambda tensors: tensors.pop("delta_decoder.last.bias"),
    "none of them": lambda tensors: tensors.clear(),
    "another shape": lambda tensors: tensors.update({"start": torch.zeros(9)}),
    "NaN": lambda tensors: tensors["delta_decoder.last.bias"].fill_(torch.nan),
    "infinity": lambda tensors: tensors["scale"].fill_(torch.inf),
    "one more": lambda tensors: tensors.update({"more": torch.zeros(1)}),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_subspace_without_all_of_its_numbers_is_an_error(tmp_path, case):
    Subspace(**SPACE).save_pretrained(tmp_path / "s", config=Subspace(**SPACE).get_params())
    Subspace.load(tmp_path / "s")  # control
    Subspace.from_pretrained(tmp_path / "s")
    path = tmp_path / "s" / "model.safetensors"
    tensors = load_file(path)
    SPOILED[case](tensors)
    save_file(tensors, path)  # as an older version, without a sha256
    with pytest.raises(ValueError, match="s holds no readable subspace"):
        Subspace.load(tmp_path / "s")
    with pytest.raises((RuntimeError, ValueError)):
        Subspace.from_pretrained(tmp_path / "s")


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_a_subspace_whose_settings_are_no_object_is_an_error(tmp_path, content):
    Subspace(**SPACE).save_pretrained(tmp_path / "s")
    (tmp_path / "s" / "config.json").write_text(content)
    with pytest.raises(ValueError, match="s holds no readable subspace"):
        Subspace.load(tmp_path / "s")


def retrain(out):
    """Give an MSF run another subspace, of the same settings."""
    folder = out / "mine" / "subspace"
    subspace = Subspace.load(folder)
    subspace.delta_decoder.last.bias[0] += 1e-6
    subspace.save_pretrained(folder, config=subspace.get_params())


def test_what_was_made_in_another_subspace_is_refused(runs, capsys, unseen):
    (ist,) = runs.glob("ist-*")
    assert cli.main(ist_words(runs, "--on", "unseen")) == 0  # control: the same subspace
    retrain(runs)
    says = f"{ist} was made in another subspace than mine holds now; remove the run folder"
    commands = [
        ist_words(runs, "--on", "unseen"),
        ["predict", "red", "--task", unseen, "--run", ist.name, "--out", runs],
        ["probe", ist.name, "--out", runs],
        ["report", ist.name, "--out", runs],
    ]
    for words in commands:
        assert says in last_line(capsys, words)
    shutil.rmtree(ist)
    assert cli.main(ist_words(runs, "--on", "unseen")) == 0
    (again,) = runs.glob("ist-*")
    assert again == ist  # its name has not changed


def test_runs_of_older_versions_do_not_say_their_subspace_and_are_read(runs, unseen):
    (ist,) = runs.glob("ist-*")
    record = read_json(ist / "config.json")
    assert len(record["config"].pop("subspace")) == 64
    write_json(ist / "config.json", record)
    retrain(runs)
    assert cli.main(ist_words(runs, "--on", "unseen")) == 0
    assert (
        cli.main(["predict", "red", "--task", unseen, "--run", ist.name, "--out", str(runs)]) == 0
    )


def test_a_probe_of_another_subspace_is_not_shown(tmp_path, capsys, undrawn):
    from conftest import probe

    folder = plain(tmp_path)
    probe(folder)
    record = read_json(folder / "probe.json")
    write_sealed(folder / "probe.json", record | {"subspace": Run(folder).source.subspace_digest})
    page_of(capsys, "--out", tmp_path)  # control
    write_sealed(folder / "probe.json", record | {"subspace": "0"})
    said = last_line(capsys, ["report", "--out", tmp_path])
    assert "probe.json is of another subspace than there is now; give `ipt probe` again" in said


# checkpoints


@pytest.mark.parametrize("other", [{"seed": 8}, {"msf": {"rate": 2}}, {"subspace": "1"}])
def test_a_state_of_other_settings_is_refused(tmp_path, other):
    config = {"kind": "msf", "split": "toy", "seed": 7, "msf": {"rate": 1}, "subspace": "0"}
    state = {"now": torch.ones(2)}
    first = Run.open(tmp_path / "first", config | {"paths": {"tasks": "/a"}}).checkpoint("msf")
    first.log(step=1)
    first.save(state)
    for name, changed in (("again", {"paths": {"tasks": "/b"}}), ("other", other)):
        run = Run.open(tmp_path / name, config | changed)
        shutil.copy(first.path, run.folder)
        (run.folder / "metrics-msf.jsonl").touch()
        if name == "again":  # control
            assert run.checkpoint("msf").restore(state)
            continue
        with pytest.raises(ValueError, match="holds another state than this run's; remove it"):
            run.checkpoint("msf").restore(state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32])
def test_a_state_of_another_type_is_not_cast(tmp_path, dtype):
    checkpoint = Run(tmp_path).checkpoint("msf")
    save_file({"now": torch.ones(2, dtype=dtype)}, checkpoint.path, {"metrics": "0"})
    with pytest.raises(ValueError, match="holds another state"):
        checkpoint.restore({"now": torch.zeros(2)})


def test_a_state_of_other_numbers_beside_the_settings_is_refused(tmp_path):
    state = {"now": torch.ones(2)}
    Run(tmp_path).checkpoint("msf", of="a bank").save(state)
    with pytest.raises(ValueError, match="holds another state"):
        Run(tmp_path).checkpoint("msf", of="another bank").restore(state)
    assert Run(tmp_path).checkpoint("msf", of="a bank").restore(state)


def test_metrics_that_were_lost_are_not_filled_with_zeros(tmp_path):
    checkpoint = Run(tmp_path).checkpoint("msf")
    checkpoint.log(step=1)
    checkpoint.save({"now": torch.ones(2)})
    checkpoint.metrics.unlink()
    assert Run(tmp_path).checkpoint("msf").restore({"now": torch.ones(2)})
    assert checkpoint.metrics.read_bytes() == b""


def test_a_complete_run_keeps_no_state_of_what_it_holds(runs):
    run = Run(runs / "mine")
    result = (run.folder / "result.json").stat().st_mtime_ns
    for name, when in (("before", result - 1), ("after", result + 1)):
        path = run.folder / f"checkpoint-{name}.safetensors"
        path.touch()
        os.utime(path, ns=(when, when))
    run.remove_idle_checkpoints()
    assert [p.name for p in run.folder.glob("check*")] == ["checkpoint-after.safetensors"]


# drafts


def test_drafts_of_dead_processes_are_removed_and_no_other(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = [f".a.json.{HOST}.{dead.pid}.tmp", f".a.json.{dead.pid}.tmp", ".x.00000000.1.tmp"]
    kept = [
        f".a.json.{HOST}.{os.getpid()}.tmp",
        f".a.json.{os.getpid()}.tmp",
        f".y.00000000.{dead.pid}.tmp",
    ]
    kept += ["a.json", ".notes.tmp", f"a.json.{dead.pid}.tmp"]
    for name in [*gone, *kept]:
        (tmp_path / name).touch()
    (tmp_path / f".subspace.{dead.pid}.tmp").mkdir()
    two_days_ago = time.time() - 48 * 3600
    os.utime(tmp_path / gone[2], (two_days_ago, two_days_ago))
    os.utime(tmp_path / kept[0], (two_days_ago, two_days_ago))
    remove_drafts(tmp_path)
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left == set(kept)


# the bank, and names


def task_of(name, text="red"):
    record = {
        "name": name,
        "category": "non-cls",
        "subcategory": "x",
        "metric": "exact-match",
        "definition": "Say it.",
        "examples": [{"input": text, "output": ["blue"]}],
    }
    return Task.from_dict(record)


def test_a_bank_knows_a_delta_by_name_and_rows(tmp_path):
    bank, task = DeltaBank(tmp_path, {}), task_of("first")
    assert not bank.has("first", task.digest)
    bank.put(task, TunedDelta(torch.ones(3), 0.3, 1.0, 5))
    assert bank.has("first", task.digest)
    assert not bank.has("first", task_of("first", "else").digest)


@pytest.mark.parametrize("name", ["bank", "Bank"])
def test_the_banks_folder_is_no_runs(world, tmp_path, capsys, name):
    said = last_line(capsys, msf_words(world, tmp_path / "runs", "--run", name))
    assert "not bank, which holds the tuned deltas; found" in said
    assert not (tmp_path / "runs").exists()


def test_a_name_too_long_for_a_file_is_told():
    assert task_of("a" * 100).name and task_of("é" * 100).name
    with pytest.raises(ValueError, match="200 bytes of UTF-8"):
        task_of("好" * 100)


# from any folder


@pytest.fixture
def elsewhere(world, tmp_path, monkeypatch):
    """A run whose tasks and model were typed as relative names, and another folder to work in."""
    for name in ("tasks", "model"):
        shutil.copytree(world / name, tmp_path / "home" / name)
    (tmp_path / "away").mkdir()
    names = sorted(path.stem for path in (world / "tasks").iterdir())
    split = {"seen": names[:3], "unseen": names[3:], "tasks": "tasks"}
    (tmp_path / "home" / "split.json").write_text(json.dumps(split))
    monkeypatch.chdir(tmp_path / "home")
    given = dict(zip(*[iter(msf_words(world, "runs")[1:])] * 2, strict=True))
    del given["--seen"], given["--unseen"]
    given |= {"--tasks": "split.json", "--model": "model"}
    words = ["msf", *(word for pair in given.items() for word in pair)]
    assert cli.main(words) == 0
    monkeypatch.chdir(tmp_path / "away")
    return tmp_path, words


def test_a_run_works_from_any_folder(elsewhere, monkeypatch, capsys):
    root, words = elsewhere
    runs = root / "home" / "runs"
    (msf,) = runs.glob("msf-*")
    assert Run(msf).config["paths"] == {
        "tasks": str(root / "home" / "split.json"),
        "model": str(root / "home" / "model"),
    }
    assert Run(msf).config["tasks"] == "split.json" and Run(msf).config["model"] == "model"
    assert cli.main(ist_words(runs, "--on", "unseen")) == 0
    (ist,) = runs.glob("ist-*")
    unseen = Run(ist).config["parts"]["unseen"][0]
    for run, task in ((msf, Run(ist).config["parts"]["seen"][0]), (ist, unseen)):
        predict = ["predict", "red blue green", "--run", run.name, "--task", task]
        assert cli.main([*predict, "--out", str(runs)]) == 0
    # With the names that were typed, from where they were typed, they are the same runs.
    monkeypatch.chdir(root / "home")
    assert cli.main(words) == 0
    assert cli.main([*ist_words("runs", "--on", "unseen"), "--tasks", "split.json"]) == 0
    assert len(list(runs.glob("*/config.json"))) == 2
    # The choice may name the file from another folder too.
    monkeypatch.chdir(root / "away")
    capsys.readouterr()
    choice = [*ist_words(runs, "--on", "unseen"), "--dry-run", "--tasks"]
    assert cli.main([*choice, "../home/split.json"]) == 0
    assert cli.main([*choice, "split.json"]) == 0  # as the run has it
    assert cli.main([*choice, "../home/other.json"]) == 2


def test_all_that_was_moved_together_is_found_by_the_names_that_were_typed(
    elsewhere, monkeypatch, capsys
):
    root, _ = elsewhere
    (root / "home").rename(root / "moved")
    said = last_line(capsys, ist_words(root / "moved" / "runs", "--on", "unseen"))
    assert "--tasks split.json, which the run was made with: " in said
    monkeypatch.chdir(root / "moved")
    assert cli.main(ist_words("runs", "--on", "unseen")) == 0


def test_where_names_lay_is_no_part_of_a_runs_identity(tmp_path):
    config = {"kind": "msf", "split": "toy", "seed": 7, "tasks": "split.json"}
    run = Run.open(tmp_path / "mine", config | {"paths": {"tasks": "/a/split.json"}})
    assert Run.open(tmp_path / "mine", config).config == run.config
    with pytest.raises(ValueError, match="other settings"):  # control
        Run.open(tmp_path / "mine", config | {"tasks": "other.json"})

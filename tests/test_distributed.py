"""Two processes that share a run (gloo on the CPU), as `accelerate launch` starts them, against one process."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ist_words, msf_words

from ipt.cli import app as cli
from ipt.distributed import Processes, join_processes
from ipt.storage import read_tensors

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
LAUNCH += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "ipt"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def launch(words, **more):
    return subprocess.run(LAUNCH + words, env=ENVIRONMENT, capture_output=True, text=True, check=False, **more)


def one(out, kind):
    (folder,) = out.glob(f"{kind}-*")
    return folder


def numbers(record):
    return [v for value in record.values() for v in (numbers(value) if isinstance(value, dict) else [value or 0.0])]


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    """Both commands by two processes, the first of them killed on the way and started again."""
    out = tmp_path_factory.mktemp("shared")
    words = msf_words(world, out, "--steps", "150", "--eval-every", "4", "--patience", "1000", "--checkpoint-seconds", "0")
    process = subprocess.Popen(
        LAUNCH + words, env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("msf-*/checkpoint-msf.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes = workers(out)
    assert len(processes) == 2
    os.kill(processes[1], signal.SIGKILL)
    assert process.wait(60) != 0, "a rank that is killed must end the launch"
    assert not list(out.glob("msf-*/result.json"))
    for line in (words, ist_words(out)):
        made = launch(line)
        assert made.returncode == 0, made.stderr
    return out


def workers(out):
    """Return the process numbers of the processes that write to a folder, the launcher left out."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in listed if " -m ipt msf" in line and str(out) in line and "accelerate" not in line]


@pytest.fixture(scope="module")
def single(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("single")
    assert cli.main(msf_words(world, out, "--steps", "150", "--eval-every", "4", "--patience", "1000")) == 0
    assert cli.main(ist_words(out)) == 0
    return out


def test_two_processes_give_the_run_of_one(single, shared):
    for kind in ("msf", "ist"):
        assert one(single, kind).name == one(shared, kind).name, "the run's name holds its settings, not how many processes made it"
        ours, theirs = (json.loads((one(out, kind) / "result.json").read_text()) for out in (single, shared))
        assert numbers(ours["scores"]) == numbers(theirs["scores"])
        assert len(set(numbers(ours["scores"]))) > 3  # control: tasks and settings differ
    a, b = (json.loads(line) for out in (single, shared) for line in [(one(out, "msf") / "metrics-msf.jsonl").read_text().splitlines()[0]])
    assert a["dev_loss"] == pytest.approx(b["dev_loss"], rel=1e-4)
    for ours in sorted(single.glob("bank/*/*.safetensors")):
        (theirs,) = shared.glob(f"bank/{ours.parent.name}/{ours.name}")
        assert torch.allclose(read_tensors(ours)[0]["prompt"], read_tensors(theirs)[0]["prompt"], atol=1e-3)


def test_one_run_folder_and_one_voice(world, shared):
    assert {p.name for p in one(shared, "ist").iterdir()} >= {"config.json", "result.json", "vectors.safetensors"}
    assert not list(shared.glob("*/checkpoint-*")), "checkpoints of every rank go when the run is complete"
    again = launch(ist_words(shared))
    assert again.stdout.count("subspace: ") == again.stdout.count("written: ") == 1 and again.returncode == 0


def test_a_mistake_is_told_once(world, tmp_path):
    made = launch(msf_words(world, tmp_path, "--tasks", "nothing"))
    assert made.returncode != 0 and made.stderr.count("ipt: ") == 1


def test_alone_nothing_is_sent():
    alone = Processes()
    assert alone.shard([1, 2, 3]) == alone.gather([1, 2, 3]) == alone.on_main_process(lambda: [1, 2, 3])
    assert [Processes(i, 2).shard([1, 2, 3]) for i in range(2)] == [[1, 3], [2]]


def test_a_launch_without_devices_for_all_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="process 1 has no device of its own: launch 1 "):
        join_processes("auto")
    with pytest.raises(ValueError, match="leave it out"):
        join_processes("cuda:1")

"""Two processes that share a run (gloo on the CPU), as `accelerate launch` starts them, and one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ist_words, msf_words
from small_runs import job_lines

from ipt.cli import app as cli
from ipt.distributed import Processes, join_processes
from ipt.storage import read_tensors

LAUNCHER = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1"
LAUNCHER += " --main_process_port 0 --mixed_precision no --dynamo_backend no"
LAUNCH = [sys.executable, *LAUNCHER.split(), "-m", "ipt"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
MSF = ["--steps", "150", "--eval-every", "4", "--patience", "1000"]


def launch(words):
    return subprocess.run(
        LAUNCH + words,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def run_folder(out, kind):
    (folder,) = out.glob(f"{kind}-*")
    return folder


def result_of(out, kind):
    text = (run_folder(out, kind) / "result.json").read_text()
    return json.loads(text)


def first_metrics(out):
    return job_lines(run_folder(out, "msf") / "metrics-msf.jsonl")[0]


def numbers(record):
    """Return the numbers of a nested record; None counts as 0."""
    flat = []
    for value in record.values():
        flat += numbers(value) if isinstance(value, dict) else [value or 0.0]
    return flat


def workers(out):
    """Return the numbers of the processes that write to a folder, the launcher left out."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = []
    for line in listed.stdout.splitlines():
        is_worker = " -m ipt msf" in line and "accelerate" not in line
        if is_worker and str(out) in line:
            found.append(int(line.split()[0]))
    return found


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    """Both commands by two processes, the first of them killed on the way and started again."""
    out = tmp_path_factory.mktemp("shared")
    words = msf_words(world, out, *MSF, "--checkpoint-seconds", "0")
    process = subprocess.Popen(
        LAUNCH + words,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("msf-*/checkpoint-msf.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes = workers(out)
    assert len(processes) == 2
    os.kill(processes[1], signal.SIGKILL)
    assert process.wait(60) != 0, "a process that is killed must end the launch"
    assert not list(out.glob("msf-*/result.json"))
    for line in (words, ist_words(out)):
        made = launch(line)
        assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="module")
def single(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("single")
    assert cli.main(msf_words(world, out, *MSF)) == 0
    assert cli.main(ist_words(out)) == 0
    return out


def test_two_processes_give_the_run_of_one(single, shared):
    for kind in ("msf", "ist"):
        # A run's name holds its settings, and not how many processes made it.
        assert run_folder(single, kind).name == run_folder(shared, kind).name
        scores_of_one = numbers(result_of(single, kind)["scores"])
        assert scores_of_one == numbers(result_of(shared, kind)["scores"])
        assert len(set(scores_of_one)) > 3  # control: tasks and settings differ
    loss_of_one = first_metrics(single)["dev_loss"]
    assert loss_of_one == pytest.approx(first_metrics(shared)["dev_loss"], rel=1e-4)
    for path in sorted(single.glob("bank/*/*.safetensors")):
        (other,) = shared.glob(f"bank/{path.parent.name}/{path.name}")
        prompt = read_tensors(path)[0]["prompt"]
        assert torch.allclose(prompt, read_tensors(other)[0]["prompt"], atol=1e-3)


def test_only_the_main_process_writes_and_prints(world, shared):
    files = {path.name for path in run_folder(shared, "ist").iterdir()}
    assert files >= {"config.json", "result.json", "vectors.safetensors"}
    checkpoints = list(shared.glob("*/checkpoint-*"))
    assert not checkpoints, "checkpoints of every process go when the run is complete"
    again = launch(ist_words(shared))
    assert again.returncode == 0
    assert again.stdout.count("subspace: ") == again.stdout.count("written: ") == 1


def test_a_mistake_is_told_once(world, tmp_path):
    made = launch(msf_words(world, tmp_path, "--tasks", "nothing"))
    assert made.returncode != 0 and made.stderr.count("ipt: ") == 1


def test_alone_nothing_is_sent():
    alone, items = Processes(), [1, 2, 3]
    assert alone.shard(items) == items
    assert alone.gather(items) == items
    assert alone.on_main_process(lambda: items) == items
    assert [Processes(i, 2).shard(items) for i in range(2)] == [[1, 3], [2]]


def test_a_launch_without_devices_for_all_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="process 1 has no device of its own: launch 1 "):
        join_processes("auto")
    with pytest.raises(ValueError, match="leave it out"):
        join_processes("cuda:1")

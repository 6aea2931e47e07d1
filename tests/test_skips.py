"""`make test` says at its end what was skipped and why, and which tests took longest; `.ci/run` fails on a skip."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SKIPPING = """
import time
import pytest

def test_slow():
    time.sleep(0.01)

@pytest.mark.skip(reason="set IPT_NOTHING to a folder")
def test_skipped():
    pass
"""


def output_of(source, tmp_path):
    """Run a test file with the project's own settings, in one process, and return what is printed."""
    path = tmp_path / "test_one.py"
    path.write_text(source, encoding="utf8")
    settings = [
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(tmp_path),
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
    ]
    command = [sys.executable, "-m", "pytest", *settings, str(path)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    return made.stdout


def skips_in(text):
    """Return the lines that `.ci/run` looks for."""
    (pattern,) = re.findall(
        r'grep -q "(.*)" models/tests\.txt', (ROOT / ".ci" / "run").read_text(encoding="utf8")
    )
    return [line for line in text.splitlines() if re.search(pattern, line)]


def test_a_skip_is_named_with_its_reason_at_the_end(tmp_path):
    text = output_of(SKIPPING, tmp_path)
    (line,) = skips_in(text)
    assert (
        line.endswith("set IPT_NOTHING to a folder")
        and "slowest 10 durations" in text
        and "test_slow" in text
    )


def test_control_without_a_skip_nothing_stops_ci(tmp_path):
    assert skips_in(output_of(SKIPPING.replace("@pytest", "# @pytest"), tmp_path)) == []

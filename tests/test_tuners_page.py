"""The settings on the page of the tuners are the fields of the tuners; `python tests/test_tuners_page.py` writes them."""

import re
from dataclasses import fields
from pathlib import Path

from ipt.backbones.loading import load_backbone
from ipt.cli.tuner_flags import flag_name
from ipt.config import settings_text
from ipt.training.model import Model
from ipt.tuners import TUNERS, parse_tuner

PAGE = Path(__file__).parent.parent / "docs" / "tuners.md"
BEGIN, END = "<!-- settings -->", "<!-- end of settings -->"


def table() -> str:
    lines = ["| tuner | flag | default | what it is |", "|---|---|---|---|"]
    for name, kind in TUNERS.items():
        for field in fields(kind):
            flag = flag_name(name, field.name).replace("_", "-")
            default = settings_text({"": field.default}).removeprefix("=").strip() or "all"
            text = field.metadata["help"].removesuffix("; all")
            lines.append(f"| `{name}` | `--{flag}` | {default} | {text} |")
    return "\n".join(lines)


def page(text: str) -> str:
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def test_the_settings_on_the_page_are_those_of_the_tuners():
    text = PAGE.read_text(encoding="utf8")
    assert page(text) == text, "run python tests/test_tuners_page.py"


def test_the_numbers_per_task_on_the_page_are_those_of_mini():
    """Of each tuner, in the first table."""
    backbone = load_backbone("mini", device="cpu")
    found = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| [^|]+ \| ([\d,]+)", PAGE.read_text("utf8"), re.M))
    expected = {}
    for name in TUNERS:
        tuner = parse_tuner("bias:at=linears" if name == "bias" else name)
        expected[name] = f"{Model(backbone, tuner).size:,}"
    assert found == expected


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf8")), encoding="utf8")

"""The settings on the pages of the tuners are the fields of the tuners; `python tests/test_tuners_page.py` writes them."""

import re
from dataclasses import fields
from pathlib import Path

import architectures
import pytest

from ipt.backbones.loading import load_backbone
from ipt.cli.tuner_flags import flag_name
from ipt.config import settings_text
from ipt.training.model import Model
from ipt.tuners import TUNERS, parse_tuner

MODELS = Path(__file__).parent.parent / "docs" / "models.md"
PAGE = Path(__file__).parent.parent / "docs" / "tuners.md"
PAGES = sorted(PAGE.parent.glob("tuners-*.md"))
SETTINGS = re.compile(r"<!-- settings (.*?) -->\n.*?<!-- end of settings -->", re.DOTALL)


def table(names: list[str]) -> str:
    lines = ["| tuner | flag | default | what it is |", "|---|---|---|---|"]
    for name in names:
        for field in fields(TUNERS[name]):
            flag = flag_name(name, field.name).replace("_", "-")
            default = settings_text({"": field.default}).removeprefix("=").strip() or "all"
            text = field.metadata["help"].removesuffix("; all")
            lines.append(f"| `{name}` | `--{flag}` | {default} | {text} |")
    return "\n".join(lines)


def page(text: str) -> str:
    def marked(found: re.Match[str]) -> str:
        names = found[1]
        return f"<!-- settings {names} -->\n{table(names.split())}\n<!-- end of settings -->"

    return SETTINGS.sub(marked, text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_settings_on_the_pages_are_those_of_the_tuners(path):
    text = path.read_text(encoding="utf8")
    assert page(text) == text, "run python tests/test_tuners_page.py"
    planted = re.sub(r"(<!-- settings .*? -->\n)", r"\1| planted |\n", text)
    assert planted != text and page(planted) == text  # control


def test_each_tuner_is_on_one_page():
    """But the one without any numbers."""
    named = []
    for path in PAGES:
        (names,) = SETTINGS.findall(path.read_text(encoding="utf8"))
        named += names.split()
        assert f"({path.name})" in PAGE.read_text(encoding="utf8")
    assert sorted(named) == sorted(set(TUNERS) - {"bare"})


def test_the_numbers_per_task_on_the_page_are_those_of_mini():
    """Of each tuner, in the first table."""
    backbone = load_backbone("mini", device="cpu")
    found = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| [^|]+ \| ([\d,]+)", PAGE.read_text("utf8"), re.M))
    expected = {}
    for name in TUNERS:
        tuner = parse_tuner("bias:at=linears" if name == "bias" else name)
        expected[name] = f"{Model(backbone, tuner).size:,}"
    assert found == expected


def test_the_model_types_without_an_interface_or_feed_forward_layers_are_those_listed():
    """The page of the models, against tiny ones of each type."""
    rows = re.findall(r"^\| (?:transformers' attention|feed-forward).*\| ([^|]+) \|$", MODELS.read_text("utf8"), re.M)
    no_interface, no_down = (set(re.findall(r"`([\w-]+)`", row)) for row in rows)
    assert len(no_interface) > 20 and "mixtral" in no_down
    for architecture in architectures.ARCHITECTURES:
        if architecture.kind in {*sorted(no_interface)[::4], *sorted(no_down)[::4], "llama", "bert"}:
            sites = architectures.make(architecture).sites
            roles = set().union(*[linear.roles for linear in sites.linears])
            assert (not sites.attentions) == (architecture.kind in no_interface)
            assert ("down" not in roles) == (architecture.kind in no_interface | no_down)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path.read_text(encoding="utf8")), encoding="utf8")

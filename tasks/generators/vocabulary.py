"""Word lists and frames by hand: each family reads those in the TOML file beside its module."""

import tomllib
from pathlib import Path
from typing import Any


def read_vocabulary(family: str) -> dict[str, Any]:
    """Return the lists of `FAMILY.toml`; tables keep the order of the file, which draws rely on."""
    path = Path(__file__).with_name(f"{family}.toml")
    return tomllib.loads(path.read_text(encoding="utf8"))

"""Colours of the page: each can be told from its light and from its dark ground (3 : 1)."""

BLUE = "#2a78c2"
RED = "#d1352b"
GREEN = "#2b9348"
PURPLE = "#9a5cc9"
ORANGE = "#c26a12"
PALETTE = (
    BLUE,
    RED,
    GREEN,
    PURPLE,
    ORANGE,
    "#d6478f",
    "#0f8f9c",
    "#857a00",
    "#5b6ee1",
    "#5f9e1f",
)
FAINT = "#868c93"  # of what stands behind: seen tasks, controls, guides

# Of tasks by their kind, with a mark each for every kind of colour vision.
KINDS = {"rule": (BLUE, "o"), "knowledge": (ORANGE, "s"), "novel": (PURPLE, "^")}
# Of tasks that know no such difference.
NO_KIND = (BLUE, "o")
# Recovery from none to all of prompt tuning, in fifths: from red over grey to blue.
BY_RECOVERY = (RED, "#c26a3a", FAINT, "#5b83c4", BLUE)

# What drawings for papers have, and what stands for it on the page.
ON_PAGE = {
    "#e69f00": ORANGE,
    "#009e73": GREEN,
    "#0072b2": BLUE,
    "#56b4e9": "#0f8f9c",
    "#d55e00": RED,
    "#cc79a7": "#d6478f",
    "#000000": "currentColor",
    "#666666": FAINT,
}


def recovery_colour(share: float) -> str:
    """Return the colour of a share of prompt tuning; of NaN that of what stands behind."""
    if share != share:
        return FAINT
    return BY_RECOVERY[min(max(int(5 * share), 0), len(BY_RECOVERY) - 1)]

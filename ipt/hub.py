"""Whether the hub of models and data sets is in reach, asked once and quickly: its own clients wait half a minute to find out."""

from functools import cache
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants


def is_offline() -> bool:
    """Return whether the environment says that only what was downloaded may be used (HF_HUB_OFFLINE)."""
    return bool(constants.HF_HUB_OFFLINE)


@cache
def is_reachable() -> bool:
    """Return False where the environment says offline or nothing answers within five seconds."""
    if is_offline():
        return False
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=5):
            return True
    except HTTPError:
        return True  # an answer, though a refusal
    except OSError:
        return False

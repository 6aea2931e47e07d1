"""Whether the hub of models and data sets is in reach.

Asked once and quickly: the hub's own clients wait half a minute to find out.
"""

from functools import cache
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants

TIMEOUT = 5  # seconds


def is_offline() -> bool:
    """Return whether the environment allows downloaded files only (HF_HUB_OFFLINE)."""
    return bool(constants.HF_HUB_OFFLINE)


@cache
def is_reachable() -> bool:
    """Return whether the hub answers; False without asking where the environment says offline."""
    if is_offline():
        return False
    request = Request(constants.ENDPOINT, method="HEAD")
    try:
        with urlopen(request, timeout=TIMEOUT):
            return True
    except HTTPError:
        # A refusal is an answer too.
        return True
    except OSError:
        return False

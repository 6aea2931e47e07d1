"""Plain text from a folder, in pieces: what pre-training may mix with tasks (`--text`)."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from random import Random

SHORTEST_LINE = 20  # characters; what is not longer is no paragraph (a title, a number of a page)
WORDS = 20  # of a piece, at most


def text_lines(folder: Path, seed: int) -> Iterator[str]:
    """Yield pieces of at most 20 words of a folder's text, without end.

    folder: holds *.txt.gz files with a paragraph per line.

    Raises ValueError where the folder has no such file.
    """
    # In the order of the files' names: the draw is of numbers of paragraphs.
    paragraphs: list[str] = []
    for path in sorted(folder.glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf8") as file:
            paragraphs += [line.strip() for line in file if len(line) > SHORTEST_LINE]
    if not paragraphs:
        raise ValueError(
            f"--text {folder}: expected *.txt.gz files with a paragraph per line, found none"
        )

    # A seed of its own: the text must not move when other draws are added.
    rng = Random(f"text|{seed}")
    while True:
        words = rng.choice(paragraphs).split()
        # Any place where a full piece begins; a short paragraph is a piece as it is.
        places = max(1, len(words) - WORDS)
        start = rng.randrange(places)
        yield " ".join(words[start : start + WORDS])

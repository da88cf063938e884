"""Labelled review sentences of four domains, scored by people (Hutto & Gilbert, ICWSM 2014; vaderSentiment, MIT).

Each sentence has the mean of 15 or more human ratings (mostly 20) from -4 to 4. Above 0.5 it counts as positive, below
-0.5 as negative; those between are left out. Texts stand as in the source, but for outer white space. The files are
sound UTF-8 without control characters or mojibake. What looks odd stays: HTML entities (`&amp;`; in 37 Amazon, 22
movie, 133 tweet and 1 editorial rows), two single quotes for a double one, and repeated texts.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
THRESHOLD = 0.5


def read(vader: Path, member: str) -> Iterator[tuple[str, str, str, str]]:
    """(text, label, score, id) of every sentence with a clear score in one file of the source."""
    with tarfile.open(vader) as outer:
        inner = outer.extractfile(INNER)
        assert inner is not None, INNER
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as files:
            truth = files.extractfile(f"hutto_ICWSM_2014/{member}_GroundTruth.txt")
            assert truth is not None, member
            lines = truth.read().decode("utf-8", "replace").splitlines()
    for line in lines:
        number, score, text = line.split("\t", 2)
        if abs(float(score)) > THRESHOLD:
            yield text.strip(), "positive" if float(score) > 0 else "negative", score, number

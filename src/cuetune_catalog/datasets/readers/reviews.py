"""Labelled review sentences of four domains, scored by people (Hutto & Gilbert, ICWSM 2014; vaderSentiment, MIT).

Each sentence has the mean of 15 or more human ratings (mostly 20) from -4 to 4. Above 0.5 it counts as positive, below
-0.5 as negative; those between are left out. Texts stand as in the source, but for outer white space. The files are
sound UTF-8 without control characters or mojibake. What looks odd stays: HTML entities (`&amp;`; in 37 Amazon, 22
movie, 133 tweet and 1 editorial rows), two single quotes for a double one, and repeated texts.
"""

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cuetune_catalog.datasets.base import Archive, DataSet

ARCHIVE = Archive(
    "vaderSentiment==3.3.2",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size=2_500_000,
    source=True,
)
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
THRESHOLD = 0.5
CITATION = (
    "C.J. Hutto and E.E. Gilbert (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media "
    "Text. Eighth International Conference on Weblogs and Social Media (ICWSM-14), Ann Arbor, MI."
)
MEMBERS = {
    "reviews-amazon": "amazonReviewSnippets",
    "reviews-movies": "movieReviewSnippets",
    "reviews-tweets": "tweets",
    "reviews-editorials": "nytEditorialSnippets",
}


def read_domain(archive: Path, member: str) -> Iterator[tuple[str, str, str, str]]:
    """(text, label, score, id) of every sentence with a clear score in one file of the source."""
    with tarfile.open(archive) as outer:
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


def _domain(name: str, description: str, positive: int, negative: int) -> DataSet:
    return DataSet(
        name=name,
        description=description,
        asked="label",
        columns=("text", "label", "score", "id"),
        rows=positive + negative,
        labels={"positive": positive, "negative": negative},
        licence="MIT",
        citation=CITATION,
        archive=ARCHIVE,
        read=partial(read_domain, member=MEMBERS[name]),
    )


REVIEWS = (
    _domain("reviews-amazon", "sentences of Amazon product reviews", 1725, 1218),
    _domain("reviews-movies", "sentences of movie reviews", 4982, 5061),
    _domain("reviews-tweets", "tweets", 2300, 1062),
    _domain("reviews-editorials", "sentences of newspaper editorials", 1100, 1688),
)

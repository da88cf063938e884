"""What people ask an assistant, by topic: the first words of each English conversation of the ChatterBot corpus.

Topics with at least 40 different questions are taken; the others have 1 to 29. "tech support" is not among them: its
1,050 conversations begin with the same 10 questions over and over.
"""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cuetune_catalog.datasets.readers.distinct import first_of_each

TOPICS = ("ai", "coding", "emotion", "psychology", "trivia")


def read(corpus: Path) -> Iterable[tuple[str, str]]:
    """(text, label) of every different question."""
    return first_of_each(_every_question(corpus))


def _every_question(archive: Path) -> Iterator[tuple[str, str]]:
    import yaml

    with zipfile.ZipFile(archive) as files:
        for topic in TOPICS:
            content = yaml.safe_load(files.read(f"chatterbot_corpus/data/english/{topic}.yml"))
            for conversation in content["conversations"]:
                if isinstance(conversation, list):  # one trivia question and its answer are mistyped as one text
                    yield " ".join(str(conversation[0]).split()), topic

"""What people ask an assistant, by topic: the first words of each English conversation of the ChatterBot corpus.

Topics with at least 40 different questions are taken; the others have 1 to 29. "tech support" is not among them: its
1,050 conversations begin with the same 10 questions over and over.
"""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cuetune_catalog.datasets.base import Archive, DataSet, first_of_each

TOPICS = ("ai", "coding", "emotion", "psychology", "trivia")


def read_questions(archive: Path) -> Iterable[tuple[str, str]]:
    """(text, label) of every different question."""
    return first_of_each(_every_question(archive))


def _every_question(archive: Path) -> Iterator[tuple[str, str]]:
    import yaml

    with zipfile.ZipFile(archive) as files:
        for topic in TOPICS:
            content = yaml.safe_load(files.read(f"chatterbot_corpus/data/english/{topic}.yml"))
            for conversation in content["conversations"]:
                if isinstance(conversation, list):  # one trivia question and its answer are mistyped as one text
                    yield " ".join(str(conversation[0]).split()), topic


QUESTIONS = DataSet(
    name="customer-questions",
    description="short questions and remarks put to an assistant, by topic",
    asked="label",
    columns=("text", "label"),
    rows=527,
    labels={"ai": 61, "coding": 96, "emotion": 48, "psychology": 62, "trivia": 260},
    licence="BSD",
    citation="G. Cox and contributors, ChatterBot corpus 1.3.3.",
    archive=Archive(
        "chatterbot-corpus==1.3.3",
        "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
        size=345_706,
    ),
    read=read_questions,
)

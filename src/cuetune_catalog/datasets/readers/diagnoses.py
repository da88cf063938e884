"""Diagnoses and the part of the body, or of life, that they concern: categories of ICD-10-CM by chapter.

A row is a category of the classification ("J45 Asthma"), in the words of the list that is published each year for
hospitals in the United States. Taken are the chapters on organ systems, mental disorders and pregnancy. Those on
infections, tumours and injuries cut across the body and are left out, and so are categories "in diseases classified
elsewhere", which repeat the words of another one.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from cuetune_catalog.datasets.readers.distinct import first_of_each

LIST = "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"
CHAPTERS = {
    "5": "mental health",
    "6": "nerves",
    "7": "eyes and ears",
    "8": "eyes and ears",
    "9": "circulation",
    "10": "breathing",
    "11": "digestion",
    "12": "skin",
    "13": "muscles and bones",
    "14": "kidneys and genitals",
    "15": "pregnancy",
}
REPEATED = re.compile(r"classified elsewhere|^Intraoperative and postprocedural")


def read(classification: Path) -> Iterable[tuple[str, str, str]]:
    """(text, label, code) of every category of the chapters above, each text once."""
    return first_of_each(_every_category(classification))


def _every_category(archive: Path) -> Iterator[tuple[str, str, str]]:
    with zipfile.ZipFile(archive) as files:
        tree = ElementTree.fromstring(files.read(LIST))
    for chapter in tree.iter("chapter"):
        label = CHAPTERS.get(chapter.findtext("name", ""))
        for category in chapter.iterfind("section/diag") if label else ():
            text = " ".join(category.findtext("desc", "").split())
            if label and not REPEATED.search(text):
                yield text, label, category.findtext("name", "")

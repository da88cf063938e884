"""Molecules that pass from the blood into the brain, and those that do not: B3DB (Meng et al. 2021, CC0)."""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

TABLE = "B3DB/B3DB_classification.tsv"


def read(b3db: Path) -> Iterator[tuple[str, str]]:
    """(smiles, label) of every compound: BBB+ where it passes the blood-brain barrier, BBB- where not."""
    with zipfile.ZipFile(b3db) as files, files.open(TABLE) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        for row in csv.DictReader(text, delimiter="\t"):
            yield row["SMILES"], row["BBB+/BBB-"]

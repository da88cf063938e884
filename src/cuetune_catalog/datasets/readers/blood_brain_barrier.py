"""Molecules that pass from the blood into the brain, and those that do not: B3DB (Meng et al. 2021, CC0)."""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cuetune_catalog.datasets.base import Archive, DataSet

TABLE = "B3DB/B3DB_classification.tsv"


def read_molecules(archive: Path) -> Iterator[tuple[str, str]]:
    """(smiles, label) of every compound: BBB+ where it passes the blood-brain barrier, BBB- where not."""
    with zipfile.ZipFile(archive) as files, files.open(TABLE) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        for row in csv.DictReader(text, delimiter="\t"):
            yield row["SMILES"], row["BBB+/BBB-"]


MOLECULES = DataSet(
    name="blood-brain-barrier",
    description="drug-like molecules as SMILES: which pass the blood-brain barrier",
    asked="label",
    columns=("smiles", "label"),
    rows=7807,
    labels={"BBB+": 4956, "BBB-": 2851},
    licence="CC0",
    citation=(
        "F. Meng, Y. Xi, J. Huang and P.W. Ayers (2021). A curated diverse molecular database of blood-brain barrier "
        "permeability with chemical descriptors. Scientific Data 8, 289."
    ),
    archive=Archive(
        "qc-b3db==1.1.1",
        "c929f601951e4b0ed56326c94d2cdc2f6b0c24711fbc1e0d7f67e88e330fc959",
        size=78_265_121,
    ),
    read=read_molecules,
)

"""Prompts for clips against a linear probe: in which direction does a drawing move?

    python benchmarks/videos.py                # a stopped run goes on where it was
    python benchmarks/videos.py --seeds 1 --steps 20 --methods linear-probe temporal

Drawings of a clip that is tested are in no clip that is learned from. The probe chooses between the frames' states in
order and their mean on the rows to choose on. Runs are those of `cuetune compare`: what is kept of each is in
runs/videos, the table in results/clips.md.
"""

import argparse
import sys
from pathlib import Path

from cuetune.evaluation.compare import compare

METHODS = ("linear-probe", "prefix", "temporal", "vpt-shallow")
RUNS, RESULTS = Path("runs/videos"), Path(__file__).parent / "results" / "clips.md"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--read-layer", type=int, default=8)
    parser.add_argument("--search", action="store_true", help="a learning rate for each method, instead of the usual")
    parser.add_argument("--model", default="dinov2-small@4x70")
    parser.add_argument("--to", type=Path, default=RESULTS)
    asked = parser.parse_args()
    compared = compare(
        "moving-drawings", RUNS, methods=list(asked.methods), sizes=[asked.rows], seeds=asked.seeds,
        steps=asked.steps, length=asked.length, search=asked.search, model=asked.model, read_layer=asked.read_layer,
        say=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    asked.to.write_text((compared.folder / "table.md").read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()

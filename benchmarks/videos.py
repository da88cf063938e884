"""Prompts for clips against a linear probe: in which direction does a drawing move?

    python benchmarks/videos.py                # a stopped run goes on where it was
    python benchmarks/videos.py --seeds 1 --steps 20 --methods linear-probe temporal

Drawings of a clip that is tested are in no clip that is learned from. The probe chooses between the frames' states in
order and their mean on the rows to choose on; runs are those of `cuetune compare`.
"""

import argparse
import sys
from pathlib import Path

from cuetune.evaluation.compare import compare

METHODS = ("linear-probe", "temporal", "vpt", "vpt-shallow", "prefix")
RESULTS = Path(__file__).parent / "results" / "videos"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--read-layer", type=int, default=8)
    parser.add_argument("--no-search", dest="search", action="store_false")
    parser.add_argument("--model", default="dinov2-small@4x98")
    parser.add_argument("--to", type=Path, default=RESULTS)
    asked = parser.parse_args()
    compare(
        "moving-drawings", asked.to, methods=list(asked.methods), sizes=[asked.rows], seeds=asked.seeds,
        steps=asked.steps, length=asked.length, search=asked.search, model=asked.model, read_layer=asked.read_layer,
        say=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""Prompts for clips against a linear probe: in which direction does a drawing move, and of what is it?

    python benchmarks/videos.py                # all of it; a stopped run goes on where it was
    python benchmarks/videos.py --only direction --seeds 1 --steps 20 --methods linear-probe temporal

Drawings of a clip that is tested are in no clip that is learned from. The probe chooses between the frames' states in
order and their mean on the rows to choose on. Runs are those of `cuetune compare`: what is kept of each is in
runs/videos, the tables in results/clips.md.
"""

import sys
from pathlib import Path

from comparing import measure, options
from cuetune.comparison.compare import compare

METHODS = ("linear-probe", "prefix", "temporal", "vpt-shallow")
ASKED = {"direction": "label", "object": "object"}  # which column is asked for
MODEL, HEAD_LAYER, ROWS, STEPS = "dinov2-small@4x70", 8, 800, 120
RESULTS = Path(__file__).parent / "results" / "clips.md"


def main() -> None:
    """Measure, and write all tables to one file."""
    asked = options(__doc__, list(ASKED), METHODS, MODEL, RESULTS)

    def one(name: str) -> str:
        compared = compare(
            "moving-drawings", Path("runs/videos") / name, methods=list(asked.methods), sizes=[ROWS],
            seeds=asked.seeds, steps=asked.steps or STEPS, length=asked.length, search=asked.search, model=asked.model,
            head_layer=asked.head_layer or HEAD_LAYER, label=ASKED[name], log=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        table = (compared.folder / "table.md").read_text(encoding="utf-8")
        return table.replace("# moving-drawings", f"# {name} of moving-drawings", 1)

    measure(list(ASKED), one, asked)


if __name__ == "__main__":
    main()

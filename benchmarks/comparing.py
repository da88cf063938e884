"""What benchmarks of pictures and sounds share: options, the runs of `cuetune compare`, and one file of tables."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cuetune.comparison.compare import prepared, price_here, write
from cuetune.tuning.data import Data


def options(text: str | None, names: Sequence[str], methods: Sequence[str], model: str | None, to: Path) -> Any:
    """The command line of such a benchmark. names: of its data sets."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=names)
    parser.add_argument("--methods", nargs="+", default=methods)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of every tuned run; else what STEPS says")
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--search", action="store_true", help="a learning rate for each method, instead of the usual")
    parser.add_argument("--model", default=model)
    parser.add_argument("--head-layer", type=int)
    parser.add_argument("--augment", default="none", help="as of `cuetune compare`")
    parser.add_argument("--to", type=Path, default=to)
    return parser.parse_args()


def table(name: str, data: Data, folder: Path, rows: int, steps: int, asked: Any) -> str:
    """The runs of one data set, of which those that are there are not done again; returns their table."""
    if asked.augment != "none":
        name += f"-{asked.augment.replace(',', '-')}"
    comparison = prepared(
        data, folder / name, asked.methods, [rows], asked.model, print, {}, seeds=asked.seeds, batch_size=16,
        steps=asked.steps or steps, search=asked.search, length=asked.length, head_layer=asked.head_layer,
        augment=asked.augment,
    )  # fmt: skip
    comparison.run()
    write(comparison, name, price_here(comparison.backbone), print)
    return (comparison.folder / "table.md").read_text(encoding="utf-8")


def measure(names: Sequence[str], one: Callable[[str], str], asked: Any) -> None:
    """The tables of all data sets, or of the one that was asked for, in one file."""
    tables = [one(name) for name in ([asked.only] if asked.only else names)]
    asked.to.write_text("\n".join(tables), encoding="utf-8")
    print(f"written to {asked.to}", file=sys.stderr)

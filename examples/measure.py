"""Run examples and keep what was measured: result.json beside each config, and the table in its README.

python examples/measure.py                  # all of them
python examples/measure.py spam-mails       # some
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLE = re.compile(r"(?<=<!-- result -->\n).*?(?=<!-- end of result -->)", re.DOTALL)
KEPT = ("data", "settings", "versions", "best_step", "scores", "scored_rows", "cost", "created")


def names() -> list[str]:
    """The examples: every folder with a config."""
    return sorted(path.parent.name for path in HERE.glob("*/config.toml"))


def measure(name: str) -> None:
    """Run one example as a user would, then write what it measured."""
    config = HERE / name / "config.toml"
    subprocess.run([sys.executable, "-m", "cuetune", "tune", "--config", str(config), "--overwrite"], check=True)
    saved = Path(tomllib.loads(config.read_text(encoding="utf-8"))["to"]) / "cuetune.json"
    record = json.loads(saved.read_text(encoding="utf-8"))["record"]
    result = {key: record[key] for key in KEPT if key in record}
    (HERE / name / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    readme = HERE / name / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), result), encoding="utf-8")


def with_table(text: str, result: dict[str, Any]) -> str:
    """The README with the table of a result between its two marks."""
    return TABLE.sub(lambda _: table(result), text)


def table(result: dict[str, Any]) -> str:
    """Scores by method, then one line with rows, cost and versions."""
    scores, cost, rows = result["scores"], result["cost"], result["data"]["rows"]
    metrics = list(next(iter(scores.values())))
    lines = [f"| prompt | {' | '.join(metric.replace('_', '-') for metric in metrics)} |"]
    lines += ["| --- |" + " --- |" * len(metrics)]
    for method, each in scores.items():
        cells = (f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})" for score in each.values())
        lines.append(f"| {method} | {' | '.join(cells)} |")
    said = (
        f"{result['scored_rows']:,} held-out rows, 95 % confidence intervals over rows, one seed. Tuned on "
        f"{rows['train']:,} rows for {cost['steps']} steps in {cost['seconds']:.0f} s ({cost['device']}, peak memory "
        f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB); {cost['trained_parameters']:,} trained numbers, "
        f"{cost['stored_bytes'] / 1024:.0f} KiB stored; torch {result['versions']['torch']}."
    )
    return "\n".join([*lines, "", said, ""])


if __name__ == "__main__":
    for wanted in sys.argv[1:] or names():
        measure(wanted)

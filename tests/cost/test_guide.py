"""docs/cost.md: its table is what the planner says, its code runs, its price file is read."""

import re
from pathlib import Path

import pytest

from cuetune.cli.cost import _bytes, _short, _time
from cuetune.cost.job import Job, Rates
from cuetune.cost.planner import METHODS, plans
from cuetune.cost.prices import read_prices
from cuetune.cost.shapes import shape_of_size

GUIDE = (Path(__file__).parents[2] / "docs" / "cost.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("size", ["2B", "8B", "70B"])
def test_the_table_is_the_planners(size):
    made = plans(shape_of_size(size), Job(), Rates())
    for plan in made:
        row = next(line for line in GUIDE.splitlines() if line.startswith(f"| {size} | {METHODS[plan.method]} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        factor = plan["flops"] / made[0]["flops"]
        assert cells[2:] == [
            f"{plan['flops']:.2g}",
            f"{factor:.2f}" if factor < 100 else f"{factor:,.0f}",
            _time(plan["gpu_hours"]),
            _short(plan["kwh"]),
            _short(plan["dollars"]),
            _bytes(plan["memory_bytes"]),
            plan.fits[0] if plan.fits else f"{plan['gpus']:.0f} h100s",
            _bytes(plan["task_bytes"]),
        ]


def test_its_code_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "docs/cost.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert f"prints `{printed[-1]}`" in GUIDE
    assert [path.name for path in tmp_path.iterdir()] == ["advantage.png"]


def test_its_price_file_is_read(tmp_path):
    (tmp_path / "prices.toml").write_text(blocks("toml")[0])
    prices = read_prices(tmp_path / "prices.toml")
    assert prices.gpu("h100").usd_per_hour == 2.10
    assert prices.gpu("ours").memory_gib == 48

"""`cuetune cost`: what tuning will cost, by method, before anything runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cuetune.cli import options as o
from cuetune.cli.expand import Fields, Group, option
from cuetune.errors import CuetuneError
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.cost.planner import Plan


@dataclass(frozen=True)
class CostOptions(Group):
    """Which model, which methods, and what is printed."""

    panel: ClassVar[str] = o.MODEL

    params: str | None = option(None, "Size of the model, e.g. 2B, 350M or 1.3e9. Default: 2B.")
    model: str | None = option(None, "Model instead of a size: a bundled model, a local folder or a hub id.")
    method: list[str] | None = option(None, "Methods, comma-separated: {costed}. Default: all.")
    prices: Path | None = option(None, "JSON or TOML file with GPUs and prices. Default: the built-in table.")
    tasks: tuple[int, ...] = option(
        (1, 100, 10_000), "Numbers of tasks to state the stored bytes for, comma-separated."
    )


def cost(
    asked: CostOptions,
    job: Annotated[Any, Fields("cuetune.cost.job:Job", panel="Training")],
    rates: Annotated[Any, Fields("cuetune.cost.job:Rates", ("gpu", "utilisation", "price_per_hour"), panel="Prices")],
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print every formula with its numbers and source.", rich_help_panel=o.OUTPUT),
    ] = False,
    json: o.Json = False,
) -> None:
    """Estimate memory, time, energy, dollars and stored bytes of tuning by each method, before anything runs.

    `cuetune cost --params 8B --examples 10000 --tokens 128`

    `cuetune cost --params 2B --method soft,lora --gpu l4 --explain`
    """
    from cuetune.cost.planner import plans
    from cuetune.cost.prices import Prices, read_prices
    from cuetune.cost.shapes import shape_of_model, shape_of_size

    if asked.params is not None and asked.model is not None:
        raise CuetuneError("--params and --model both say which model; give one of them.")
    if min(asked.tasks) < 1:
        raise CuetuneError(f"--tasks {','.join(map(str, asked.tasks))}: write numbers from 1, e.g. 1,100,10000.")
    shape = shape_of_model(asked.model) if asked.model is not None else shape_of_size(asked.params or "2B")
    rates = rates.model_copy(update={"prices": read_prices(asked.prices) if asked.prices else Prices()})
    made = plans(shape, job, rates, asked.method or (), asked.tasks)
    if json:
        about = {"model": shape.name, "parameters": shape.parameters, "shape": shape.source, "job": job.model_dump()}
        console.show_json({**about, "rates": _rates(rates), "plans": [plan.to_dict() for plan in made]})
        return
    _print(made, shape, job, rates)
    if explain:
        _explain(made)


def _rates(rates: Any) -> dict[str, Any]:
    prices = rates.prices.model_dump(exclude={"gpus"})
    return {**rates.model_dump(exclude={"prices"}), **prices, "gpu_data": rates.prices.gpu(rates.gpu).model_dump()}


def _print(made: "list[Plan]", shape: Any, job: Any, rates: Any) -> None:
    gpu = rates.prices.gpu(rates.gpu)
    price = gpu.usd_per_hour if rates.price_per_hour is None else rates.price_per_hour
    lines = [
        f"{shape.name}: {shape.parameters / 1e9:.3g} billion parameters ({shape.source})",
        f"{job.examples:,} rows of {job.tokens:,} tokens, {job.epochs:g} times, {job.batch_size} rows per step; "
        f"{job.length} virtual tokens, {job.words} label words",
        f"{rates.gpu}: {gpu.peak_tflops:,.0f} TFLOP/s, of which {rates.utilisation:.0%} is assumed to be reached, "
        f"{gpu.watts:g} W, ${price:.2f} an hour ({gpu.source if rates.price_per_hour is None else 'as given'})",
    ]
    for line in lines:
        console.say(line)
    console.show(_run_table(made, rates.gpu))
    console.show(_place_table(made, rates.gpu))


def _run_table(made: "list[Plan]", gpu: str) -> "console.Table":
    from cuetune.cost.planner import METHODS

    first = made[0]["flops"]
    table = console.table(title="one run")
    table.add_column("method")
    for name in ("FLOP", f"x {made[0].method}", "GPU time", f"{gpu}s", "kWh", "USD", "kg CO2"):
        table.add_column(name, justify="right")
    for plan in made:
        factor = plan["flops"] / first
        table.add_row(
            METHODS[plan.method],
            f"{plan['flops']:.2g}",
            f"{factor:.2f}" if factor < 100 else f"{factor:,.0f}",
            _time(plan["gpu_hours"]),
            f"{plan['gpus']:,.0f}",
            _short(plan["kwh"]),
            _short(plan["dollars"]),
            _short(plan["kg_co2"]),
        )
    return table


def _place_table(made: "list[Plan]", gpu: str) -> "console.Table":
    from cuetune.cost.planner import METHODS

    table = console.table(title="memory, and what is kept (a frozen model counted once)")
    table.add_column("method")
    numbers = list(made[0].tasks)
    for name in ("memory", "smallest GPU", *(f"{n:,} task{'s' if n > 1 else ''}" for n in numbers)):
        table.add_column(name, justify="right")
    for plan in made:
        fits = plan.fits[0] if plan.fits else f"{plan['gpus']:,.0f} {gpu}s"
        kept = [_bytes(plan.tasks[n]) for n in numbers]
        table.add_row(METHODS[plan.method], _bytes(plan["memory_bytes"]), fits, *kept)
    return table


def _explain(made: "list[Plan]") -> None:
    from cuetune.cost.formulas import SYMBOLS
    from cuetune.cost.planner import METHODS

    figures = [figure for plan in made for figure in plan.figures.values()]
    used = {symbol: value for figure in figures for symbol, value in figure.used.items()}
    console.say()
    console.say("symbols", style="bold")
    for symbol, meaning in SYMBOLS.items():
        if symbol in used and symbol not in {"S", "t", "a"}:
            console.say(f"  {symbol} = {used[symbol]:.6g}  {meaning}")
    for plan in made:
        console.say()
        console.say(METHODS[plan.method], style="bold")
        for figure in plan.figures.values():
            source = f"  ({figure.source})" if figure.source else ""
            console.say(f"  {figure.name} = {figure.formula}")
            console.say(f"    = {figure.numbers}")
            console.say(f"    = {figure.value:.6g} {figure.unit}{source}")


def _time(hours: float) -> str:
    for unit, size in (("h", 1.0), ("min", 1 / 60)):
        if hours >= size:
            return f"{_short(hours / size)} {unit}"
    return f"{_short(hours * 3600)} s"


def _short(value: float) -> str:
    """Two digits, never in powers of ten: figures that people compare."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.12f}".rstrip("0").rstrip(".")


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.3g} PiB"

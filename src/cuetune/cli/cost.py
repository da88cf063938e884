"""`cuetune cost`: what tuning will cost, by method, before anything runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cuetune.cli import options as o
from cuetune.errors import CuetuneError
from cuetune.support import console

if TYPE_CHECKING:
    from cuetune.cost.planner import Plan


def cost(
    params: Annotated[str | None, typer.Option(help="Size of the model: 2B, 350M, 1.3e9. [default: 2B]")] = None,
    model: Annotated[str | None, typer.Option(help="Or a model: bundled name, local folder or hub id.")] = None,
    examples: Annotated[int, typer.Option(help="Training rows.")] = 10_000,
    tokens: Annotated[int, typer.Option(help="Tokens per row, on average.")] = 128,
    epochs: Annotated[float, typer.Option(help="Passes over the rows.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Rows per step.")] = 16,
    length: Annotated[int, typer.Option(help="Virtual tokens.")] = 20,
    words: Annotated[int, typer.Option(help="Label words.")] = 2,
    rank: Annotated[int, typer.Option(help="Rank of LoRA, on queries and values.")] = 8,
    layer: Annotated[int | None, typer.Option(help="Where a late prompt enters; else two thirds up.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="soft, prefix, late, lora, full, scratch; else all.")] = None,
    gpu: Annotated[str, typer.Option(help="GPU that runs it (see the table of what fits).")] = "h100",
    utilisation: Annotated[float, typer.Option(help="Share of the GPU's peak speed that is reached.")] = 0.4,
    price_per_hour: Annotated[float | None, typer.Option(help="USD per GPU-hour, instead of the list price.")] = None,
    prices: Annotated[Path | None, typer.Option(help="JSON or TOML file with your GPUs and prices.")] = None,
    tasks: Annotated[str, typer.Option(help="Numbers of tasks to state the stored bytes for.")] = "1,100,10000",
    explain: Annotated[
        bool, typer.Option("--explain", help="Print every formula with its numbers and source.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Memory, hours, energy, dollars and stored bytes of tuning by each method, before anything runs.

    `cuetune cost --params 8B --examples 10000 --tokens 128`

    `cuetune cost --params 2B --method soft,lora --gpu l4 --explain`
    """
    from cuetune.cost.job import Job, Rates
    from cuetune.cost.planner import plans
    from cuetune.cost.prices import Prices, read_prices
    from cuetune.cost.shapes import shape_of_model, shape_of_size

    if params is not None and model is not None:
        raise CuetuneError("--params and --model both say which model; give one of them.")
    shape = shape_of_model(model) if model is not None else shape_of_size(params or "2B")
    run = {"examples": examples, "tokens": tokens, "epochs": epochs, "batch_size": batch_size, "length": length}
    job = o.checked(Job, {**run, "words": words, "rank": rank, "layer": layer})
    known = read_prices(prices) if prices else Prices()
    paid = {"gpu": gpu, "utilisation": utilisation, "price_per_hour": price_per_hour, "prices": known}
    rates = o.checked(Rates, paid)
    made = plans(shape, job, rates, o.as_list(method) or (), _numbers(tasks))
    if json:
        said = {"model": shape.name, "parameters": shape.parameters, "shape": shape.source, "job": job.model_dump()}
        plan_list = [plan.to_dict() for plan in made]
        console.show_json({**said, "rates": _rates(rates), "plans": plan_list})
        return
    _print(made, shape, job, rates)
    if explain:
        _explain(made)


def _numbers(tasks: str) -> list[int]:
    try:
        numbers = [int(part) for part in tasks.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise CuetuneError(f"--tasks {tasks!r}: write numbers of tasks from 1, separated by commas, e.g. 1,100,10000.")
    return numbers


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

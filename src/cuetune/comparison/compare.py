"""`compare`: methods side by side on the user's own data, with what each costs. The same in Python and on the CLI."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cuetune.answers import refuse
from cuetune.backbones.base import Backbone
from cuetune.comparison.contenders import CONTENDERS, contenders_of
from cuetune.comparison.plan import Plan
from cuetune.comparison.plots import draw_comparison
from cuetune.comparison.report import (
    REFERENCE,
    Price,
    compared_by,
    markdown,
    summarise,
    title,
    write_json,
    write_text,
)
from cuetune.comparison.runner import NAME, VALIDATION_ROWS, Comparison
from cuetune.cost.prices import Prices, gpu_called
from cuetune.data.task import Task
from cuetune.data.task_inference import describe
from cuetune.errors import CuetuneError
from cuetune.prompts.registry import methods_of
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.support.markdown import plain
from cuetune.tuning.data import Data, prepare
from cuetune.tuning.recording import device_name, versions
from cuetune.tuning.running import backbone_for_rows
from cuetune.tuning.runs.augmentation import COPIES
from cuetune.tuning.settings import Settings


@dataclass(frozen=True)
class Compared:
    """A comparison, finished or not. rows: see `report.summarise`. notes: what the figures rest on, as sentences."""

    folder: Path
    rows: list[dict[str, Any]]
    results: list[dict[str, Any]]
    notes: list[str]
    sizes: tuple[int, ...]
    finished: bool


@alone("to", inside=True, names=(NAME,))
def compare(
    data: Any,
    to: str | Path,
    *,
    methods: Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
    seeds: int = 3,
    steps: int = 100,
    search: bool = True,
    length: int = 20,
    batch_size: int = 16,
    validation: Any = None,
    test: Any = None,
    model: str | Backbone | None = None,
    head_layer: int | None = None,
    augment: str = "none",
    skip_unreadable: bool = False,
    task: Task | str | None = None,
    price_per_hour: float | None = None,
    prices: Prices | None = None,
    watts: float | None = None,
    log: Callable[[str], None] = console.say,
    model_options: dict[str, Any] | None = None,
    **task_options: Any,
) -> Compared:
    """Compare methods on `data`, keep every run in the folder `to`, and write tables and plots there.

    methods: names in `contenders.CONTENDERS` for the rows' modality, or ("all",); None: the usual ones of
    the rows' modality. sizes: numbers of training rows; None: all there are, at most 1,000. Every method sees the same
    rows: training rows drawn anew for each seed, as many validation rows, at most 200, and the same held-out rows.
    Tuned methods have `steps` steps, early stopping, and a search over learning rates. head_layer: the layer whose
    states heads on images read. augment: changes images that are learned from at random, for the probe too, which
    then learns from copies (`tuning.runs.augmentation`). price_per_hour, prices, watts: what time and energy cost here.
    data, validation, test, model, task, skip_unreadable, task_options (and group_by, hold_out): as in `tune`. Calling
    it again with the same arguments goes on where it was stopped; more methods, sizes or seeds add to what is there.
    Raises CuetuneError for anything the user can mend.
    """
    settings = Settings(seed=0)
    made = prepare(data, validation, test, task, settings, model=model, skip_unreadable=skip_unreadable, **task_options)
    comparison = prepared(
        made, to, methods, sizes, model, log, model_options,
        seeds=seeds, steps=steps, search=search, length=length, batch_size=batch_size, watts=watts,
        head_layer=head_layer, augment=augment,
    )  # fmt: skip
    price = price_here(comparison.backbone, price_per_hour, prices)
    for line in (*describe(made.task), *made.notes, *opening(comparison)):
        log(line)
    try:
        comparison.run()
    except KeyboardInterrupt:
        if comparison.results:
            write(comparison, made.source, price, log)
        raise
    return write(comparison, made.source, price, log)


def prepared(
    data: Data,
    to: str | Path,
    methods: Sequence[str] | None,
    sizes: Sequence[int] | None,
    model: str | Backbone | None,
    log: Callable[[str], None],
    model_options: dict[str, Any] | None,
    **plan: Any,
) -> Comparison:
    """A comparison that is ready to run; everything that can be wrong is found before the model is loaded.

    methods: None, the usual ones, and "all" leave out what the model does not take; one that was named is an error.
    """
    modality, splits = data.modality, data.splits
    every = tuple(methods or ()) == ("all",)
    named = tuple(CONTENDERS[modality.name]) if every else tuple(methods or modality.compared)
    if methods and not every:
        for method in {"zero-shot", "few-shot", "calibrated", "nearest"}.intersection(named):
            refuse(data.task, f"{method} (a prompt in words)")
    elif not data.task.answers.in_words:
        named = tuple(name for name in named if CONTENDERS[modality.name][name].family != "words")
    planned = Plan(named, tuple(sizes or (min(1000, len(splits.train)),)), modality=modality.name, **plan)
    backbone = backbone_for_rows(modality, model, model_options or {})
    taken = methods_of(backbone)
    left_out = [name for name in planned.methods if name not in contenders_of(backbone)]
    if left_out and methods and not every:
        raise CuetuneError(
            f"{left_out[0]}: {backbone.identity.name} does not take it; of prompts it takes {', '.join(taken)}."
        )
    planned = replace(planned, methods=tuple(name for name in planned.methods if name not in left_out))
    return Comparison(backbone, data.task, splits, planned, Path(to), log)


def opening(comparison: Comparison) -> list[str]:
    """What is about to happen, for a person."""
    plan, splits = comparison.plan, comparison.splits
    rows = f"{len(splits.train):,} to draw from, {len(splits.validation):,} to choose on, {len(splits.test):,} held out"
    return [
        f"{len(plan.methods)} methods, {', '.join(f'{size:,}' for size in plan.sizes)} training rows, {plan.seeds} "
        f"seeds: {len(comparison.runs)} runs of at most {plan.steps} steps on {comparison.backbone.identity.name}",
        f"rows: {rows}",
    ]


def price_here(backbone: Backbone, per_hour: float | None = None, prices: Prices | None = None) -> Price:
    """What this machine costs: as given, a GPU's list price, or for a processor the electricity alone."""
    prices = prices or Prices()
    if per_hour is not None:
        return Price(per_hour, prices.usd_per_kwh, f"Dollars: {per_hour:g} an hour, as given.")
    gpu = gpu_called(device_name(backbone)) if backbone.device.type == "cuda" else None
    if gpu is not None:
        return Price(gpu.usd_per_hour, prices.usd_per_kwh, f"Dollars: {gpu.usd_per_hour:g} an hour ({gpu.source}).")
    note = f"Dollars: electricity alone, at {prices.usd_per_kwh:g} per kWh; --price-per-hour counts a rented machine."
    return Price(None, prices.usd_per_kwh, note)


def write(comparison: Comparison, source: str, price: Price, log: Callable[[str], None]) -> Compared:
    """Write `results.json`, `table.md` and, where matplotlib is there, the plots."""
    results, trials = comparison.results, comparison.trials
    plan, folder = comparison.plan, comparison.folder
    rows = summarise(results, plan.sizes, trials, price)
    finished = len(results) == len(comparison.runs)
    notes = _notes(comparison, results, price, finished)
    made = {
        "source": source,
        "model": comparison.backbone.identity.to_dict(),
        "device": device_name(comparison.backbone),
        "versions": versions(),
        "task": comparison.task.to_dict(),
        "plan": asdict(plan),
        "finished": finished,
        "notes": notes,
    }
    write_json(folder / "results.json", {**made, "rows": rows, "runs": results, "trials": trials})
    heading = f"{source} on {comparison.backbone.identity.name}"
    write_text(folder / "table.md", markdown(rows, plain(heading), notes))
    try:
        draw_comparison(folder, rows, results)
    except CuetuneError as error:
        log(f"no plots: {error}")
    return Compared(folder, rows, results, notes, plan.sizes, finished)


def _named(task: Task) -> str:
    """The scores of a table, as the beginning of a sentence."""
    named = {"multi-label": "Micro-F1, macro-F1 and subset accuracy", "regression": "Correlations and errors"}
    return named.get(task.answers.kind, "Accuracy and macro-F1")


def _notes(comparison: Comparison, results: Sequence[dict[str, Any]], price: Price, finished: bool) -> list[str]:
    plan, splits = comparison.plan, comparison.splits
    energy = next((result["energy_note"] for result in results if result["energy_note"]), "nothing was trained.")
    notes = [
        f"{_named(comparison.task)} on {len(splits.test):,} held-out rows, mean over {plan.seeds} seeds (draws of "
        "training rows and random starts) with 95 % confidence intervals over seeds (Student's t); held-out rows are "
        "the same for all. Each run chooses on as many validation rows as it has training rows, at most "
        f"{VALIDATION_ROWS}.",
        f"Tuned methods: at most {plan.steps} steps of {plan.batch_size} rows with early stopping; ↑ marks methods "
        "that were still getting better when the budget ended.",
        f"Training seconds, operations and energy are of one run on {device_name(comparison.backbone)}, validation "
        "included, the search over learning rates not. Memory: the frozen model and what the run needs beside it. "
        "Stored: per task, beside the frozen model. Latency: one row alone.",
        f"Energy is {energy}",
        price.note,
    ]
    if REFERENCE in plan.methods:
        metric = title(compared_by(results[0]["scores"])) if results else "accuracy"
        notes[0] += f" Over the probe: the difference in {metric} on the same draw of rows, its mean over draws."
    if plan.augment != "none":
        notes[1] += (
            f" In every step images are changed at random ({plan.augment.replace(',', ', ')}); a probe learns from "
            f"each image and {COPIES} changed copies."
        )
    if plan.search:
        notes.insert(2, f"Learning rates: tried with {plan.trial_steps} steps on the first seed of each size.")
    return notes if finished else [*notes, "Not finished: the same command goes on."]

"""`worth`: how many labelled rows a prompt saves against another method, measured on the user's own data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cuetune.answers import refuse
from cuetune.backbones.loading import DEFAULT
from cuetune.backbones.text import TextBackbone
from cuetune.comparison.compare import Compared, opening, prepared, price_here, write
from cuetune.comparison.contenders import TEXT_CONTENDERS
from cuetune.comparison.data_advantage import Advantage, advantage, plot_curves
from cuetune.comparison.report import score, write_json, write_text
from cuetune.comparison.runner import NAME
from cuetune.data.task import Task
from cuetune.data.task_inference import describe
from cuetune.errors import CuetuneError
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.data import prepare
from cuetune.tuning.settings import Settings

SIZES = (10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Worth:
    """The answer: `advantage.sentence` says it in words. scores: by method, one list of runs for each of `sizes`."""

    advantage: Advantage
    sizes: tuple[int, ...]
    scores: dict[str, list[list[float]]]
    compared: Compared


@alone("to", inside=True, names=(NAME,))
def worth(
    data: Any,
    to: str | Path,
    *,
    method: str = "soft",
    against: str = "linear-probe",
    sizes: Sequence[int] = SIZES,
    seeds: int = 4,
    steps: int = 100,
    search: bool = True,
    length: int = 20,
    batch_size: int = 16,
    validation: Any = None,
    test: Any = None,
    model: str | TextBackbone = DEFAULT,
    task: Task | str | None = None,
    skip_unreadable: bool = False,
    watts: float | None = None,
    log: Callable[[str], None] = console.say,
    model_options: dict[str, Any] | None = None,
    **task_options: Any,
) -> Worth:
    """Learning curves of two methods over training sizes, and what the first is worth against the second in rows.

    The runs are those of `compare`, with its arguments; `worth.json`, `worth.md` and `worth.png` come beside its files.
    For the definition see `evaluation.advantage`. Raises CuetuneError for anything the user can mend.
    """
    for name in (method, against):
        if name in TEXT_CONTENDERS and not TEXT_CONTENDERS[name].uses_train:
            raise CuetuneError(f"{name} uses no training rows, so it has no learning curve; choose another method.")
    sizes = tuple(sorted(set(sizes)))
    if method == against or len(sizes) < 2:
        raise CuetuneError("worth needs two different methods and two or more --sizes.")
    made = prepare(
        data, validation, test, task, Settings(seed=0), model=model, skip_unreadable=skip_unreadable, **task_options
    )
    refuse(made.task, "worth")
    comparison = prepared(
        made, to, (method, against), sizes, model, log, model_options,
        seeds=seeds, steps=steps, search=search, length=length, batch_size=batch_size,
        watts=watts,
    )  # fmt: skip
    for line in (*describe(made.task), *made.notes, *opening(comparison)):
        log(line)
    comparison.run()
    compared = write(comparison, made.source, price_here(comparison.backbone), log)
    return conclude(compared, method, against, log)


def conclude(compared: Compared, method: str, against: str, log: Callable[[str], None] = console.say) -> Worth:
    """What `method` is worth against `against` by the runs of a comparison; written beside them."""
    scores = {name: scores_of(compared, name) for name in (against, method)}
    found = advantage(compared.sizes, scores[against], scores[method], name_a=against, name_b=method)
    made = Worth(found, compared.sizes, scores, compared)
    folder = compared.folder
    answer = {"method": method, "against": against, "metric": "accuracy", "sizes": compared.sizes, "scores": scores}
    write_json(folder / "worth.json", {**answer, **asdict(found)})
    write_text(folder / "worth.md", _markdown(made, method, against))
    try:
        drawn = [scores[against], scores[method]]
        plot_curves(
            folder / "worth.png", compared.sizes, *drawn, name_a=against, name_b=method, metric="accuracy, held-out"
        )
    except CuetuneError as error:
        log(f"no plot: {error}")
    return made


def scores_of(compared: Compared, method: str) -> list[list[float]]:
    """(m, runs) accuracy of each run, by size and seed; NaN where a run is missing."""
    seen = {
        (run["size"], run["seed"]): run["scores"]["accuracy"] for run in compared.results if run["method"] == method
    }
    seeds = sorted({seed for _, seed in seen})
    return [[seen.get((size, seed), math.nan) for seed in seeds] for size in compared.sizes]


def _markdown(made: Worth, method: str, against: str) -> str:
    rows = {(row["method"], row["size"]): score(row["accuracy"]) for row in made.compared.rows}
    lines = [f"| training rows | {method} | {against} |", "| ---: | ---: | ---: |"]
    lines += [f"| {size:,} | {rows[method, size]} | {rows[against, size]} |" for size in made.sizes]
    about = (
        "Accuracy on held-out rows, mean over seeds with 95 % confidence interval. Worth in rows: the data advantage "
        "of Le Scao and Rush (2021) between the best scores of any run with so many rows or fewer; ± is its standard "
        "deviation when one run of each method is held out."
    )
    return "\n\n".join([f"# {made.advantage.sentence}", "\n".join(lines), about]) + "\n"

"""A new task from what others share: P* with the mean of their u and v, tuned at two speeds (MPT 2023, section 3.3)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cuetune.api.tune import tune
from cuetune.backbones.registry import text_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.library.tuned import TunedPrompt
from cuetune.library.universal import UniversalPrompt
from cuetune.support import console
from cuetune.tuning.settings import Settings


def adapt(
    universal: str | Path,
    data: Any,
    to: str | Path,
    *,
    train_rows: int | None = None,
    draws: int = 1,
    model: str | TextBackbone | None = None,
    settings: Settings | None = None,
    shared: bool = True,
    log: Callable[[str], None] = console.say,
    model_options: dict[str, Any] | None = None,
    **options: Any,
) -> Sequence[TunedPrompt]:
    """Adapt a universal prompt to a new task and save a soft prompt that needs nothing else.

    train_rows: how many labelled rows to learn from, drawn label by label (few-shot); else all. draws: how often to
    draw them; more than one are saved as TO/draw-0, TO/draw-1, … shared: whether P* is trained too, or only the task's
    own u and v. options: as of `tune`. Returns a tuned prompt for each draw. After a stop the same call goes on: draws
    that are finished stay.
    """
    if draws > 1 and train_rows is None:
        raise CuetuneError("--draws repeats a draw of few rows; say how many with --train-rows.")
    settings = settings or Settings()
    settings = settings.model_copy(update={"prompt_options": {**settings.prompt_options, "frozen": not shared}})
    saved = UniversalPrompt.load(universal)
    backbone = text_backbone(model or saved.backbone.name, **(model_options or {}))
    target = Path(to)
    places = [target] if draws == 1 else [target / f"draw-{number}" for number in range(draws)]
    common: dict[str, Any] = {"prompt": "multitask", "start": universal, "train_rows": train_rows, "model": backbone}
    made: list[TunedPrompt] = []
    for number, place in enumerate(places):
        made.append(tune(data, place, settings=settings, drawn=number, log=log, again=draws > 1, **common, **options))
        if made[-1].record["stopped"] == "interrupted":
            break
    return made

"""`fix`: mistakes are corrected with new components; what the prompt was stays as it is, and nothing keeps the rows.

A fix takes the frozen model, the saved prompt and the corrections, and nothing else. Where it acts follows from the
rows' queries (`gating`), what it does there is learned (`learning`). Nothing is written before the corrected prompt
stands: no checkpoint, no log, no copy of a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.backbones.registry import load_backbone
from cuetune.backbones.text import TextBackbone
from cuetune.data.reading import read_rows
from cuetune.data.row import Example
from cuetune.errors import CuetuneError
from cuetune.library.digest import digest
from cuetune.library.names import VERSION
from cuetune.library.saving import check_replaceable
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.correcting.gating import gate_of, space_of
from cuetune.methods.correcting.learning import Learning, first_components
from cuetune.methods.correcting.measuring import Fixed, measured
from cuetune.methods.correcting.mistakes import Corrections, check_correctable, read_corrections, sorted_out, without
from cuetune.methods.correcting.written import written_rows
from cuetune.prediction.edited import queries_for
from cuetune.prediction.text import Predictor
from cuetune.prompts.corrected import CorrectedPrompt
from cuetune.support import console
from cuetune.support.locking import alone
from cuetune.tuning.loop import Tuner
from cuetune.tuning.progress import Bar, Reporter
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings

STEPS, LENGTH, BATCH = 20, 2, 32


@alone("to", "prompt")
def fix(
    prompt: str | Path,
    corrections: Any,
    *,
    to: str | Path | None = None,
    eval_data: Any = None,
    model: str | TextBackbone | None = None,
    steps: int = STEPS,
    length: int = LENGTH,
    seed: int = 0,
    overwrite: bool = False,
    encoding: str = "utf-8",
    log: Callable[[str], None] = console.say,
    reporters: Sequence[Reporter] | None = None,
    model_options: dict[str, Any] | None = None,
) -> Fixed:
    """Correct a saved prompt's mistakes, and save it in its own place or at `to`.

    corrections: rows with the label that is right (see `read_rows`). What is answered right already is not learned, but
    the fix must leave it right. eval_data: labelled rows to score before and after; corrections among them are left
    out. length: positions of each component. Raises CuetuneError, and changes nothing, for what does not fit.
    """
    folder, target = Path(prompt), Path(prompt if to is None else to)
    before = TunedPrompt.load(folder)
    check_correctable(before, str(prompt))
    _check_target(target, before if to is None else None, overwrite)
    examples = read_corrections(corrections, before.task, encoding)
    scored = [] if eval_data is None else without(_labelled(eval_data, before, encoding), examples)
    backbone = _backbone(before, model, str(prompt), model_options or {})
    found = sorted_out(examples, list(before.predictor(backbone).predict(examples)))
    log(_found(found))
    watching = [Bar("fixing")] if reporters is None else reporters
    whole = learned(backbone, before, found, length, updates(steps, seed), watching)
    fixed = measured(before, replace(before, prompt=whole), backbone, found, scored, folder.name)
    fixed.tuned.save(target, overwrite=True)
    return fixed


def updates(steps: int, seed: int) -> Settings:
    """How the components of a fix are learned."""
    return Settings(steps=steps, batch_size=BATCH, warmup=min(5, steps // 2), seed=seed)


def learned(
    backbone: TextBackbone,
    before: TunedPrompt,
    found: Corrections,
    length: int,
    settings: Settings,
    reporters: Sequence[Reporter] = (),
) -> CorrectedPrompt:
    """The prompt with one more fix for these mistakes. Raises KeyboardInterrupt where it is stopped."""
    whole = _begun(backbone, before, found, length, settings.seed)
    anchors = _reached(backbone, before, whole, found.right)
    rows = TaskData(before.task, [*found.mistakes, *anchors])
    learning = Learning(whole)
    tuner = Tuner(backbone, learning, rows, settings.resolved(backbone, len(rows.train), learning), reporters=reporters)
    if tuner.run().progress.stopped == "interrupted":
        raise KeyboardInterrupt
    return whole.requires_grad_(True).cpu()  # type: ignore[return-value]


def _begun(backbone: TextBackbone, before: TunedPrompt, found: Corrections, length: int, seed: int) -> CorrectedPrompt:
    """Keys and thresholds, and components as they are before the first step."""
    former, reader = before.prompt, Predictor(backbone, before.task, before.prompt)
    given = [*found.mistakes, *found.right]
    written = queries_for(reader, [*given, *written_rows(backbone, before.task, given, seed=seed)])
    own = written[: len(found.mistakes)]
    gate = gate_of(space_of(written[len(given) :], own), own, [str(each.label) for each in found.mistakes], seed)
    if isinstance(former, CorrectedPrompt):
        base, earlier, length = former.base, former.each, former.each[0].length
    else:
        base, earlier = former, []
    new = first_components(backbone, before.task, gate, length)
    return CorrectedPrompt(base, [*earlier, new])


def _reached(
    backbone: TextBackbone, before: TunedPrompt, whole: CorrectedPrompt, examples: Sequence[Example]
) -> list[Example]:
    """Those of the examples that the last fix acts on."""
    if not examples:
        return []
    reader = Predictor(backbone, before.task, before.prompt)
    acts = whole.weights_at(queries_for(reader, examples))[-1].amax(dim=1) > 0
    return [example for example, reached in zip(examples, acts.tolist(), strict=True) if reached]


def _check_target(target: Path, replaced: TunedPrompt | None, overwrite: bool) -> None:
    """Whatever would refuse the corrected prompt refuses it before anything is learned."""
    if replaced is None and target.exists() and not overwrite:
        raise CuetuneError(f"{target}: exists already; choose another place or pass overwrite (--overwrite).")
    if replaced is not None and VERSION.fullmatch(target.name) and digest(replaced).startswith(target.name):
        raise CuetuneError(
            f"{target}: is a version in a library, and versions never change; give --to FOLDER, then "
            "`cuetune library add` it."
        )
    check_replaceable(target)


def _labelled(source: Any, tuned: TunedPrompt, encoding: str) -> list[Example]:
    return [tuned.task.example(row) for row in read_rows(source, encoding=encoding)]


def _backbone(
    tuned: TunedPrompt, model: str | TextBackbone | None, where: str, options: dict[str, Any]
) -> TextBackbone:
    """The frozen model that the prompt was made for. Raises CuetuneError for another, or one that writes no text."""
    if isinstance(model, TextBackbone):
        backbone: Any = model
    else:
        known = {"revision": tuned.backbone.revision, "reads": "text"}
        backbone = load_backbone(model or tuned.model, **{**known, **options})
    tuned.backbone.check(backbone.identity, where)
    if not (isinstance(backbone, TextBackbone) and backbone.writes and backbone.causal):
        raise CuetuneError(f"{where}: corrections need a causal language model, and {backbone.identity.name} is none.")
    return backbone


def _found(found: Corrections) -> str:
    """What there is to correct, in one line."""
    already = f"; {len(found.right)} answered right already, which must stay so" if found.right else ""
    return f"{len(found.mistakes)} mistakes to correct{already}"

"""`roll_back`: the prompt as it was before its last fix, bit by bit."""

from dataclasses import replace
from pathlib import Path

from cuetune.errors import CuetuneError
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts.corrected import CorrectedPrompt
from cuetune.support.locking import alone


@alone("to", "prompt")
def roll_back(prompt: str | Path, *, to: str | Path | None = None, overwrite: bool = False) -> TunedPrompt:
    """Take the last fix back, and save the former prompt in its place or at `to`, with the record that it had.

    Raises CuetuneError where nothing was fixed, or where what comes out is not the prompt that was fixed.
    """
    saved = TunedPrompt.load(prompt)
    if not isinstance(saved.prompt, CorrectedPrompt):
        raise CuetuneError(f"{prompt}: nothing was fixed in it, so there is nothing to take back.")
    former = replace(saved, prompt=saved.prompt.former, record=saved.record.get("former", {}))
    expected = {each["digest"] for each in saved.record.get("lineage", []) if each["relation"] == "corrected from"}
    if expected and digest(former) not in expected:
        raise CuetuneError(
            f"{prompt}: what is left without its last fix is not the prompt that was fixed; the folder was altered, so "
            "it stays as it is. Take the former prompt from a copy."
        )
    former.save(Path(prompt if to is None else to), overwrite=overwrite or to is None)
    return former

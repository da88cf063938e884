"""A tuned prompt: what users keep. The prompt, what it is asked, the backbone it belongs to, and where it came from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cuetune.backbones.identity import BackboneIdentity
from cuetune.prompts import Prompt
from cuetune.tasks.task import Task

UNKNOWN_BACKBONE = "unknown"  # the name of the backbone of a PEFT folder that does not say it


@dataclass(frozen=True)
class TunedPrompt:
    """prompt, task and backbone identity, and the record of how it was made.

    record: data fingerprint, settings as actually used, versions, seed, scores with intervals, cost; JSON values in the
    shape of `library.record.Record`, any part of which may be missing. Holds no training example, but a hard prompt
    consists of the words of its demonstrations.
    origin: "cuetune", or "peft" for a folder that PEFT wrote.
    """

    prompt: Prompt
    task: Task
    backbone: BackboneIdentity
    record: dict[str, Any] = field(default_factory=dict)
    origin: str = "cuetune"

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the folder, whole or not at all; see `library.saving`."""
        from cuetune.library.saving import save

        return save(self, Path(folder), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path, task: Task | None = None) -> "TunedPrompt":
        """Read a folder of cuetune or PEFT, checking everything; never runs code. See `library.loading`."""
        from cuetune.library.loading import load

        return load(Path(folder), task)

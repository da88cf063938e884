"""A tuned prompt: what users keep, save and load."""

from pathlib import Path

from cuetune.data.task import Task
from cuetune.library.contents import PromptContents
from cuetune.library.loading import load
from cuetune.library.saving import save


class TunedPrompt(PromptContents):
    """A prompt with its task and head, which is saved to a folder and loaded from one."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the folder, whole or not at all; see `library.saving`."""
        return save(self, Path(folder), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path, task: Task | None = None) -> "TunedPrompt":
        """Read a folder of cuetune or PEFT, checking everything; never runs code. See `library.loading`."""
        return load(Path(folder), task, cls)

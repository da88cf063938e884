"""What makes two prompts the same one: a SHA-256 of their content, whatever is recorded of how they were made."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from cuetune.library.record import RECORD, PromptFile

if TYPE_CHECKING:
    from cuetune.library.contents import PromptContents


def digest(tuned: "PromptContents") -> str:
    """SHA-256 (hex) of prompt, head, task and backbone: the same before saving and after loading.

    Scores, cost, lineage and whatever else is recorded do not count. Raises CuetuneError for what could not be saved.
    """
    from cuetune.library.saving import contents

    return digest_of(PromptFile.model_validate(json.loads(contents(tuned, Path(tuned.task.name))[RECORD])))


def digest_of(saved: PromptFile) -> str:
    """The same from cuetune.json alone, which names the SHA-256 of every file of numbers.

    Keys at their defaults do not count, so that a key which a later version adds leaves earlier digests as they are.
    """
    content = saved.model_dump(mode="json", exclude={"format", "record"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

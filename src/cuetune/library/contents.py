"""What is kept of a tuned prompt: the prompt, its task, the backbone it belongs to, and where it came from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cuetune.backbones.identity import BackboneIdentity
from cuetune.backbones.loading import model_folder
from cuetune.data.task import Task
from cuetune.prediction.registry import predictor_for
from cuetune.prompts import Prompt
from cuetune.readouts import Head

if TYPE_CHECKING:
    from cuetune.backbones.base import Backbone
    from cuetune.backbones.generation import Writing
    from cuetune.data.skip_report import Skipped
    from cuetune.prediction.base import BasePredictor

UNKNOWN_BACKBONE = "unknown"  # the name of the backbone of a PEFT folder that does not say it


@dataclass(frozen=True)
class PromptContents:
    """prompt, task and backbone identity, and the record of how it was made.

    record: data fingerprint, settings as actually used, versions, seed, scores with intervals, cost; JSON values in the
    shape of `library.record.Record`, any part of which may be missing. Holds no training example, but a hard prompt
    consists of the words of its demonstrations.
    origin: "cuetune", or "peft" for a folder that PEFT wrote.
    head: the classifier that was trained with the prompt; None where answers are words of the model's vocabulary.
    """

    prompt: Prompt
    task: Task
    backbone: BackboneIdentity
    record: dict[str, Any] = field(default_factory=dict)
    origin: str = "cuetune"
    head: Head | None = None

    @property
    def n_trained(self) -> int:
        """How many numbers were learned, the head's included."""
        return self.prompt.n_trained + (self.head.n_trained if self.head else 0)

    @property
    def model(self) -> str:
        """Where the model is looked for: the folder that the record names, if there is one here; else its name."""
        given = self.record.get("model")
        if isinstance(given, str) and not Path(given).is_absolute() and model_folder(given) is not None:
            return given
        return self.backbone.name

    def other_precision(self, backbone: "Backbone") -> str | None:
        """What to say where a backbone runs in another precision than the prompt was tuned in; None where it does not.

        The weights are the same, rounded in another way: answers may differ by that rounding.
        """
        tuned_in = (self.record.get("settings") or {}).get("dtype")
        running = str(backbone.dtype).removeprefix("torch.")
        if not self.prompt.n_trained or tuned_in in (None, running):
            return None
        name = backbone.identity.name
        return f"tuned in {tuned_in}, and {name} runs in {running} here; --dtype {tuned_in} runs it as it was."

    def predictor(
        self, backbone: "Backbone", writing: "Writing | None" = None, skipped: "Skipped | None" = None
    ) -> "BasePredictor":
        """This prompt ready to answer on its backbone. Raises CuetuneError where they do not fit.

        skipped: counts rows whose content cannot be read; they get no answer.
        """
        return predictor_for(backbone, self.task, self.prompt, self.head, writing=writing, skipped=skipped)


Kept = TypeVar("Kept", bound=PromptContents)

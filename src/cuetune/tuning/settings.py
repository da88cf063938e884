"""Settings of a run: what the user may turn, and what follows from the data and the backbone when it is left alone."""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:  # help texts are made of this class, and should not wait for torch
    from torch import Tensor

    from cuetune.backbones.base import Backbone
    from cuetune.prompts.base import Prompt

Augment = Literal["none", "crop", "flip", "crop,flip"]
PROMPT: dict[str, Any] = {"panel": "Prompt"}  # where the help lists a field that is of the prompt

# AdamW moves each number by about the learning rate per step, so a step is stated relative to the size of the numbers
# it moves: for virtual tokens the root mean square of the embedding table (SmolLM2: 0.136, so 0.01).
RATE_PER_RMS = 0.075
# A head's step is stated by what it does: how far it can move a logit at the usual rate of the prompt beside it. From a
# probe, steps of 1 lead away from the answers first, and a run has to come back (benchmarks, "Images").
LOGIT_STEP = {"random": 1.0, "probe": 0.1}


class Settings(BaseModel):
    """How a prompt is tuned. None means "follows from data and backbone"; `resolved` fills those in.

    Each field is also an option of `cuetune tune` and a key of its config file; the description is its help.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt_options: dict[str, str | bool | int | float] = Field(
        default_factory=dict,
        description="Option of this kind of prompt (docs/prompts.md), as name=value. Repeatable.",
        examples=["rank=64"],
        json_schema_extra={**PROMPT, "flag": "--prompt-option"},
    )
    init: str = Field(
        "text", description="Initial virtual tokens: text, labels, vocabulary or random.", json_schema_extra=PROMPT
    )
    init_text: str | None = Field(
        None, description="Text for --init text. Default: the instruction.", json_schema_extra=PROMPT
    )
    length: int = Field(20, ge=1, le=4096, description="Number of virtual tokens.", json_schema_extra=PROMPT)
    readout: str = Field(
        "auto",
        description="How labels are read: words (of the vocabulary), head (a trained linear head), classes (of an "
        "image classifier) or auto.",
        json_schema_extra=PROMPT,
    )
    pooling: str | None = Field(
        None,
        description="State that a head reads: first, last or mean. Default: by the model.",
        json_schema_extra=PROMPT,
    )
    head_layer: int | None = Field(
        None, ge=1, description="Layer whose input an image head reads. Default: the final states.",
        json_schema_extra=PROMPT,
    )  # fmt: skip
    head_init: Literal["probe", "random"] = Field(
        "probe", description="Initial weights of a head, from a linear probe on the frozen model or random.",
        json_schema_extra=PROMPT,
    )  # fmt: skip
    augment: Augment = Field("none", description="Random changes of training images at every step.")
    steps: int | None = Field(
        None, ge=1, description="Training steps. Default: two passes over the data, at least 60 and at most 400."
    )
    batch_size: int = Field(16, ge=1, description="Rows per step.")
    learning_rate: float | None = Field(
        None, gt=0, description="Peak learning rate of AdamW. Default: scaled by the embedding norm."
    )
    warmup: int | None = Field(None, ge=0, description="Steps of linear warmup. Default: 10, at most steps / 4.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Maximum gradient norm.")
    evaluate_every: int | None = Field(
        None, ge=1, description="Steps between validations. Default: steps / 8, at least 10."
    )
    patience: int = Field(5, ge=1, description="Stop after this many validations without improvement.")
    validation_rows: int = Field(256, ge=1, description="Maximum number of rows per validation.")
    checkpoint_every: int = Field(10, ge=1, description="Steps between checkpoints.")
    gradient_checkpointing: bool = Field(False, description="Less memory, about a third more time.")
    compile: bool = Field(False, description="Compile the model's layers with torch.compile.")
    seed: int = Field(0, description="Random seed of splits, row order and initialisation.")

    def resolved(self, backbone: "Backbone", n_train: int, prompt: "Prompt | None" = None) -> "Settings":
        """These settings with every None filled in: two passes over the data, but 60 to 400 steps."""
        embedding_size = embedding_rms(backbone)
        size = embedding_size if prompt is None else prompt.size(embedding_size)
        steps = self.steps or min(400, max(60, math.ceil(2 * n_train / self.batch_size)))
        return self.model_copy(
            update={
                "steps": steps,
                "batch_size": min(self.batch_size, n_train),
                "learning_rate": self.learning_rate or float(f"{RATE_PER_RMS * size:.3g}"),
                "warmup": self.warmup if self.warmup is not None else min(10, steps // 4),
                "evaluate_every": self.evaluate_every or max(10, steps // 8),
            }
        )

    def head_rate(self, backbone: "Backbone", prompt: "Prompt", states: "Tensor") -> float:
        """The learning rate of a trained head on states (B, d) like these, relative to the prompt's."""
        usual = RATE_PER_RMS * prompt.size(embedding_rms(backbone))
        return LOGIT_STEP[self.head_init] / (float(states.abs().sum(-1).mean()) * usual)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …: a linear rise over `warmup` steps, then half a cosine down to zero."""
        assert self.steps is not None
        assert self.learning_rate is not None
        assert self.warmup is not None
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def embedding_rms(backbone: "Backbone") -> float:
    """Root mean square of the embedding table's numbers, over an even sample of its rows."""
    table = backbone.embedding_table()
    return float(table[:: max(1, table.shape[0] // 5000)].float().pow(2).mean().sqrt())

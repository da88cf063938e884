"""Settings of a run: what the user may turn, and what follows from the data and the backbone when it is left alone."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from cuetune.backbones.base import Backbone
from cuetune.prompts.base import Prompt

# AdamW moves each number by about the learning rate per step, so a step is stated relative to the size of the numbers
# it moves: for virtual tokens the root mean square of the embedding table (SmolLM2: 0.136, so 0.01).
RATE_PER_RMS = 0.075
# A head's step is stated by what it does: how far it can move a logit at the usual rate of the prompt beside it. From a
# probe, steps of 1 lead away from the answers first, and a run has to come back (benchmarks, "Pictures").
LOGIT_STEP = {"random": 1.0, "probe": 0.1}


Augment = Literal["none", "crop", "flip", "crop,flip"]


class Settings(BaseModel):
    """How a prompt is tuned. None means "follows from data and backbone"; `resolved` fills those in.

    init, init_text, length: where the prompt starts and how many virtual tokens it has. prompt_options: what only this
    kind of prompt has, e.g. {"rank": 64} (see `prompts.building`).
    readout, pooling: how answers are read (see `readouts.readout_for`); a head is trained with the prompt.
    head_init: where a head begins, as a linear probe on the frozen model or at random (see `tuning.head_start`).
    head_layer: a head on pictures reads the states that enter this layer; None reads the final ones.
    augment: how pictures that are learned from are changed at random in every step (see `tuning.runs.augmentation`).
    steps, batch_size: how long and how many rows at a time. learning_rate: AdamW's, reached after `warmup` steps and
    then lowered along a cosine to zero. clip: largest gradient norm. evaluate_every, patience: validation every so many
    steps, and after how many without a better score to stop. validation_rows: at most so many are scored each time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    init: str = "text"
    init_text: str | None = None
    length: int = Field(20, ge=1, le=4096)
    prompt_options: dict[str, str | bool | int | float] = Field(default_factory=dict)
    readout: str = "auto"
    pooling: str | None = None
    head_layer: int | None = Field(None, ge=1)
    augment: Augment = "none"
    head_init: Literal["probe", "random"] = "probe"
    steps: int | None = Field(None, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    warmup: int | None = Field(None, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0)
    evaluate_every: int | None = Field(None, ge=1)
    patience: int = Field(5, ge=1)
    validation_rows: int = Field(256, ge=1)
    checkpoint_every: int = Field(10, ge=1)
    gradient_checkpointing: bool = False
    compile: bool = False
    seed: int = 0

    def resolved(self, backbone: Backbone, n_train: int, prompt: Prompt | None = None) -> "Settings":
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

    def head_rate(self, backbone: Backbone, prompt: Prompt, states: Tensor) -> float:
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


def embedding_rms(backbone: Backbone) -> float:
    """Root mean square of the embedding table's numbers, over an even sample of its rows."""
    table = backbone.embedding_table()
    return float(table[:: max(1, table.shape[0] // 5000)].float().pow(2).mean().sqrt())

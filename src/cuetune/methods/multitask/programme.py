"""What multitask tuning has beside the settings of a run."""

from pydantic import BaseModel, ConfigDict, Field


class Programme(BaseModel):
    """The defaults are the published ones. Each field with a description is an option of `cuetune multitask train`.

    answers, states: which terms of the distillation to use. noise: of u and v (`MultitaskPrompt`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    distil: bool = Field(True, description="Tune a teacher prompt per task first, and distil from it.")
    weight: float = Field(0.9, ge=0, description="Weight of the distillation loss (λ).")
    answers: bool = True
    states: bool = True
    mixing: str = Field("proportional", description="Sampling of tasks: {mixings}.")
    stochastic: bool = Field(True, description="Sample the tasks of each batch. Otherwise every batch has all tasks.")
    rank: int = Field(1, ge=0, description="Rank of each task's own factors; 0 for none.")
    noise: float = Field(0.0, ge=0)
    teacher_steps: int | None = Field(
        None, ge=1, description="Training steps per teacher. Default: as in `cuetune tune`."
    )

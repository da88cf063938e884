"""The files of a saved prompt, and the shape of cuetune.json: what it carries beside its tensors, how it was made.

`TunedPrompt.record` is the JSON form of `Record`. Whatever is saved is checked against these shapes, and whatever is
loaded too, so that everything downstream (card, `show`, serving) can rely on them.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cuetune.visible import one_line

FORMAT = 2  # of cuetune.json; a folder with a higher number asks for a newer cuetune
FIRST = 1  # what is written where an older cuetune can read the folder: 2 brought tasks that say their kind

# The files of a saved prompt's folder.
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECORD = "cuetune.json"
STATE = "prompt.safetensors"  # only for kinds whose state is more than the tensor that PEFT knows
HEAD = "head.safetensors"  # only where a head was trained with the prompt
CARD = "README.md"
OURS = {WEIGHTS, CONFIG, RECORD, STATE, HEAD, CARD}
HARMLESS = {".DS_Store", ".gitattributes"}  # left by file browsers and the hub, worth nothing to anyone

Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
Depth = Annotated[int, Field(ge=0, le=10_000)]  # layers, heads: of what is looped over
Width = Annotated[int, Field(ge=0, le=2**20)]  # numbers of a state


class Shape(BaseModel):
    """Exact types, finite numbers, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Open(Shape):
    """A shape that later versions may add measurements to: unknown keys are kept."""

    model_config = ConfigDict(extra="allow")


class Score(Open):
    """One metric of one method with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Data(Open):
    """What was tuned on: a name (never a path), a SHA-256 over the examples, rows of "train", "validation", "test"."""

    source: str
    fingerprint: str
    rows: dict[str, Count]


class Cost(Open):
    """What tuning took. tflop: 10^12 operations of all but validation, which has its own number; older prompts have a
    formula's and none. tokens: those of the steps; device: its name for a reader.
    """

    seconds: float
    steps: Count
    tokens: Count
    tflop: float
    validation_tflop: float = 0.0
    peak_memory_bytes: Count
    device: str
    stored_bytes: Count
    trained_parameters: Count


class Ancestor(Shape):
    """A prompt that this one was made from: what it is called, and the digest of its content (`library.digest`)."""

    relation: Literal["started from", "distilled from", "shared prompt of", "moved from", "corrected from"]
    name: str
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Fix(Open):
    """One fix of a prompt. rows: mistakes that it was made for, of which `corrected` were answered right afterwards.

    right: corrections that were right already, of which `kept` stayed so. Nothing is kept of the rows themselves.
    """

    created: str
    rows: Size
    corrected: Count
    right: Count
    kept: Count


class Record(Open):
    """How a prompt was made. Every part may be left out, none may be null.

    settings: as actually used, every default filled in. start: what the prompt started from, where that was the words
    of demonstrations ("soft-from-hard"). stopped: "finished", "early" or "interrupted". best_step: the step that was
    kept, with its validation_scores. scores: method ("tuned", "hard", "zero-shot", "few-shot (k=8)") -> metric ->
    score, over scored_rows held-out rows. created: an ISO date. license: of the prompt, when its maker chose one.
    lineage: the prompts that it was made from. added: when a library took it in, an ISO date and time (UTC).
    fixes: the corrections made to it, the last one last. former: the record that it had before the last of them.
    model: the folder of its model, from the folder where it was tuned, where it was no bundled model or hub id.
    """

    data: Data | None = None
    settings: dict[str, Any] | None = None
    start: str | None = None
    versions: dict[str, str] | None = None
    seed: int | None = None
    created: str | None = None
    stopped: str | None = None
    best_step: Count | None = None
    validation_scores: dict[str, float] | None = None
    scores: dict[str, dict[str, Score]] | None = None
    scored_rows: Count | None = None
    cost: Cost | None = None
    license: str | None = None
    lineage: list[Ancestor] | None = None
    added: str | None = None
    fixes: list[Fix] | None = None
    former: dict[str, Any] | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _said_or_left_out(self) -> Self:
        known = set(type(self).model_fields) & self.model_fields_set
        null = sorted(name for name in known if getattr(self, name) is None)
        if null:
            raise ValueError(f"{null[0]} is null; leave it out instead")
        if self.scores and self.scored_rows is None:
            raise ValueError("scores without scored_rows")
        return self


class ChatFile(Shape):
    """What stands around an answer in a chat template."""

    lead: str
    end: str


class TaskFile(Shape):
    """The shape of a saved task. scoring: of label words of several tokens; prompts made before there was a choice do
    not say it.
    """

    template: str
    label_column: str
    labels: list[str]
    label_words: list[str]
    instruction: str
    columns: dict[str, str]
    max_tokens: Size
    name: str
    max_answer: Size | None = None
    chat: ChatFile | None = None
    scoring: Literal["walk", "vocabulary"] = "vocabulary"
    kind: Literal["", "classification", "multi-label", "regression", "generation"] = ""
    label_columns: list[str] = Field(default_factory=list)
    label_delimiter: str = ""
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=list)
    scale: list[float] = Field(default_factory=list)


class BackboneFile(Shape):
    """The shape of a saved backbone identity; of a prompt that PEFT made, hashes are empty and counts may be 0."""

    name: str
    revision: str | None
    weights_hash: str
    tokenizer_hash: str
    model_type: str
    hidden_size: Width
    num_layers: Depth
    num_heads: Depth
    state_size: Width = 0
    kind: Literal["causal", "encoder", "encoder-decoder", "image", "audio", "video"] = "causal"
    path: Literal["fast", "plain"] = "fast"


class HeadFile(Shape):
    """The shape of what is saved of a trained head beside its numbers. sha256: of head.safetensors.

    layer: it reads the states that enter this layer, where those are not the final ones. classes: those of the model's
    own classes that it is made of, one for each label, where it was not trained.
    """

    pooling: str
    sha256: str
    layer: Size | None = None
    classes: list[str] = Field(default_factory=list)


class PromptFile(Shape):
    """The shape of cuetune.json.

    weights_sha256: of adapter_model.safetensors, for prompts that PEFT has a form for. state_sha256: of
    prompt.safetensors, for kinds that are more than their embeddings. head: of answers that are read by a trained head.
    """

    format: int
    kind: str
    spec: dict[str, Any]
    task: TaskFile
    backbone: BackboneFile
    record: Record
    weights_sha256: str | None = None
    state_sha256: str | None = None
    head: HeadFile | None = None

    @model_validator(mode="after")
    def _has_numbers(self) -> Self:
        if self.weights_sha256 is None and self.state_sha256 is None:
            raise ValueError("names neither adapter_model.safetensors nor prompt.safetensors")
        return self


class PeftFile(BaseModel):
    """What is read of adapter_config.json; PEFT's other keys are ignored. Other adapters have no sizes of a prompt."""

    model_config = ConfigDict(strict=True, extra="ignore")
    peft_type: str
    num_virtual_tokens: int = 0
    token_dim: int = 0
    base_model_name_or_path: str | None = None
    revision: str | None = None
    num_layers: Depth | None = None
    num_attention_heads: Depth | None = None
    num_transformer_submodules: int | None = 1


def own_scores(record: dict[str, Any]) -> dict[str, Any]:
    """The scores of the saved prompt itself, which come first, without the baselines."""
    return next(iter(record.get("scores", {}).values()), {})


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, as "key: what"."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = one_line(".".join(map(str, fault["loc"])))[:80] or "the whole file"
    return f"{key}: {one_line(fault['msg']).removeprefix('Value error, ').lower()}"

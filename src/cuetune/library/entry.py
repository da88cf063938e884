"""What a library says of one version of a prompt, read from its small files alone: no tensor is touched."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from cuetune.errors import CuetuneError
from cuetune.library.digest import digest_of
from cuetune.library.record import (
    CONFIG,
    FORMAT,
    HEAD,
    RECORD,
    STATE,
    WEIGHTS,
    Ancestor,
    Count,
    PromptFile,
    Score,
    Shape,
    first_fault,
    own_scores,
)
from cuetune.support.strict_json import PLAIN, parse_json
from cuetune.support.tensor_header import check_header

VERSION_LENGTH = 16  # hexadecimal digits of the digest that name a version's folder
HEADER = 2**16  # bytes of a tensor file that are read to see whether it is whole

Read = Callable[[str, int | None], bytes]  # (name, how many bytes) -> a file's beginning, or all of it


class Seen(NamedTuple):
    """A file as a listing shows it. changed: whatever tells an older file from a newer one there."""

    size: int
    changed: str


class Entry(Shape):
    """One version of one prompt.

    digest: SHA-256 of its content, whose beginning is the version. kind, length: of the prompt; length is None where
    the small files do not say it. weights_hash: of the backbone. scores: metric -> score of the prompt itself.
    created: the day it was tuned; added: when it came to the library. source: the data it was tuned on. size: in bytes.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    version: str
    digest: str
    kind: str
    length: Count | None
    task: str
    labels: list[str]
    template: str
    instruction: str
    backbone: str
    weights_hash: str
    scores: dict[str, Score]
    created: str
    added: str
    source: str
    lineage: list[Ancestor]
    size: Count

    @property
    def path(self) -> str:
        """Where it lies inside the library."""
        return f"{self.name}/{self.version}"

    @property
    def score(self) -> tuple[str, Score] | None:
        """The first metric, which is what the task is judged by, and its score."""
        return next(iter(self.scores.items()), None)

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts the versions of a prompt: by the day they were made, and of one day by when they were added."""
        return (self.created or self.added[:10], self.added, self.version)


def read_entry(name: str, version: str, files: Mapping[str, Seen], read: Read) -> Entry:
    """The entry of a version from the files that a listing shows. Raises CuetuneError saying what is wrong with it."""
    if RECORD not in files:
        raise CuetuneError(f"no {RECORD}: it is being written, or its writing was cut off")
    if files[RECORD].size > PLAIN.size:
        raise CuetuneError(f"{RECORD} of {files[RECORD].size / 2**20:,.0f} MiB is too large for a prompt")
    saved, record = parse(read(RECORD, PLAIN.size))
    found = digest_of(saved)
    if found[:VERSION_LENGTH] != version:
        raise CuetuneError(f"its content was altered: it is now that of version {found[:VERSION_LENGTH]}")
    length = _whole(saved, files, read)
    settings = saved.record.settings or {}
    if length is None and type(settings.get("length")) is int:
        length = settings["length"]
    values: dict[str, Any] = {
        "name": name,
        "version": version,
        "digest": found,
        "kind": saved.kind,
        "length": length,
        "task": saved.task.name,
        "labels": saved.task.labels,
        "template": saved.task.template,
        "instruction": saved.task.instruction,
        "backbone": saved.backbone.name,
        "weights_hash": saved.backbone.weights_hash,
        "scores": {
            metric: Score(value=score["value"], low=score["low"], high=score["high"])
            for metric, score in own_scores(record).items()
        },
        "created": saved.record.created or "",
        "added": saved.record.added or "",
        "source": saved.record.data.source if saved.record.data else "",
        "lineage": saved.record.lineage or [],
        "size": sum(seen.size for seen in files.values()),
    }
    try:
        return Entry(**values)
    except ValidationError as error:
        raise CuetuneError(f"{RECORD}: {first_fault(error)}") from error


class Version(BaseModel, strict=True, extra="ignore"):
    """All that is read of a cuetune.json before its format is known."""

    format: int


def parse(content: bytes) -> tuple[PromptFile, dict[str, Any]]:
    """cuetune.json, and its record as it stands there."""
    try:
        values = parse_json(content, RECORD, remedy="add the prompt again")
        if (newer := Version.model_validate(values).format) > FORMAT:
            raise CuetuneError(f"format {newer} is newer than this cuetune reads ({FORMAT}); upgrade cuetune")
        return PromptFile.model_validate(values), values["record"]
    except ValidationError as error:
        raise CuetuneError(f"{RECORD}: {first_fault(error)}") from error


def _whole(saved: PromptFile, files: Mapping[str, Seen], read: Read) -> int | None:
    """The number of virtual tokens, where PEFT's tensor says it. Raises CuetuneError for a file cut short or missing.

    Whether the numbers are those that were saved is checked when the prompt is loaded.
    """
    sums = {WEIGHTS: saved.weights_sha256, STATE: saved.state_sha256, HEAD: saved.head and saved.head.sha256}
    needed = [name for name, known in sums.items() if known is not None]
    for name in [*needed, *([CONFIG] if WEIGHTS in needed else [])]:
        if name not in files:
            raise CuetuneError(f"no {name}; add the prompt again")
    shapes = {name: _shapes(name, files[name].size, read(name, HEADER)) for name in needed}
    first = shapes.get(WEIGHTS, {}).get("prompt_embeddings")
    return first[0] if first else None


def _shapes(name: str, size: int, beginning: bytes) -> dict[str, list[int]]:
    """The shape of every tensor of a safetensors file, from its header. Raises CuetuneError for a file cut short."""
    length = 8 + int.from_bytes(beginning[:8], "little")
    if length > len(beginning) == HEADER:  # more tensors than any prompt has: left to loading
        return {}
    header = check_header(Path(name), beginning, size, remedy="add the prompt again")
    return {key: value["shape"] for key, value in header.items() if key != "__metadata__"}

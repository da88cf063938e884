"""A universal prompt on disk: what its tasks share in one file, and every task folded into a folder of its own.

FOLDER/universal.json, universal.safetensors   P*, u and v, for new tasks to start from
FOLDER/tasks/NAME/                              an ordinary saved prompt, which needs nothing else here
FOLDER/teachers/NAME/                           the soft prompts that it was distilled from, where there are any
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cuetune.backbones.identity import BackboneIdentity
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.library.loading import LARGEST, check_hash, parse, read_bytes
from cuetune.library.record import FIRST, FORMAT, HARMLESS, BackboneFile, Count, Record, Shape
from cuetune.library.saving import bytes_of, contents, public_name, to_json, write_safely
from cuetune.library.saving import check_replaceable as check_saved_prompt
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import MultitaskPrompt
from cuetune.support.console import quoted
from cuetune.support.files import atomic_folder
from cuetune.support.locking import locked
from cuetune.support.markdown import fenced, plain
from cuetune.support.named_paths import possible
from cuetune.support.ownership import begins_with, is_empty, read_object
from cuetune.support.strict_json import DAMAGED
from cuetune.support.tensor_file import read_tensors
from cuetune.visible import one_line

RECORD, STATE, CARD = "universal.json", "universal.safetensors", "README.md"
PARTS = ("tasks", "teachers")
OURS = {RECORD, STATE, CARD, *PARTS}
RECORD_HEAD = re.compile(rb'\{\s*"format": \d+,\s*"spec": ')


class UniversalFile(Shape):
    """The shape of universal.json. sha256: of universal.safetensors."""

    format: Count
    spec: dict[str, Any]
    backbone: BackboneFile
    record: Record
    sha256: str


@dataclass(frozen=True)
class UniversalPrompt:
    """A multitask prompt with the backbone it belongs to and the record of how it was made.

    tasks, teachers: by name; empty after loading, because each is a saved prompt of its own (`task`, `teacher`).
    """

    prompt: MultitaskPrompt
    backbone: BackboneIdentity
    record: dict[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, TunedPrompt] = field(default_factory=dict)
    teachers: Mapping[str, TunedPrompt] = field(default_factory=dict)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the folder, whole or not at all. Raises CuetuneError where something else stands there."""
        folder = Path(folder)
        if overwrite:
            check_replaceable(folder)
        files = self._files(folder)
        check = check_replaceable if overwrite else None
        with (
            locked(folder) as held,
            held.replacing(),
            atomic_folder(folder, overwrite=overwrite, check=check) as new,
        ):
            for name, content in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                write_safely(new / name, content)
        return folder

    def _files(self, folder: Path) -> dict[str, bytes | str]:
        numbers = self._numbers(folder)
        backbone = {**self.backbone.to_dict(), "name": public_name(self.backbone.name)}
        values = {
            "format": FIRST,
            "spec": self.prompt.spec(),
            "backbone": backbone,
            "record": self.record,
            "sha256": hashlib.sha256(numbers).hexdigest(),
        }
        files: dict[str, bytes | str] = {STATE: numbers, RECORD: to_json(values, folder), CARD: _card(self, folder)}
        for part, prompts in zip(PARTS, (self.tasks, self.teachers), strict=True):
            for name, tuned in prompts.items():
                inside = contents(tuned, folder / part / name)
                files |= {f"{part}/{name}/{file}": content for file, content in inside.items()}
        return files

    def _numbers(self, folder: Path) -> bytes:
        state = {name: value.detach().cpu().contiguous().clone() for name, value in self.prompt.state_dict().items()}
        return bytes_of({name: value for name, value in state.items() if value.numel()}, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "UniversalPrompt":
        """Read what `save` wrote, without the folders of its tasks. Raises CuetuneError naming the file at fault."""
        folder = possible(Path(folder))
        if not (folder / RECORD).exists():
            raise CuetuneError(
                f"{folder}: no universal prompt is there (no {RECORD}); give the folder that `cuetune multitask train "
                "--to` wrote."
            )
        saved, values = parse(UniversalFile, folder, RECORD)
        if saved.format > FORMAT:
            raise CuetuneError(f"{folder / RECORD}: format {saved.format} is newer than this cuetune; upgrade cuetune.")
        data = read_bytes(folder, STATE, LARGEST)
        check_hash(folder / STATE, data, saved.sha256)
        try:
            prompt = MultitaskPrompt.from_spec(saved.spec, read_tensors(folder / STATE, data))
        except DAMAGED as error:
            reason = one_line(str(error))[:80]
            raise CuetuneError(f"{folder / RECORD}: cannot be rebuilt ({reason}); copy the folder again.") from error
        return cls(prompt, BackboneIdentity.from_dict(saved.backbone.model_dump()), values["record"])

    @property
    def digest(self) -> str:
        """SHA-256 of its numbers as they are saved."""
        return hashlib.sha256(self._numbers(Path(RECORD))).hexdigest()

    def task(self, name: str) -> int:
        """The number of one of its tasks. Raises CuetuneError naming those that there are."""
        if name not in self.prompt.tasks:
            raise CuetuneError(f"no task {name!r} in this prompt; it has {', '.join(self.prompt.tasks)}.")
        return self.prompt.tasks.index(name)


def universal_for(folder: str | Path, backbone: TextBackbone) -> UniversalPrompt:
    """A universal prompt that this backbone can use. Raises CuetuneError for one of another model."""
    universal = UniversalPrompt.load(folder)
    universal.backbone.check(backbone.identity, str(folder))
    return universal


def check_replaceable(folder: Path) -> None:
    """Raise CuetuneError unless `folder` is missing, empty, or a universal prompt and nothing else."""
    if not folder.exists() or is_empty(folder):
        return
    found = {path.name for path in folder.iterdir()} - HARMLESS if folder.is_dir() else {folder.name}
    ours = begins_with(folder / RECORD, RECORD_HEAD) or set(read_object(folder / RECORD)) >= {"spec", "sha256"}
    if not ours or (strangers := sorted(found - OURS)):
        what = f"holds {strangers[0]!r} beside one" if ours else "is not a universal prompt"
        raise CuetuneError(f"{folder}: {what}, so it is not overwritten; choose another folder.")
    for part in PARTS:
        for inside in sorted((folder / part).iterdir()) if (folder / part).is_dir() else ():
            if inside.name not in HARMLESS:
                check_saved_prompt(inside)


def _card(universal: UniversalPrompt, folder: Path) -> str:
    """A page for readers: the tasks with their scores, and how to start a new one."""
    lines = [
        f"# {plain(folder.name)}: a universal prompt for {plain(public_name(universal.backbone.name))}",
        "",
        f"One prompt of {universal.prompt.length} virtual tokens that {len(universal.prompt.tasks)} tasks share; each "
        f"scales it by {universal.prompt.rank * sum(universal.prompt.shared.shape):,} numbers of its own (multitask "
        "prompt tuning, Wang et al., ICLR 2023).",
        "",
        "| task | accuracy | rows |",
        "| --- | --- | --- |",
    ]
    lines += [_scored(name, tuned) for name, tuned in universal.tasks.items()]
    lines += [
        "",
        "Every folder in `tasks/` is a saved prompt that needs nothing else here. To start a new task:",
        "",
        fenced(f"cuetune multitask adapt {quoted(folder.name)} NEW_TASK.csv --to prompts/new-task", "sh"),
        "",
    ]
    return "\n".join(lines)


def _scored(name: str, tuned: TunedPrompt) -> str:
    scores = tuned.record.get("scores", {}).get("tuned", {})
    value = f"{scores['accuracy']['value']:.3f}" if "accuracy" in scores else ""
    return f"| {plain(name)} | {value} | {tuned.record.get('scored_rows', '')} |"

"""A library of prompts: a folder, or any address that fsspec reaches, with versions, search and lineage.

Each version is an ordinary saved prompt in a folder of its own, `<name>/<version>/`, named by its content. So writers
never meet: whoever adds another prompt writes another folder, and whoever adds the same one writes the same files.
"""

import datetime
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cuetune.errors import CuetuneError
from cuetune.library.entry import VERSION_LENGTH, Entry, Seen, parse, read_entry
from cuetune.library.index import read_version, survey
from cuetune.library.lineage import Lineage, lineage_of
from cuetune.library.names import VERSION, as_name, checked_name, chosen, named
from cuetune.library.query import Query, best_first
from cuetune.library.record import HARMLESS, OURS, RECORD
from cuetune.library.storage import storage_at

if TYPE_CHECKING:
    from cuetune.library.tuned import TunedPrompt

PAUSES = (0.1, 0.5, 2.0)  # seconds, at most, that another writer of the same version is waited for


class PromptLibrary:
    """The prompts at `address`: a folder, or an address of fsspec such as s3://bucket/prompts.

    The library is made by the first `add`. Everything but `add` and `get` reads small files only.
    """

    def __init__(self, address: str | Path) -> None:
        self.storage = storage_at(address)

    def entries(self) -> list[Entry]:
        """Every version of every prompt: by name, and of a name the newest first."""
        return self.survey()[0]

    def survey(self) -> tuple[list[Entry], list[str]]:
        """The entries, and one line for each thing in the library that is no whole prompt; those are passed over."""
        entries, faults = survey(self.storage)
        return sorted(sorted(entries, key=lambda each: each.age, reverse=True), key=lambda each: each.name), faults

    def versions(self, name: str) -> list[Entry]:
        """The versions of a prompt, the newest first. Raises CuetuneError for a name that is not there."""
        return named(name, self.entries(), self.storage.shown)

    def entry(self, name: str, version: str | None = None) -> Entry:
        """The newest version of a prompt, or the one whose version begins with `version`.

        The newest is the one that was made last, and of those of one day the one that was added last.
        """
        return chosen(self.versions(name), version, self.storage.shown)

    def get(self, name: str, version: str | None = None) -> "TunedPrompt":
        """The prompt itself, with everything checked as in `TunedPrompt.load`."""
        from cuetune.library.tuned import TunedPrompt

        return TunedPrompt.load(self.fetch(name, version))

    def fetch(self, name: str, version: str | None = None) -> Path:
        """A folder on this machine that holds the version: its own, or a copy in the cache where it lies elsewhere."""
        path = self.entry(name, version).path
        files = {file: seen for file, seen in self.storage.files(path).items() if file in OURS}
        return self.storage.folder(path, files)

    def add(self, prompt: "TunedPrompt | str | Path", name: str | None = None) -> Entry:
        """Take in a prompt, or the saved one in a folder, whole or not at all. name: else the folder's or the task's.

        The same content twice is one version: what stands there stays, its record included. Raises CuetuneError for a
        name that is none, a folder that does not load, or a storage that refuses.
        """
        tuned, called = _brought(prompt)
        name = checked_name(name) if name is not None else called
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        files = _files(replace(tuned, record={**tuned.record, "added": now}), name)
        entry = _entry_of(name, files)
        return self._standing(entry, files) or self._put(entry, files)

    def remove(self, name: str, version: str | None = None) -> list[Entry]:
        """Remove one version, or without `version` every version of the prompt; returns what is gone.

        Raises CuetuneError where a folder holds anything that is no part of a saved prompt; it would be lost.
        """
        versions = self.versions(name)
        gone = versions if version is None else [chosen(versions, version, self.storage.shown)]
        found = {entry.path: self.storage.files(entry.path) for entry in gone}
        for path, files in found.items():
            if strangers := sorted(set(files) - OURS - HARMLESS):
                raise CuetuneError(
                    f"{self.storage.shown}/{path}: holds {strangers[0]!r}, which is no part of a saved prompt and "
                    "would be lost; move it away."
                )
        for path, files in found.items():
            self.storage.remove(path, files)
        return gone

    def search(
        self,
        text: str = "",
        *,
        task: str | None = None,
        backbone: str | None = None,
        label: str | None = None,
        kind: str | None = None,
        min_score: float | None = None,
    ) -> list[Entry]:
        """Versions that meet every condition (see `library.query.Query`), the best score first."""
        query = Query(text, task, backbone, label, kind, min_score)
        return sorted(filter(query.fits, self.entries()), key=best_first)

    def lineage(self, name: str, version: str | None = None) -> Lineage:
        """What a prompt was made from and what was made from it, as far as the records of this library tell."""
        entries = self.entries()
        entry = chosen(named(name, entries, self.storage.shown), version, self.storage.shown)
        return lineage_of(entry, entries)

    def _put(self, entry: Entry, files: dict[str, bytes]) -> Entry:
        """Write a version and read it back. What stands there whole is right, whoever wrote it.

        Where files do not appear at once, another writer of the same version is seen in the middle of its work, and two
        can even mix a record. So a version that is not whole is looked at again after a pause, and only then rewritten.
        """
        for pause in PAUSES:
            refused = None
            try:
                self.storage.put(entry.path, files)
            except CuetuneError as error:
                refused = error
            for wait in (0.0, pause * random.random()):
                time.sleep(wait)
                if (standing := self._standing(entry, files)) is not None:
                    return standing
            if refused is not None:
                raise refused
        raise CuetuneError(f"{self.storage.shown}/{entry.path}: does not read back as it was written; add it again.")

    def _standing(self, entry: Entry, files: dict[str, bytes]) -> Entry | None:
        """What stands at the entry's place, if it is that very prompt and whole."""
        try:
            standing = read_version(self.storage, entry.path, self.storage.files(entry.path))
            tensors = [file for file in files if file.endswith(".safetensors")]
            whole = all(self.storage.read(f"{entry.path}/{file}") == files[file] for file in tensors)
        except CuetuneError:
            return None
        return standing if whole else None


def _brought(prompt: "TunedPrompt | str | Path") -> "tuple[TunedPrompt, str]":
    """The prompt, and what it is called where nobody says: by its folder, or by its task."""
    from cuetune.library.tuned import TunedPrompt

    if isinstance(prompt, TunedPrompt):
        return prompt, as_name(prompt.task.name)
    folder = Path(prompt)
    tuned = TunedPrompt.load(folder)
    if tuned.origin != "cuetune":
        raise CuetuneError(
            f"{folder}: does not say what it is asked (no {RECORD}); add it in Python with its task: "
            "library.add(cuetune.load(folder, task), name)."
        )
    home = folder.resolve()
    return tuned, as_name(home.parent.name if VERSION.fullmatch(home.name) else home.name)


def _files(tuned: "TunedPrompt", name: str) -> dict[str, bytes]:
    from cuetune.library.saving import contents

    files = contents(tuned, Path(name))
    return {file: text if isinstance(text, bytes) else text.encode() for file, text in files.items()}


def _entry_of(name: str, files: dict[str, bytes]) -> Entry:
    from cuetune.library.digest import digest_of

    version = digest_of(parse(files[RECORD])[0])[:VERSION_LENGTH]
    seen = {file: Seen(len(content), "") for file, content in files.items()}
    return read_entry(name, version, seen, lambda file, size: files[file][:size])

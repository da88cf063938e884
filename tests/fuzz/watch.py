"""Reads a damaged file and watches what that costs."""

import resource
import time
from pathlib import Path

from cuetune.errors import CuetuneError
from fuzz.damage import Edit, damaged
from fuzz.readers import Reader

SECONDS, MIB = 10, 700  # of processor, and of memory that was not used before


class Watched:
    """A sound folder that is damaged and mended again and again."""

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader, self.folder = reader, folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        reader.make(folder)
        self.sound = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        reader.read(folder)  # a sound one is read

    def read_damaged(self, file: str, edits: list[Edit]) -> None:
        """Fails for anything but a sound result or one line; the folder is then as it was."""
        path = next(self.folder.glob(file))
        content = damaged(self.sound[path], edits)
        line, before, began = "", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        path.write_bytes(content)
        try:
            self.reader.read(self.folder)
        except CuetuneError as error:
            line = str(error)
        finally:
            self._mend()
        assert "\n" not in line
        assert time.process_time() - began < SECONDS, "too slow"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MIB * 2**10, "too much memory"

    def _mend(self) -> None:
        for path, content in self.sound.items():
            path.write_bytes(content)

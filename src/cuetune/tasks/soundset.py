"""Labelled or captioned recordings that several archives hold, written as a CSV file and a folder beside it."""

from dataclasses import dataclass

from cuetune.tasks.drawings import PictureSet


@dataclass(frozen=True)
class SoundSet(PictureSet):
    """As a `PictureSet`, of recordings; labels may be missing where a transcript is asked for."""

    @property
    def task(self) -> str:
        """What is asked of a recording, for a table."""
        return super().task or f"write {self.asked}"

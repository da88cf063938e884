"""Tensors by number: in memory up to a limit, beyond it memory-mapped from a file that vanishes with its last user."""

import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.support.files import disk_error

IN_MEMORY = 512 * 2**20  # bytes; what comes on top goes to the file


class SpillTable:
    """Tensors of any shape under any key, kept as they are to the bit.

    folder: of the file, by default that of temporary files. purpose: what the table is for, where the disk refuses.
    """

    def __init__(self, folder: Path | None = None, purpose: str = "It keeps states of this run.") -> None:
        self.bytes = 0
        self._folder, self._purpose = folder or Path(tempfile.gettempdir()), purpose
        self._tensors: dict[Hashable, Tensor] = {}
        self._places: dict[Hashable, tuple[int, torch.Size, torch.dtype]] = {}  # in the file: first byte, shape, dtype
        self._file: IO[bytes] | None = None
        self._end = 0
        self._mapped = np.empty(0, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._tensors) + len(self._places)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._tensors or key in self._places

    def put(self, key: Hashable, values: Tensor) -> None:
        """Keep one tensor. Raises CuetuneError where the disk refuses."""
        values = values.detach().cpu().contiguous()
        size = values.numel() * values.element_size()
        if self.bytes + size <= IN_MEMORY:
            self._tensors[key] = values.clone()  # a view would hold the whole batch that it is of
        else:
            self._places[key] = self._end, values.shape, values.dtype
            self._write(values)
        self.bytes += size

    def of(self, key: Hashable) -> Tensor:
        """One tensor, not to be written to."""
        if key in self._tensors:
            return self._tensors[key]
        assert self._file is not None
        start, shape, dtype = self._places[key]
        end = start + shape.numel() * torch.empty((), dtype=dtype).element_size()
        if end > len(self._mapped):
            # Copy on write, so that torch takes the array for one that it may write to.
            self._mapped = np.memmap(self._file, dtype=np.uint8, mode="c", shape=(self._end,))
        return torch.from_numpy(self._mapped[start:end]).view(dtype).view(shape)

    def _write(self, values: Tensor) -> None:
        """Behind what the file has; each tensor begins at a multiple of 8 bytes, as views of any dtype need."""
        raw = values.reshape(-1).view(torch.uint8).numpy().tobytes()
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed with its last user
            self._file.write(raw)
            self._file.write(bytes(-len(raw) % 8))
            self._file.flush()  # written, and not mapped: a full disk is an error here, and no signal later
        except OSError as error:
            raise CuetuneError(f"{disk_error(self._folder, error)} {self._purpose}") from error
        self._end += len(raw) + -len(raw) % 8

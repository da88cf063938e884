"""The header of a safetensors file, held against the file's length before any tensor is made of it."""

from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import COPY, DAMAGED, Limits, parse_json, reason_of

LARGEST_HEADER = 16 * 2**20  # bytes
MOST = 8192  # tensors of a prompt; a fix adds eight


def check_header(path: Path, beginning: bytes, size: int, most: int = MOST, remedy: str = COPY) -> dict[str, Any]:
    """Each tensor's "dtype", "shape" and "data_offsets", and "__metadata__". size: of the whole file, in bytes.

    Raises CuetuneError for a header that is no such thing, names more than `most` tensors, or places beyond the file.
    """
    length = int.from_bytes(beginning[:8], "little")
    if len(beginning) < 8 or length > min(LARGEST_HEADER, size - 8, len(beginning) - 8):
        raise damaged(path, f"a header of {length:,} bytes in {size:,}", remedy)
    try:
        header = parse_json(
            beginning[8 : 8 + length], str(path), Limits(LARGEST_HEADER, depth=4, values=100 + 16 * most), remedy
        )
        tensors = {name: value for name, value in header.items() if name != "__metadata__"}
        if not all(_is_shape(each["shape"]) for each in tensors.values()):
            raise ValueError("a shape that is none")
        end = max((int(each["data_offsets"][1]) for each in tensors.values()), default=0)
    except (CuetuneError, *DAMAGED) as error:
        raise damaged(path, reason_of(error, 300).removeprefix(f"{path}: "), remedy) from error
    if len(tensors) > most:
        raise damaged(path, f"{len(tensors):,} tensors, expected at most {most:,}", remedy)
    if 8 + length + end != size:
        raise damaged(path, f"{size:,} bytes, but its header asks for {8 + length + end:,}", remedy)
    return header


def damaged(path: Path, reason: str, remedy: str) -> CuetuneError:
    """The one line for such a file."""
    return CuetuneError(f"{path}: not a whole safetensors file ({reason}); {remedy}.")


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(side) is int and 0 <= side < 2**63 for side in shape)

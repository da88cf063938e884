"""Figures of matplotlib, which is an extra: made without a window, and written whole."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.support.files import atomic_file
from cuetune.support.ownership import begins_with
from cuetune.visible import visible

SOFTWARE = "cuetune"


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches. Raises CuetuneError when matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CuetuneError("plots need matplotlib; install it with: pip install 'cuetune[plots]'.") from error
    return Figure(figsize=(width, height), layout="constrained")


def words(text: str, longest: int = 200) -> str:
    """Words of others for a figure: as they are, with nothing of mathematics in them. longest: characters."""
    shown = visible(text, keep="\n")
    return (shown if len(shown) <= longest else shown[: longest - 1] + "…").replace("$", r"\$")


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure in the format that the path's ending names. Raises CuetuneError for an unknown one.

    A PNG says that cuetune drew it, for `check_drawn`.
    """
    kind = path.suffix.lstrip(".").lower()
    known = sorted(figure.canvas.get_supported_filetypes())
    if kind not in known:
        raise CuetuneError(f"{path}: cannot draw a {path.suffix or 'file without an ending'}; use one of {known}.")
    with atomic_file(path, "wb") as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # it is drawn as a box
        figure.savefig(stream, format=kind, dpi=130, metadata={"Software": SOFTWARE} if kind == "png" else None)
    return path


def check_drawn(path: Path) -> None:
    """Raise CuetuneError where a file stands at `path` that is not a PNG which cuetune drew."""
    if os.path.lexists(path) and not begins_with(path, re.compile(rb".*Software\x00" + SOFTWARE.encode(), re.DOTALL)):
        raise CuetuneError(f"{path}: is in the way, and cuetune did not draw it; move it away.")

"""Figures of matplotlib, which is an extra: made without a window, and written whole."""

import warnings
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.files import atomic_file
from cuetune.visible import visible


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
    """Write a figure in the format that the path's ending names. Raises CuetuneError for an unknown one."""
    kind = path.suffix.lstrip(".").lower()
    known = sorted(figure.canvas.get_supported_filetypes())
    if kind not in known:
        raise CuetuneError(f"{path}: cannot draw a {path.suffix or 'file without an ending'}; use one of {known}.")
    with atomic_file(path, "wb") as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # it is drawn as a box
        figure.savefig(stream, format=kind, dpi=130)
    return path

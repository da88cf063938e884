"""Where fetched files are kept."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """$CUETUNE_CACHE, else $XDG_CACHE_HOME/cuetune, else ~/.cache/cuetune."""
    if chosen := os.environ.get("CUETUNE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuetune"

"""Bundled models by name: `smollm2_135m` here is the one that cuetune calls `smollm2-135m`."""

from typing import Any

from cuetune_catalog.models.bundled import MODELS


def __getattr__(name: str) -> Any:
    if (spelled := name.replace("_", "-")) in MODELS:
        return MODELS[spelled]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

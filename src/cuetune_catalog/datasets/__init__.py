"""Data sets by name: `reviews_amazon` here is the one that cuetune calls `reviews-amazon`."""

from typing import Any

from cuetune_catalog.datasets.registry import DATASETS


def __getattr__(name: str) -> Any:
    if (spelled := name.replace("_", "-")) in DATASETS:
        return DATASETS[spelled]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

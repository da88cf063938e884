"""The same objects drawn in four styles: emoji of Noto, Twemoji, OpenMoji and Fluent, rendered as images.

The icon sets ship as SVG in npm packages; an object is taken where all four have it under one name. What a style calls
its category is not asked: Twemoji's, which are Unicode's, hold for all.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cuetune_catalog.datasets.readers.vector_image import renderer

LEFT_OUT = ("Flags", "Component")  # a flag is its name


def read(**styles: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(PNG, "style/object.png", (category, style, object)) of every object in every style."""
    sets = {style: member(path, "icons.json") for style, path in styles.items()}
    categories: dict[str, list[str]] = member(styles["twemoji"], "metadata.json")["categories"]
    draw = renderer()
    for category, objects in categories.items():
        if category in LEFT_OUT:
            continue
        for each in objects:
            if all(each in icons["icons"] for icons in sets.values()):
                for style, icons in sets.items():
                    label = category.lower().replace("&", "and")
                    yield draw(svg_of(icons, each)), f"{style}/{each}.png", (label, style, each.replace("-", " "))


def member(archive: Path, name: str) -> Any:
    with tarfile.open(archive) as files:
        stream = files.extractfile(f"package/{name}")
        assert stream is not None, name
        return json.load(stream)


def svg_of(icons: dict[str, Any], name: str) -> str:
    """One icon of a set as an SVG document; the set's own size holds where the icon has none."""
    icon = icons["icons"][name]
    left, top, width, height = (
        icon.get(side, icons.get(side, default))
        for side, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'

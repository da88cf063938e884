"""The same objects drawn in four styles: emoji of Noto, Twemoji, OpenMoji and Fluent, rendered as pictures.

The icon sets ship as SVG in npm packages; an object is taken where all four have it under one name. What a style calls
its category is not asked: Twemoji's, which are Unicode's, hold for all.
"""

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune_catalog.datasets.base import Archive
from cuetune_catalog.datasets.media_set import MediaSet

SIDE = 224  # pixels
DPI = 96.0  # how long a point or a centimetre is, where an SVG states its size in them
LEFT_OUT = ("Flags", "Component")  # a flag is its name


def read_drawings(archives: Mapping[str, Path]) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(PNG, "style/object.png", (category, style, object)) of every object in every style."""
    sets = {style: _member(path, "icons.json") for style, path in archives.items()}
    categories: dict[str, list[str]] = _member(archives["twemoji"], "metadata.json")["categories"]
    draw = renderer()
    for category, objects in categories.items():
        if category in LEFT_OUT:
            continue
        for each in objects:
            if all(each in icons["icons"] for icons in sets.values()):
                for style, icons in sets.items():
                    label = category.lower().replace("&", "and")
                    yield draw(svg_of(icons, each)), f"{style}/{each}.png", (label, style, each.replace("-", " "))


def _member(archive: Path, name: str) -> Any:
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


def renderer() -> Callable[[str], bytes]:
    """What turns an SVG document into a PNG of `SIDE` pixels. Raises CuetuneError where it is not installed."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise CuetuneError('drawing these pictures needs resvg-py; run `pip install "cuetune[image]"`.') from error

    def draw(svg: str) -> bytes:
        return bytes(svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, dpi=DPI, skip_system_fonts=True))

    return draw


DRAWINGS = MediaSet(
    name="emoji-drawings",
    description="1,553 objects, each drawn in four styles: which category is it, also in a style never seen?",
    asked="label",
    columns=("image", "label", "style", "name"),
    rows=6212,
    labels={
        "activities": 336,
        "animals and nature": 624,
        "food and drink": 520,
        "objects": 1048,
        "people and body": 1276,
        "smileys and emotion": 660,
        "symbols": 876,
        "travel and places": 872,
    },
    licence="Apache-2.0, CC BY 4.0, CC BY-SA 4.0, MIT",
    citation=(
        "Noto Emoji (Google Inc., Apache-2.0), Twemoji (Twitter and contributors, CC BY 4.0), OpenMoji (OpenMoji, "
        "CC BY-SA 4.0), Fluent UI Emoji (Microsoft Corporation, MIT); packaged as icon sets by Iconify."
    ),
    archives={
        "noto": Archive(
            "@iconify-json/noto==1.2.9",
            "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
            size=3_102_958,
            registry="npm",
        ),
        "twemoji": Archive(
            "@iconify-json/twemoji==1.2.5",
            "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
            size=1_555_888,
            registry="npm",
        ),
        "openmoji": Archive(
            "@iconify-json/openmoji==1.2.29",
            "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
            size=1_264_633,
            registry="npm",
        ),
        "fluent": Archive(
            "@iconify-json/fluent-emoji-flat==1.2.6",
            "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
            size=1_172_438,
            registry="npm",
        ),
    },
    read=read_drawings,
)

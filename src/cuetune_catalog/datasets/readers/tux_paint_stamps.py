"""Images that children paint with: the stamps of Tux Paint, as photos and as cartoons, by what they show (GPL-2).

Each stamp lies in the folder of its category and has a caption in English. Vector drawings are rendered; the mirror
image of another stamp is left out, and the vector form of an image that is there too.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cuetune_catalog.datasets.readers.vector_image import renderer
from cuetune_catalog.fetch.debian import files_of

ROOT = PurePosixPath("usr/share/tuxpaint/stamps")
DERIVED = ("_mirror", "_flip")
CATEGORIES = ("animals", "clothes", "food", "household", "people", "plants", "seasonal", "space", "town", "vehicles")


def read(stamps: Path) -> Iterator[tuple[bytes, str, tuple[str, ...]]]:
    """(image, "category/style/name.png", (category, style, caption)) of every stamp of the large categories."""
    images: dict[PurePosixPath, bytes] = {}
    captions: dict[PurePosixPath, str] = {}
    with files_of(stamps) as files:
        for name, content in files:
            path = PurePosixPath(name)
            if not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in CATEGORIES:
                continue
            stamp = path.relative_to(ROOT).with_suffix("")
            if path.suffix == ".txt":
                captions[stamp] = caption_of(content.read())
            elif path.suffix in (".png", ".svg") and not stamp.name.endswith(DERIVED):
                images[path.relative_to(ROOT)] = content.read()
    draw = renderer()
    for path in sorted(path for path in images if path.suffix == ".png" or path.with_suffix(".png") not in images):
        style = "cartoon" if "cartoon" in path.parts else "drawing" if path.suffix == ".svg" else "photo"
        image = images[path] if path.suffix == ".png" else draw(images[path].decode("utf-8"))
        flat = "-".join(part for part in path.with_suffix("").parts[1:] if part != "cartoon")
        cells = (path.parts[0], style, captions.get(path.with_suffix(""), flat.replace("-", " ")))
        yield image, f"{path.parts[0]}/{style}/{flat}.png", cells


def caption_of(content: bytes) -> str:
    """The English caption: the first line of a stamp's text, behind which stand the translations."""
    first, *_ = content.decode("utf-8", "replace").splitlines() or [""]
    return first.strip()

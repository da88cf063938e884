"""Vector images as pixels."""

from collections.abc import Callable

from cuetune.errors import CuetuneError

SIDE = 224  # pixels
DPI = 96.0  # how long a point or a centimetre is, where an SVG states its size in them


def renderer() -> Callable[[str], bytes]:
    """What turns an SVG document into a PNG of `SIDE` pixels. Raises CuetuneError where it is not installed."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise CuetuneError('drawing these images needs resvg-py; run `pip install "cuetune[image]"`.') from error

    def draw(svg: str) -> bytes:
        return bytes(svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, dpi=DPI, skip_system_fonts=True))

    return draw

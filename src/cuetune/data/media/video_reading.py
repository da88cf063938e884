"""Videos of users, read by PyAV: some frames of each, evenly from first to last, and no others are kept.

A first pass over the file counts its frames without decoding any. A second decodes up to each frame that is taken,
from the nearest key frame before it, so that a long film costs what its taken frames cost.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from cuetune.backbones.clips import evenly
from cuetune.data.media.image_reading import LARGEST, read_picture
from cuetune.data.media.opening import opened
from cuetune.errors import CuetuneError

FAR = 32  # frames that are rather decoded and dropped than jumped over
IN_ORDER = ("gif", "apng")  # formats that are not jumped in: each frame is a change of the one before


def read_clip(source: Any, where: str, frames: int) -> tuple[Iterator[Any], int]:
    """`frames` Pillow images in RGB of a video, in order and at even distances, and how many frames it has.

    The images are decoded as they are taken, and all must be. A video with fewer frames has some taken again.

    source: a path, bytes, `{"bytes": …, "path": …}` as `datasets` keeps videos, or the frames themselves: a sequence of
    Pillow images or an array (N, H, W, 3) of bytes. where: its place in the data, for errors.
    Raises CuetuneError for anything missing, empty, broken, without moving images, or too large.
    """
    if _are_frames(source):
        if not len(source):
            raise CuetuneError(f"{where}: a video without frames; replace it or remove the row.")
        return (_given(source[number], where) for number in evenly(len(source), frames)), len(source)
    film = _Film(source, where)
    return film.pictures(evenly(film.length, frames)), film.length


def _are_frames(source: Any) -> bool:
    plain = isinstance(source, str | bytes | bytearray | memoryview | Mapping)
    return not plain and isinstance(source, Sequence | np.ndarray)


def _given(frame: Any, where: str) -> Any:
    from PIL import Image

    if not isinstance(frame, np.ndarray):
        return read_picture(frame, where)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise CuetuneError(f"{where}: frames of {frame.dtype} {frame.shape}; give (N, H, W, 3) bytes.")
    return Image.fromarray(frame)


class _Film:
    """An open video file: the times of its frames, known without decoding, and any of them as an image.

    times: of every frame in the order of showing, eight bytes each. keys: those that need no frame before them.
    """

    def __init__(self, source: Any, where: str) -> None:
        self._av = _pyav()
        self._stream, self.name = opened(source, where, "video")
        self.times, self.keys = array("q"), array("q")
        self._frame: Any = None  # the last that was decoded, and its number
        self._at = -1
        self._frames: Iterator[Any] = iter(())
        try:
            with self._told():
                self._file = self._av.open(self._stream)
                self._look()
        except BaseException:
            self._stream.close()
            raise

    @property
    def length(self) -> int:
        """How many frames there are."""
        return len(self.times)

    def _look(self) -> None:
        """Read off the packets when frames are shown."""
        self._video = next(iter(self._file.streams.video), None)
        if self._video is None:
            raise CuetuneError(f"{self.name}: holds no video stream; give a video, or remove the row.")
        if self._video.width * self._video.height > LARGEST:
            raise CuetuneError(
                f"{self.name}: frames of {self._video.width:,} x {self._video.height:,} pixels; at most "
                f"{LARGEST // 10**6} million are read, shrink it."
            )
        for packet in self._file.demux(self._video):
            time = packet.dts if packet.pts is None else packet.pts
            if packet.size and time is not None:
                self.times.append(time)
                if packet.is_keyframe:
                    self.keys.append(time)
        if not self.times:
            raise CuetuneError(f"{self.name}: a video without frames; replace it or remove the row.")
        self.times, self.keys = array("q", sorted(self.times)), array("q", sorted(self.keys))
        self._go_on_from(self.times[0])

    def pictures(self, numbers: Sequence[int]) -> Iterator[Any]:
        """These frames in RGB; numbers never fall. A frame that the file lacks at its end is the last that it has."""
        picture, last = None, -1
        with closing(self._stream), closing(self._file):
            for number in numbers:
                if number != last:
                    picture, last = self._picture(number), number
                yield picture

    def _picture(self, number: int) -> Any:
        with self._told():
            if number - self._at > FAR and self._file.format.name not in IN_ORDER:
                self._jump(self.times[number])
            self._decode(self.times[number])
            self._at = number
            if self._frame is None:
                raise CuetuneError(f"{self.name}: a broken video (none of its frames can be decoded); replace it.")
            picture = self._frame.to_image()
        return picture.rotate(self._frame.rotation, expand=True) if self._frame.rotation else picture

    def _decode(self, time: int) -> None:
        """Decode up to the frame that is shown at this time."""
        if self._frame is not None and self._frame.pts is not None and self._frame.pts >= time:
            return
        for self._frame in self._frames:  # noqa: B020
            if self._frame.pts is None or self._frame.pts >= time:
                return

    def _jump(self, time: int) -> None:
        """Go on from the last key frame up to this time, where it lies ahead."""
        key = self.keys[bisect_right(self.keys, time) - 1] if self.keys and self.keys[0] <= time else None
        if key is not None and (self._at < 0 or key > self.times[self._at]):
            self._go_on_from(key)

    def _go_on_from(self, time: int) -> None:
        self._file.seek(time, stream=self._video)
        self._frames = self._file.decode(self._video)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What PyAV says of a file, as one line."""
        try:
            yield
        except (self._av.FFmpegError, MemoryError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:80]
            raise CuetuneError(
                f"{self.name}: not a readable video ({reason.lower()}); use MP4, WebM, AVI or GIF, or remove the row."
            ) from error


def _pyav() -> Any:
    """PyAV, whose own messages are for its makers."""
    try:
        import av
    except ImportError as error:
        raise CuetuneError('reading videos needs PyAV; run `pip install "cuetune[video]"`.') from error
    av.logging.set_level(None)
    return av

"""Whatever the decoders open is found in folders, by its ending or by how it begins."""

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from cuetune.data.media.audio_files import SOUNDS, decoded_audio
from cuetune.data.media.audio_reading import read_recording
from cuetune.data.media.image_files import PICTURES, decoded_images
from cuetune.data.media.image_reading import read_picture
from cuetune.data.media.video_files import VIDEOS, decoded_videos
from cuetune.data.media.video_reading import read_clip
from cuetune.data.readers.registry import reader_for
from tiny_vision import picture

NOISE = np.random.default_rng(0).normal(size=16000) * 0.1
CODECS = {".webm": "libvpx", ".flv": "flv1", ".wmv": "wmv2", ".mpg": "mpeg2video", ".vob": "mpeg2video", ".gif": "gif"}
VIDEO = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".ts", ".m2ts", ".3gp", ".nut", *CODECS)
KINDS = {"MPC2K": 44100, "SDS": 16000, "XI": 44100, "WVE": 8000}


def written_images() -> list[str]:
    Image.init()
    saved = {end for end in decoded_images() if Image.EXTENSION[end] in Image.SAVE}
    return sorted(saved - {".msp", ".xbm", ".im"} | {".msp"})


@pytest.fixture
def classes(tmp_path):
    """Makes two classes of a file that `write` writes, and gives what is found in them."""

    def make(media, name, write):
        for label in ("a", "b"):
            (tmp_path / label).mkdir()
            write(tmp_path / label / name)
        assert reader_for(tmp_path, {}).modality.name == media.field
        rows = list(media.read(tmp_path))
        assert [row.values["label"] for row in rows] == ["a", "b"]
        return [(row.values[media.field], row.where) for row in rows]

    return make


@pytest.mark.parametrize("ending", written_images())
def test_every_format_that_pillow_decodes_is_found(classes, ending):
    kind = Image.EXTENSION[ending]
    mode = {"MSP": "1", "PFM": "F", "BLP": "P", "XBM": "1"}.get(kind, "RGB")
    size = (64, 64) if kind in ("ICNS", "ICO", "DDS", "BLP") else (40, 30)
    made = picture(size=size).convert("L" if mode == "F" else "RGB").convert(mode)
    if mode == "F":
        made = Image.fromarray(np.asarray(made) / np.float32(255))
    for content, where in classes(PICTURES, f"1{ending.upper()}", lambda path: made.save(path, kind)):
        assert min(read_picture(content, where).size) >= 16


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM", "QOI", "JPEG2000"])
@pytest.mark.parametrize("name", ["1", "1.jpg_large", "photo.v2"])
def test_images_without_an_ending_are_found_by_how_they_begin(classes, kind, name):
    for content, where in classes(PICTURES, name, lambda path: picture().save(path, kind)):
        assert read_picture(content, where).size == (40, 30)


@pytest.mark.parametrize("kind", [each for each in soundfile.available_formats() if each not in ("RAW", "SD2", "HTK")])
def test_every_format_that_libsndfile_decodes_is_found(classes, kind):
    rate, subtype = KINDS.get(kind, 16000), "ALAW" if kind == "WVE" else None
    write = lambda path: soundfile.write(path, NOISE, rate, format=kind, subtype=subtype)  # noqa: E731
    for content, where in classes(SOUNDS, f"1.{kind.lower()}", write):
        assert len(read_recording(content, where, 16000, 30)) > 4000


def filmed(path):
    codec = CODECS.get(path.suffix, "mpeg4")
    with av.open(str(path), "w", format={".vob": "vob", ".m4v": "mp4", ".3gp": "3gp"}.get(path.suffix)) as file:
        track = file.add_stream(codec, rate=25)
        track.width, track.height, track.pix_fmt = 64, 48, "rgb8" if codec == "gif" else "yuv420p"
        for number in range(6):
            frame = np.full((48, 64, 3), 40 * number, np.uint8)
            file.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(track.encode(None))


@pytest.mark.parametrize("ending", VIDEO)
def test_formats_that_pyav_decodes_are_found(classes, ending, tmp_path):
    assert ending in decoded_videos()
    if ending == ".gif":  # also an image, which comes first
        filmed(tmp_path / "1.gif")
        assert VIDEOS.is_one(tmp_path / "1.gif")
        return
    for content, where in classes(VIDEOS, f"1{ending}", filmed):
        pictures, length = read_clip(content, where, 3)
        assert length == 6
        assert [each.size for each in pictures] == [(64, 48)] * 3


def test_audio_alone_and_video_are_told_apart():
    assert not decoded_audio() & decoded_videos()
    assert {".m4a", ".aac", ".wma", ".amr"} <= decoded_audio()
    assert {".flv", ".wmv", ".ts", ".ogv"} <= decoded_videos()
    assert {".avif", ".jfif", ".jp2", ".tga", ".ico"} <= decoded_images()
    assert not {".pdf", ".eps", ".h5", ".mpg"} & decoded_images()

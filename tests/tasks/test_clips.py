"""Videos of users: the right frames of every format, few decoded, and every fault is one line that says where it is."""

import wave

import numpy as np
import pytest
from PIL import Image

from cuetune.backbones.clips import evenly
from cuetune.data.media import video_reading as clips
from cuetune.data.media.video_files import VIDEOS
from cuetune.data.media.video_reading import read_clip
from cuetune.errors import CuetuneError
from tiny_video import counted, film, number_of

pytest.importorskip("av")
FORMATS = {"a.mp4": "libx264", "a.webm": "libvpx-vp9", "a.avi": "mpeg4", "a.mkv": "libx264", "a.mov": "mpeg4"}


def numbers(source, frames, where="row 1"):
    pictures, length = read_clip(source, where, frames)
    return [number_of(picture) for picture in pictures], length


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("frames", [1, 4, 16])
def test_the_frames_that_are_asked_for(tmp_path, name, frames):
    path = film(tmp_path / name, counted(40), FORMATS[name])
    assert numbers(path, frames) == (evenly(40, frames), 40)


def test_a_gif_and_frames_themselves(tmp_path):
    path = film(tmp_path / "a.gif", counted(12), "gif")
    assert numbers(path, 5) == (evenly(12, 5), 12)
    assert numbers(counted(12), 5) == (evenly(12, 5), 12)
    assert numbers([Image.fromarray(each) for each in counted(12)], 5) == (evenly(12, 5), 12)


def test_bytes_and_mappings_are_the_same(tmp_path):
    content = film(tmp_path / "a.mp4", counted(9)).read_bytes()
    for source in (content, bytearray(content), {"bytes": content, "path": None}, {"path": str(tmp_path / "a.mp4")}):
        assert numbers(source, 3) == ([0, 4, 8], 9)


def test_of_a_short_clip_frames_come_again(tmp_path):
    assert numbers(film(tmp_path / "a.mp4", counted(3)), 6) == (evenly(3, 6), 3)
    assert numbers(film(tmp_path / "b.mp4", counted(1)), 3) == ([0, 0, 0], 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.avi"])
def test_of_a_long_clip_only_what_leads_to_a_taken_frame_is_decoded(tmp_path, name, monkeypatch):
    options = {"g": "10", "keyint_min": "10"}
    path = film(tmp_path / name, counted(250), FORMATS[name], options=options)
    decoded = []
    real = clips._Film._decode

    def decode(self, time):
        self._frames = (decoded.append(frame) or frame for frame in self._frames)
        real(self, time)

    monkeypatch.setattr(clips._Film, "_decode", decode)
    assert numbers(path, 4) == (evenly(250, 4), 250)
    assert len(set(map(id, decoded))) < 120
    assert len({frame.pts for frame in decoded}) <= 4 * 12


def broken_files(folder):
    """(name, what is told) of everything that is no video."""
    import av

    whole = film(folder / "whole.mp4", counted(20)).read_bytes()
    for name, content in {"cut.mp4": whole[: len(whole) // 2], "empty.mp4": b"", "text.mp4": b"no film"}.items():
        (folder / name).write_bytes(content)
    with wave.open(str(folder / "sound.avi"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    with av.open(str(folder / "none.mkv"), "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        file.start_encoding()
    (folder / "folder.mp4").mkdir()
    return {
        "cut.mp4": "not a readable video",
        "empty.mp4": "the file is empty",
        "text.mp4": "not a readable video",
        "sound.avi": "holds no video stream",
        "none.mkv": "a video without frames|not a readable video",
        "missing.mp4": "no such file",
        "folder.mp4": "is a folder",
    }


def test_every_fault_is_one_line_that_names_row_and_file(tmp_path):
    for name, told in broken_files(tmp_path).items():
        with pytest.raises(CuetuneError, match=told) as caught:
            list(read_clip(tmp_path / name, "data.csv, row 7", 4)[0])
        assert str(caught.value).startswith(f"data.csv, row 7: {tmp_path / name}: ")
        assert "\n" not in str(caught.value)
    for source, told in [(b"", "an empty video"), (7, "no video but int '7'"), ([], "a video without frames")]:
        with pytest.raises(CuetuneError, match=f"row 7: {told}"):
            read_clip(source, "row 7", 4)
    with pytest.raises(CuetuneError, match="frames of float64"):
        list(read_clip(np.zeros((3, 8, 8, 3)), "row 7", 2)[0])


def test_frames_that_are_too_large_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "LARGEST", 1000)
    with pytest.raises(CuetuneError, match="frames of 32 x 32 pixels; at most"):
        read_clip(film(tmp_path / "a.mp4", counted(3)), "row 1", 2)


def test_mixed_rows_name_the_one_that_does_not_belong(tmp_path):
    (tmp_path / "rows.csv").write_text("video,label\na.mp4,x\nb.png,y\n")
    with pytest.raises(CuetuneError, match="row 2, column 'video': 'b.png' is none of the video paths"):
        VIDEOS.infer(list(VIDEOS.read(tmp_path / "rows.csv")))
    (tmp_path / "none").mkdir()
    with pytest.raises(CuetuneError, match="no folders; expected a folder of videos for each class"):
        list(VIDEOS.read(tmp_path / "none"))

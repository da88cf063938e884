"""Recordings as rows: a folder for each class, a table with a column of paths, or data sets that hold them."""

import re

from cuetune.tasks.media import Media

SOUNDS = Media(
    field="audio",
    noun="recording",
    endings=(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"),
    columns=("audio", "sound", "recording", "wav", "clip", "path", "file", "filename", "file_name"),
    begins=re.compile(rb"RIFF....WAVE|fLaC|OggS|ID3|\xff[\xe2-\xfb]|FORM....AIF|\.snd", re.DOTALL),
    module="soundfile.",
)

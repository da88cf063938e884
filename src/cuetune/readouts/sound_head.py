"""A trained head on what a backbone makes of a sound."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cuetune.backbones.sounds import Sounds
from cuetune.readouts.media_head import MediaHead


class SoundHead(MediaHead):
    """A head on sounds; "first" is the mean over the states that the model has before the sound's.

    at_least: of a sound nothing but itself is heard.
    """

    noun, at_least = "sound", 0.0

    def rows(self, sounds: Sounds, rows: Sequence[Any] = ()) -> Sounds:  # type: ignore[override]
        """Sounds as they go through the backbone, and what is read of each. rows: are not looked at."""
        return replace(sounds, layer=self.layer, pooling=self.pooling)

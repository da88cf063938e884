"""Frozen video models: any vision transformer over frames, or one over tubes, and both are image backbones."""

import torch
from torch import Tensor

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.clips import ClipPreprocessing
from cuetune.backbones.compat import video as compat_video
from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.image_layout import ImageLayout
from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError


class FramesBackbone(ImageBackbone):
    """A vision transformer that sees the T frames of a video one by one.

    What is read of a video are the states that are read of its frames, one behind the other, (B, T · d): a linear head
    on them weighs every frame by itself, so it can tell what comes first. The mean over frames, the usual choice
    (Ju et al., ECCV 2022), cannot: it is the same for a video that is played backwards.
    An injection is shared by all frames, or, with T rows, each frame has its own: the learned temporal prompt.
    Pixels of videos are (B, T, 3, H, W); methods that take images (`states`, `layer_inputs`, `keys_values`) take
    frames.
    """

    kind = "video"
    preprocessing: ClipPreprocessing

    @property
    def frames(self) -> int:
        """T, the frames that are seen of a video."""
        return self.preprocessing.frames

    @property
    def state_width(self) -> int:
        return self.frames * self.width

    @property
    def n_states(self) -> int:
        """T · (F + N), the states that stand for one video."""
        return self.frames * super().n_states

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """As for images; a prompt with an own part for each frame must be made for as many frames."""
        super().check(injection, where)
        rows = _rows(injection)
        if rows is not None and rows != self.frames:
            raise CuetuneError(
                f"{where}: made for {rows} frames, but {self.identity.name} sees {self.frames} of a video; load the "
                "model the prompt was made for."
            )

    def hidden(
        self,
        pixels: Tensor,
        injection: Injection | None = None,
        *,
        layer: int | None = None,
        pooling: str | None = None,
    ) -> Tensor:
        """(B, T · d) the features of each frame of videos (B, T, 3, H, W), side by side; see `ImageBackbone`."""
        each = self._of_frames(injection, len(pixels))
        return super().hidden(pixels.flatten(0, 1), each, layer=layer, pooling=pooling).reshape(len(pixels), -1)

    @torch.no_grad()
    def states_at(self, layer: int, rows: ImageBatch, n_tokens: int = 0) -> Tensor:
        """(B, T · (F + N), d) states of the videos' frames as they enter `layer`, without a prompt."""
        frames = ImageBatch(rows.pixels.flatten(0, 1))
        return super().states_at(layer, frames).reshape(len(rows.pixels), -1, self.width)

    def hidden_from(self, layer: int, states: Tensor, pictures: ImageBatch, injection: Injection) -> Tensor:
        """As `hidden`, from the frames' states (B, T · (F + N), d) at `layer` (`states_at`) on."""
        each = states.reshape(len(states) * self.frames, -1, self.width)
        found = super().hidden_from(layer, each, pictures, self._of_frames(injection, len(states)))
        return found.reshape(len(states), -1)

    def _of_frames(self, injection: Injection | None, clips: int) -> Injection:
        """An injection for every frame of so many videos, as rows of one pass."""
        injection = injection or Injection()
        if _rows(injection) is None:
            return injection
        return injection.of_rows(torch.arange(self.frames).repeat(clips))


class TubesBackbone(ImageBackbone):
    """VideoMAE: a transformer over tubes, patches of several frames, in which every tube sees the whole video.

    Pixels are (B, T, 3, H, W). Virtual tokens stand before the tubes, which have no state before them; what is read is
    the mean over the tubes. Raises CuetuneError also where videos are not prepared in the size that the model takes.
    """

    kind = "video"
    preprocessing: ClipPreprocessing

    @property
    def frames(self) -> int:
        """T, the frames that are seen of a video."""
        return self.preprocessing.frames

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.frames, *self.pixel_shape)

    def _take_attention(self) -> None:
        compat_video.hand_on(self.model)

    def _patches(self) -> int:
        """N tubes: patches, each over as many frames."""
        taken = compat_video.clip_size(self.config)
        if taken != (self.frames, *self.preprocessing.size):
            raise CuetuneError(
                f"a model of type {self.config.model_type!r} sees {taken[0]} frames of {taken[1]} x {taken[2]} pixels "
                "and no others; name it without @, and check its preprocessor_config.json."
            )
        return super()._patches() * self.frames // compat_video.tube_length(self.config)

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """As for images; no frame can have a prompt of its own."""
        super().check(injection, where)
        if _rows(injection) is not None:
            raise CuetuneError(
                f"{where}: has a part for each frame, but {self.identity.name} sees all frames at once; use another "
                "prompt, e.g. --prompt vpt."
            )

    def _run(self, pixels: Tensor, layout: ImageLayout) -> Tensor:
        with compat_video.handed(layout):
            return super()._run(pixels, layout)


def _rows(injection: Injection) -> int | None:
    """How many rows an injection has, each with its own; None where all share it."""
    rows = [len(states) for states in injection.tokens.values() if states.dim() == 3]
    rows += [len(keys) for keys, _ in injection.kv.values() if keys.dim() == 4]
    return rows[0] if rows else None

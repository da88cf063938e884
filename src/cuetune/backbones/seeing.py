"""What frozen image models have in common, vision transformers and convolutional networks alike."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.injection import Injection
from cuetune.backbones.media import MediaBackbone
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError


class SeeingBackbone(MediaBackbone[ImageBatch]):
    """A frozen image model.

    preprocessing: what turns an image into its pixels, as a tokenizer turns a text into its tokens. classes: the names
    of those that the model was trained on, empty for one without. takes_states: whether prompts may add virtual tokens,
    keys and values; else they change pixels alone.
    """

    kind = "image"
    takes_states: ClassVar[bool] = True

    preprocessing: Preprocessing
    classes: tuple[str, ...]

    @property
    @abstractmethod
    def n_states(self) -> int:
        """How many states stand for one image."""

    @property
    @abstractmethod
    def reads(self) -> list[tuple[int | None, str]]:
        """What a probe may choose from: layers (None: the final states), each with a pooling."""

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image as the model takes it."""
        return (int(getattr(self.config, "num_channels", 3)), *self.preprocessing.size)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row as it goes through the model."""
        return self.pixel_shape

    def pixels(self, pictures: Sequence[Any]) -> Tensor:
        """(B, 3, H, W) pixels of Pillow images in RGB, normalised as the model takes them, on its device."""
        return self.normalised(torch.stack([self.preprocessing.bytes_of(picture) for picture in pictures]))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Bytes (B, 3, H, W) of `Preprocessing.bytes_of` as the model takes them, on its device.

        Numbers that are no bytes are normalised already, and only move there.
        """
        here = pixels.to(self.device, non_blocking=True)
        return self.preprocessing.normalised(here, self.dtype) if pixels.dtype == torch.uint8 else here

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """Raise CuetuneError unless an injection is for images of this size."""
        name = self.identity.name
        if injection.inputs is not None and injection.inputs.added.shape[-3:] != self.pixel_shape:
            raise CuetuneError(
                f"{where}: a change of pixels {tuple(injection.inputs.added.shape[-3:])}, but {name} takes "
                f"{self.pixel_shape}; load the model the prompt was made for."
            )
        if injection.offsets is not None:
            raise CuetuneError(f"{where}: offsets of a text's tokens, but {name} takes images; use another prompt.")

    @abstractmethod
    def hidden(
        self,
        pixels: Tensor,
        injection: Injection | None = None,
        *,
        layer: int | None = None,
        pooling: str | None = None,
    ) -> Tensor:
        """One state (B, d) for each image. pixels: (B, 3, H, W), normalised. layer, pooling: one of `reads`."""

    def hidden_mixed(self, parts: Sequence[tuple[ImageBatch, Injection]]) -> list[Tensor]:
        """As `hidden` for several prompts, each with its own images.

        One pass for each: what a prompt does depends on the image it stands by, so nothing could be shared.
        """
        return [
            self.hidden(self.normalised(pictures.pixels), injection, layer=pictures.layer, pooling=pictures.pooling)
            for pictures, injection in parts
        ]

    @abstractmethod
    def states(self, pixels: Tensor, layer: int | None = None) -> Tensor:
        """(B, `n_states`, d) what the frozen model alone makes of images; layer: as in `hidden`. Read by `pooled`."""

    @abstractmethod
    def states_at(self, layer: int, rows: ImageBatch, n_tokens: int = 0) -> Tensor:
        """(B, `n_states`, d) states of the images as they enter `layer`, without a prompt.

        n_tokens: positions that text backbones keep free for one; an image's states have places of their own.
        """

    @abstractmethod
    def pooled(self, states: Tensor, pooling: str | None = None) -> Tensor:
        """(B, d) what is read of `states`."""

    @torch.no_grad()
    def features(self, pixels: Tensor, *, layer: int | None = None, pooling: str | None = None) -> Tensor:
        """(B, d) in float32 what the frozen model alone says of each image: for probes, queries and neighbours."""
        return self.hidden(pixels, layer=layer, pooling=pooling).float()

    def class_logits(self, pixels: Tensor, injection: Injection | None = None) -> Tensor:
        """(B, K) logits of the model's own classes. Raises CuetuneError for a model without them."""
        if not self.classes:
            raise CuetuneError(f"{self.identity.name} has no classes of its own; train a head instead.")
        injection = injection or Injection()
        return self._class_logits(changed(pixels, injection), injection).float()

    @torch.no_grad()
    def classifier(self) -> tuple[Tensor, Tensor]:
        """W (K, d) and b (K,) in float32: the model's own classes as a linear function of the state that a head reads.

        Raises CuetuneError for a model without classes, or whose classes read something else (seen on noise).
        """
        pixels = torch.randn((1, *self.pixel_shape), generator=torch.Generator().manual_seed(0)).to(self.device)
        logits, last = self.class_logits(pixels), compat_vision.last_linear(self.model)
        state = self.features(pixels)
        if last is not None and last.in_features == state.shape[1]:
            weight = last.weight.detach().float()
            bias = weight.new_zeros(len(weight)) if last.bias is None else last.bias.detach().float()
            if torch.allclose(F.linear(state, weight, bias), logits, rtol=0.02, atol=0.02 * float(logits.std())):
                return weight, bias
        raise CuetuneError(
            f"{self.identity.name}: its classes are not read off the {self.pooling} state alone; train a head instead."
        )

    @abstractmethod
    def _class_logits(self, pixels: Tensor, injection: Injection) -> Tensor:
        """As `class_logits`, of pixels that are changed already."""

    def around(self, model: PreTrainedModel) -> Self:
        return type(self)(model, self.preprocessing, self.identity.name, self.identity.revision)  # type: ignore[call-arg]


def changed(pixels: Tensor, injection: Injection) -> Tensor:
    """The pixels with what a prompt adds to them."""
    return pixels if injection.inputs is None else injection.inputs.of(pixels)

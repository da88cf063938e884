"""A frozen convolutional network: sees images whose pixels a prompt may change, and knows who it is."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.injection import Injection
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.backbones.seeing import SeeingBackbone, changed
from cuetune.errors import CuetuneError


class ConvBackbone(SeeingBackbone):
    """A convolutional network of transformers (ResNet, RegNet, ConvNeXt, EfficientNet, MobileNet, …), frozen.

    It has no sequence of states that virtual tokens could join, so prompts change its pixels and nothing else. What is
    read of an image is the one feature that the model's own classifier reads, most often a mean over the last map.
    Batch norms keep the statistics that the model was trained with, whatever is tuned.
    Raises CuetuneError for a model without such a feature, or whose maps vanish in images of this size.
    """

    takes_states = False
    keeps_states = False
    pooling = "mean"
    n_states = 1
    n_first = 0
    layers = 0
    kv_shape = (0, 0, 0)
    stand_in = "efficientnet-lite0"

    def __init__(
        self, model: PreTrainedModel, preprocessing: Preprocessing, name: str = "", revision: str | None = None
    ) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # faster on processors
        self.preprocessing = preprocessing
        self.config = model.config
        compat.keep_freed_memory()
        self._part = compat_vision.seeing_part(model)
        self._width = self._self_test(name)
        self.identity = self._identified(name, revision, self._part.state_dict(), preprocessing.hash)
        self.classes = compat_vision.classes(model)

    @property
    def width(self) -> int:
        """d, the size of the pooled feature."""
        return self._width

    @property
    def reads(self) -> list[tuple[int | None, str]]:
        return [(None, self.pooling)]

    def embedding_table(self) -> Tensor:
        """(1, d) ones: no prompt here has virtual tokens, and normalised pixels are about as large."""
        return torch.ones(1, self.width)

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """Raise CuetuneError unless an injection changes pixels of this size alone."""
        if injection.tokens or injection.kv:
            raise CuetuneError(
                f"{where}: adds states to a transformer, and {self.identity.name} is a convolutional network; use a "
                "prompt in pixels (frame, patch)."
            )
        super().check(injection, where)

    def check_layer(self, layer: int | None) -> None:
        """Raise CuetuneError unless it is None: the pooled feature stands behind the last layer."""
        if layer is not None:
            raise CuetuneError(
                f"layer {layer}: of the convolutional network {self.identity.name} the pooled feature alone is read; "
                "name no layer."
            )

    def hidden(
        self,
        pixels: Tensor,
        injection: Injection | None = None,
        *,
        layer: int | None = None,
        pooling: str | None = None,
    ) -> Tensor:
        """(B, d) the pooled feature of images (B, 3, H, W), normalised. layer, pooling: None, or "mean"."""
        self.check_layer(layer)
        self._pooling(pooling)
        return compat_vision.pooled_feature(self._part, changed(pixels, injection or Injection()).to(self.dtype))

    @torch.no_grad()
    def states(self, pixels: Tensor, layer: int | None = None) -> Tensor:
        """(B, 1, d) the pooled feature as the only state."""
        return self.hidden(pixels, layer=layer).unsqueeze(1)

    def pooled(self, states: Tensor, pooling: str | None = None) -> Tensor:
        self._pooling(pooling)
        return states.mean(dim=1)

    def states_at(self, layer: int, rows: ImageBatch, n_tokens: int = 0) -> Tensor:
        """Not to be had: `keeps_states` is False."""
        raise self._whole()

    def hidden_from(self, layer: int, states: Tensor, rows: ImageBatch, injection: Injection) -> Tensor:
        """Not to be had: `keeps_states` is False."""
        raise self._whole()

    def _whole(self) -> CuetuneError:
        return CuetuneError(f"{self.identity.name} runs as a whole; no states of its layers are kept.")

    def _class_logits(self, pixels: Tensor, injection: Injection) -> Tensor:
        return self.model(pixel_values=pixels.to(self.dtype)).logits

    @torch.no_grad()
    def look(self) -> Tensor:
        """(1, d) the feature of an image of noise: one pass, to be tested or counted."""
        pixels = torch.randn((1, *self.pixel_shape), generator=torch.Generator().manual_seed(0))
        return compat_vision.pooled_feature(self._part, pixels.to(self.device, self.dtype))

    def _self_test(self, name: str) -> int:
        """d, seen in a pass over noise. Raises CuetuneError where that fails or gives no numbers."""
        try:
            feature = self.look()
        except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as problem:
            reason, *_ = str(problem).splitlines() or [type(problem).__name__]
            raise self._unseen(name, reason) from problem
        if not feature.isfinite().all():
            raise self._unseen(name, "its feature of noise is not finite")
        return feature.shape[1]

    def _unseen(self, name: str, reason: str) -> CuetuneError:
        height, width = self.preprocessing.size
        return CuetuneError(
            f"{name}: a model of type {self.config.model_type!r} cannot be read of images of {height} x {width} "
            f"pixels ({reason}); choose another size or model, e.g. --model {self.stand_in}."
        )

"""A frozen vision transformer: runs batches of images under an injection and knows who it is."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

import cuetune.backbones.attention  # noqa: F401 - makes its function known to transformers
from cuetune.backbones import frozen
from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.compat.handed import hand_on_layers, handed, running_layout
from cuetune.backbones.fitting import check_states
from cuetune.backbones.image_layout import ImageLayout
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.backbones.seeing import SeeingBackbone, changed
from cuetune.errors import CuetuneError


class ImageBackbone(SeeingBackbone):
    """A vision transformer of transformers (ViT, DeiT, DINOv2, DINOv3, I-JEPA, CLIP's, …), frozen.

    model: any whose attention goes through transformers' attention interface.
    A pass is `[first states | prompt | patches]`: virtual tokens stand behind the model's own first states ([CLS]) and
    before the patches, and have no position of their own (VPT, Jia et al. 2022). Keys and values stand before all.
    What is read of an image is never a state of the prompt: its first state, or the mean over its patches.
    pooling: which of the two the model was made for.
    Raises CuetuneError when the model does not honour injections, found out by a short self-test.
    """

    stand_in = "dinov2-small"

    def __init__(
        self, model: PreTrainedModel, preprocessing: Preprocessing, name: str = "", revision: str | None = None
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.config = compat_vision.vision_config(model)
        self._take_attention()
        frozen.use_products(model)
        compat.keep_freed_memory()
        name = name or str(model.config.name_or_path)
        try:
            self._part = compat_vision.seeing_part(model)
            self._norm = compat_vision.last_norm(model)
            self._arguments = compat_vision.size_arguments(model, preprocessing.size)
            layers = list(compat_vision.vision_layers(model))
            for number, layer in enumerate(layers):
                compat.wrap_layer(layer, number)
            self.layers = len(layers)
            self.n_patches = self._patches()
            self.identity = self._identified(name, revision, self._weights(), preprocessing.hash)
        except (LookupError, AttributeError, ZeroDivisionError, TypeError, ValueError) as problem:
            raise self._refused(name, str(problem)) from problem
        self.classes = compat_vision.classes(model)
        self._class_head = compat_vision.ClassHead(model) if self.classes else None
        self._handed = False  # whether layouts travel with the thread
        self.kv_shape: tuple[int, int, int] = (0, 0, 0)  # L, h_kv, d_h: what an injection's `kv` must fit
        self.n_first = 0  # states before the patches: [CLS] and what else a family has there
        self._first_states = torch.empty(0)  # what enters the first layer of an image of noise
        try:
            self._self_test()
        except CuetuneError:  # it may hand nothing on to its layers
            self._hand_on(layers)
            self._self_test()
        self.pooling = "first" if self.n_first else "mean"

    def _take_attention(self) -> None:
        """Route the model's attention through ours."""
        compat.use_attention(self.model)

    def _hand_on(self, layers: Sequence[torch.nn.Module]) -> None:
        """The other way of routing, for models that hand nothing on."""
        hand_on_layers(self.model, layers)
        self._handed = True
        for number, layer in enumerate(layers):
            compat.wrap_layer(layer, number)

    def _patches(self) -> int:
        (height, width), (patch_height, patch_width) = self.preprocessing.size, self.patch
        return (height // patch_height) * (width // patch_width)

    @property
    def patch(self) -> tuple[int, int]:
        """(height, width) of a patch in pixels."""
        return compat_vision.patch_size(self.config)

    @property
    def n_states(self) -> int:
        """F + N, the states that stand for one image."""
        return self.n_first + self.n_patches

    @property
    def reads(self) -> list[tuple[int | None, str]]:
        """The final states and those at two thirds of the depth, the first and the mean of each."""
        both = ("first", "mean") if self.n_first else ("mean",)
        return [(layer, pooling) for layer in (max(1, round(self.layers * 2 / 3)), None) for pooling in both]

    def embedding_table(self) -> Tensor:
        """(F + N, d) states as they enter the first layer, of noise: how large an image's embeddings are."""
        return self._first_states

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """Raise CuetuneError unless an injection has this backbone's width, layers, heads and size of images."""
        check_states(injection, self.identity.name, self.width_at, self.kv_shape, where)
        super().check(injection, where)

    def hidden(
        self,
        pixels: Tensor,
        injection: Injection | None = None,
        *,
        layer: int | None = None,
        pooling: str | None = None,
    ) -> Tensor:
        """One state (B, d) for each image: the first, or ("mean") the mean over its patches.

        pixels: (B, 3, H, W), normalised. layer: reads the states that enter this layer, put through the model's last
        norm; the layers from there on are not run. None reads those behind the last layer.
        """
        injection = injection or Injection()
        layout = ImageLayout(injection, n_first=self.n_first, last=layer)
        return self.pooled(self._run(changed(pixels, injection), layout), pooling, layout.grown)

    @torch.no_grad()
    def states(self, pixels: Tensor, layer: int | None = None) -> Tensor:
        """(B, F + N, d) what the frozen model alone makes of images; layer: as in `hidden`. Read by `pooled`."""
        return self._run(pixels, ImageLayout(Injection(), n_first=self.n_first, last=layer))

    @torch.no_grad()
    def states_at(self, layer: int, rows: ImageBatch, n_tokens: int = 0) -> Tensor:
        """(B, F + N, d) states of the images as they enter `layer`, without a prompt; n_tokens: of no use here."""
        inputs: dict[int, Tensor] = {}
        layout = ImageLayout(Injection(), inputs=inputs, n_first=self.n_first, last=layer)
        self._run(self.normalised(rows.pixels), layout)
        return inputs[layer]

    def hidden_from(self, layer: int, states: Tensor, pictures: ImageBatch, injection: Injection) -> Tensor:
        """As `hidden`, from the images' states (B, F + N, d) at `layer` (`states_at`) on: those below are not run.

        pictures: what is read of them; their pixels are not looked at. injection: nothing below `layer`.
        """
        if min((*injection.tokens, *injection.kv), default=layer) < layer or injection.inputs is not None:
            raise CuetuneError(f"a prompt that enters below layer {layer} needs the whole model.")
        states = states.to(self.device, self.dtype)
        layout = ImageLayout(injection, n_first=self.n_first, first=layer, states=states, last=pictures.layer)
        return self.pooled(self._run(self._nothing(), layout), pictures.pooling, layout.grown)

    @torch.no_grad()
    def layer_inputs(self, pixels: Tensor, injection: Injection | None = None) -> list[Tensor]:
        """What goes into each layer, L tensors (B, T, d): where prompts above layer 0 can start."""
        inputs: dict[int, Tensor] = {}
        self._run(pixels, ImageLayout(injection or Injection(), inputs=inputs, n_first=self.n_first))
        return [inputs[layer] for layer in sorted(inputs)]

    @torch.no_grad()
    def keys_values(self, pixels: Tensor) -> KeyValue:
        """(L, B, h_kv, F + N, d_h) keys and values that the frozen model makes of images: where prefixes start."""
        captured: dict[int, KeyValue] = {}
        self._run(pixels, ImageLayout(Injection(), capture=captured, n_first=self.n_first))
        keys, values = (torch.stack([captured[layer][part] for layer in sorted(captured)]) for part in (0, 1))
        return keys, values

    def _class_logits(self, pixels: Tensor, injection: Injection) -> Tensor:
        layout = ImageLayout(injection, n_first=self.n_first)
        states = self._run(pixels, layout)
        own = torch.cat([states[:, : self.n_first], states[:, self.n_first + layout.grown :]], dim=1)
        return self._class_head(own)  # type: ignore[misc]

    def pooled(self, states: Tensor, pooling: str | None = None, grown: int = 0) -> Tensor:
        """(B, d) what is read of states (B, F + P + N, d), put through the last norm. grown: P, of a prompt."""
        if self._pooling(pooling) == "first":
            return self._norm(states[:, 0])
        return self._norm(states[:, self.n_first + grown :]).float().mean(dim=1)

    def _run(self, pixels: Tensor, layout: ImageLayout) -> Tensor:
        """Final states (B, F + P + N, d) of one pass."""
        told = {} if self._handed else {"cuetune_layout": layout}
        with frozen.own_pass(), handed(layout if self._handed else running_layout()):
            output = self._part(pixel_values=pixels.to(self.dtype), **told, **self._arguments)
        return output.last_hidden_state

    def _nothing(self) -> Tensor:
        """An image whose states nobody reads."""
        return torch.zeros((1, *self.input_shape), device=self.device, dtype=self.dtype)

    def _weights(self) -> dict[str, Tensor]:
        """Without the pooler: no answer goes through it, and many files lack it, so that it is random."""
        return {name: value for name, value in self._part.state_dict().items() if "pooler" not in name}

    @torch.no_grad()
    def _self_test(self) -> None:
        """A pass must give what the stock path gives: alone, and with a prefix of the image's own keys and values.

        To see every key twice changes no weighted mean, so both must agree, whatever the model does to its keys.
        """
        pixels = torch.randn((1, *self.input_shape), generator=torch.Generator().manual_seed(0))
        pixels = pixels.to(self.device, self.dtype)
        captured: dict[int, KeyValue] = {}
        inputs: dict[int, Tensor] = {}
        with self._testing():
            stock = self._part(pixel_values=pixels, **self._arguments).last_hidden_state
            alone = self._run(pixels, ImageLayout(Injection(), capture=captured, inputs=inputs))
            twice = self._run(pixels, ImageLayout(Injection(kv=captured)))
        self._must_agree(stock, (alone, twice), captured, inputs)
        keys = captured[0][0]
        self.kv_shape = (len(captured), keys.shape[1], keys.shape[3])
        self.n_first = stock.shape[1] - self.n_patches
        self._first_states = inputs[0][0]

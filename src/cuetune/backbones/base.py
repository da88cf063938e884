"""What every frozen model can do for the loop, whatever it reads: run batches under injections, and say who it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cuetune.backbones.batches import Batch
from cuetune.backbones.fitting import check_states
from cuetune.backbones.identity import BackboneIdentity
from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError


class PathError(CuetuneError):
    """A model does not give, in the way that was tried, what plain transformers gives. reason: what was found."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def relative(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max().clamp_min(1e-6))


class Backbone(ABC, Generic[Batch]):
    """A frozen model of transformers with what turns users' rows into its input.

    kind: what a model is; `modalities` knows by it which modality it reads. causal: whether what stands first is
    computed without what stands behind it, and so can be shared and compiled. writes: whether answers can be written
    behind the input. keeps_states: whether rows' states at a layer can be kept (`states_at`) and gone on from
    (`hidden_from`). kv_shape: L, h_kv and d_h, what an injection's `kv` must fit. stand_in: a bundled model of this
    kind, for whoever brought one that does not take injections. folder: where its files lie, from the working folder;
    None for a model that is found by its name, or that lies elsewhere on this machine.
    A batch is what goes through one pass under one prompt: `TokenBatch`, `ImageBatch` or `AudioBatch`.
    """

    kind: ClassVar[str] = ""
    causal: ClassVar[bool] = False
    writes: ClassVar[bool] = False
    keeps_states: bool = True
    stand_in: ClassVar[str] = ""

    model: Any
    config: Any
    identity: BackboneIdentity
    kv_shape: tuple[int, int, int]
    pooling: str
    folder: str | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def depth(self) -> int:
        """How many layers a prompt can enter."""
        return self.kv_shape[0]

    @property
    @abstractmethod
    def width(self) -> int:
        """d, the size of a virtual token at layer 0."""

    @property
    @abstractmethod
    def state_width(self) -> int:
        """The size of a final state."""

    @property
    def has_words(self) -> bool:
        """Whether the model can score the words of a vocabulary."""
        return False

    @abstractmethod
    def width_at(self, layer: int) -> int:
        """The size of a virtual token that enters at this layer."""

    @abstractmethod
    def embedding_table(self) -> Tensor:
        """(N, d) numbers as they enter the first layer: how large virtual tokens are, and how fast they learn."""

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """Raise CuetuneError unless an injection has this backbone's width, layers and heads."""
        check_states(injection, self.identity.name, self.width_at, self.kv_shape, where)
        if injection.inputs is not None:
            raise CuetuneError(
                f"{where}: changes the pixels of images, and {self.identity.name} sees none; use another prompt."
            )

    @abstractmethod
    def hidden_mixed(self, parts: Sequence[tuple[Batch, Injection]]) -> list[Tensor]:
        """The states (K, d) that each part's rows ask for, of several prompts, each with its own rows."""

    @abstractmethod
    def compile(self, injection: Injection, shared: Sequence[int] = ()) -> Injection:
        """The same prompt in the cheapest form for answering, in the backbone's dtype, detached."""

    @abstractmethod
    def states_at(self, layer: int, rows: Batch, n_tokens: int) -> Tensor:
        """States of the rows as they enter `layer`, without a prompt."""

    @abstractmethod
    def hidden_from(self, layer: int, states: Tensor, rows: Batch, injection: Injection) -> Tensor:
        """As `hidden_mixed` for one part, from the rows' states at `layer` (`states_at`) on."""

    @abstractmethod
    def around(self, model: PreTrainedModel) -> "Backbone[Batch]":
        """The same backbone around another model of the same kind, such as a copy that is to be fine-tuned."""

    @contextmanager
    def _testing(self) -> Iterator[None]:
        """Whatever fails in a self-test says that the model does not take injections."""
        try:
            yield
        except CuetuneError as problem:
            raise self._refused(self.identity.name, str(problem)) from problem
        except Exception as problem:
            raise self._refused(self.identity.name, f"{type(problem).__name__}: {problem}") from problem

    def _must_equal(self, ours: Tensor, stock: Tensor, rounding: float = 0.0) -> None:
        """Raise CuetuneError unless what a self-test found is what the stock path gives, up to the dtype's rounding.

        rounding: what the dtype's rounding of the embeddings alone changes, relative to the largest number.
        """
        error = relative(ours, stock)
        if not error < (1e-3 if self.dtype == torch.float32 else max(0.1, 4 * rounding)):
            raise self._refused(self.identity.name, f"outputs differ by {error:.1e}")

    def _refused(self, name: str, reason: str) -> "PathError":
        first, *_ = reason.splitlines() or [""]
        if "object" in first and "attribute" in first:  # what it lacks is for its makers
            first = "it is not built of equal layers with attention"
        return PathError(
            first,
            f"{name}: models of type {self.model.config.model_type!r} do not take injections through transformers' "
            f"attention interface ({first}); choose another model, e.g. --model {self.stand_in}.",
        )

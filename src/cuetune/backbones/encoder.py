"""A frozen encoder: BERT, RoBERTa, ALBERT, DistilBERT, ELECTRA, ModernBERT and their like, and sentence encoders."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection
from cuetune.backbones.packing import Packed
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError


class EncoderBackbone(TextBackbone):
    """An encoder of transformers with its tokenizer, frozen: a masked language model, or an encoder without a head.

    A pass is `[prompt 1 | row 1 | prompt 2 | row 2 | …]`, packed without padding. Prompt and text of a row see each
    other, so virtual tokens stand in every row and are computed with each; keys and values do not depend on the text
    and stand once before all rows. A row is a whole text: its beginning and end tokens ([CLS], [SEP]) included.

    The prompt comes before everything, the beginning token too, and takes the first positions; so do keys and values.
    The text is then at positions P, P + 1, …, as in PEFT, and all of it is of token type 0.
    """

    kind = "encoder"
    causal = False
    writes = False
    compiles = False

    def _take_apart(self) -> None:
        self.config = self.model.config
        self._decoder = self.model.base_model
        self._first = compat.first_position(self.model)
        self._typed = compat.takes(self._decoder, "token_type_ids")
        self._transform: nn.Module | None = None if self._head is None else compat.MaskedHead(self.model)
        # A masked language model's first state stands for the whole text; sentence encoders are trained on the mean.
        self.pooling = "first" if self.has_words else "mean"

    def _find_head(self, states: Tensor) -> None:
        """The head is found with the encoder."""

    def _open_layers(self) -> None:
        for number, layer in compat.encoder_layers(self.model):
            compat.wrap_layer(layer, number)

    @torch.no_grad()
    def compile(self, injection: Injection, shared: Sequence[int] = ()) -> Injection:
        """The prompt in the backbone's dtype, detached. An encoder's virtual tokens depend on the text they stand by.

        shared: is not part of the result; it is read again with every row.
        """
        return injection.detached(self.dtype)

    def hidden_and_kv(self, rows: TokenBatch, injection: Injection) -> Any:
        raise CuetuneError(f"{self.identity.name} is an encoder and writes no text; give labels, or a causal --model.")

    def states_at(self, layer: int, rows: TokenBatch, n_tokens: int) -> Tensor:
        if len(rows.shared):
            raise CuetuneError("an encoder reads what rows share with every row; make it a part of each.")
        return super().states_at(layer, rows, n_tokens)

    def logits(self, hidden: Tensor, words: Tensor | None = None) -> Tensor:
        """Logits (…, V) in float32 of the word that stands at each place, or (…, W) of those that `words` (W,) names.

        They go through the model's own head; of its last layer only the rows that are wanted are multiplied.
        """
        if self._transform is None:
            raise CuetuneError(f"{self.identity.name} has no masked-language head to score words; use --readout head.")
        return self._scored(self._transform(hidden), words).float()

    def _positions(self, packed: Packed) -> dict[str, Tensor]:
        places = {"position_ids": packed.positions + self._first}
        return places | ({"token_type_ids": torch.zeros_like(packed.positions)} if self._typed else {})

    def _alone(self, ids: Sequence[int]) -> TokenBatch:
        return TokenBatch.of([ids])

    @staticmethod
    def weights_of(model: Any) -> dict[str, Tensor]:
        """Without the pooler: no answer goes through it, and many files lack it, so that it is random."""
        return {name: value for name, value in model.state_dict().items() if "pooler" not in name}

    def _reference(self, ids: Tensor) -> Tensor:
        output = self.model(input_ids=ids[None])
        return (output.logits if self.has_words else output.last_hidden_state)[0].float()

    def _prompted(self, ids: Tensor) -> Tensor:
        rows = [ids[2:4].tolist(), ids[2:].tolist()]
        hidden = self.hidden(TokenBatch.of(rows), Injection({0: self.embed(ids[:2])}))[len(rows[0]) :]
        return self.logits(hidden) if self.has_words else hidden.float()

"""The plain path: prompts at the embedding layer of any model, one row after another, by the model's own code.

For models whose layers do not take injections: recurrent ones, convolutions, latent attention, masks of their own. A
row is `[prompt | shared text | row]` as embeddings, and nothing of it is shared with other rows. Slower, and exact.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from cuetune.backbones.answer_paths import leaf_paths
from cuetune.backbones.base import PathError
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.encoder import EncoderBackbone
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.packing import embedded_text, same_length
from cuetune.backbones.text import TextBackbone, close
from cuetune.errors import CuetuneError

PADDINGS = ("right", "masked", "none")  # how rows of a batch get one length: the first that changes no row is taken


@dataclass(frozen=True)
class Sequences:
    """What a model reads for a batch of rows: one sequence for each row, or for each leaf of a row's answer tree.

    places: of each sequence, the places in the shared text and the rows, one behind the other. owners: the row that
    each belongs to. wanted: the sequence and the place in it of every state that is read, (K, 2).
    """

    places: list[list[int]]
    owners: list[int]
    wanted: Tensor

    @classmethod
    def of(cls, rows: TokenBatch) -> "Sequences":
        n_shared, paths = len(rows.shared), [] if rows.tail is None else leaf_paths(rows.tail)
        n_nodes = 0 if rows.tail is None else len(rows.tail)
        places: list[list[int]] = []
        owners: list[int] = []
        found: dict[int, tuple[int, int]] = {}
        start = n_shared
        for owner, length in enumerate(rows.lengths):
            tree = start + length - n_nodes
            for path in paths or [[]]:
                own = [*range(start, tree), *(tree + node for node in path)]
                for column, place in enumerate(own):
                    found.setdefault(place - n_shared, (len(places), n_shared + column))
                places.append([*range(n_shared), *own])
                owners.append(owner)
            start += length
        wanted = [found[place] for place in rows.read.tolist()]
        return cls(places, owners, torch.tensor(wanted, dtype=torch.long).view(-1, 2))


class PlainPath(TextBackbone):
    """What both kinds of plain backbone have in common. `path_reason` says why the fast path was not taken.

    Where layers look tokens up by their ids, a virtual token is looked up as padding, as these models do with the
    states of an image.
    """

    path = "plain"
    compiles = False
    keeps_states = False
    _padding = "none"
    _filling = 0.0
    _caches = False
    _looks_up = False

    @property
    def kv_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        raise self._needs_fast_path()

    @property
    def depth(self) -> int:
        return self.identity.num_layers

    def check(self, injection: Injection, where: str = "prompt") -> None:
        if injection.kv or any(injection.tokens) or injection.inputs is not None:
            raise self._needs_fast_path()
        for states in injection.tokens.values():
            if states.shape[-1] != self.width:
                raise CuetuneError(
                    f"{where}: virtual tokens of width {states.shape[-1]}, but {self.identity.name} has width "
                    f"{self.width}; load the model the prompt was made for."
                )

    def hidden_mixed(self, parts: Sequence[tuple[TokenBatch, Injection]]) -> list[Tensor]:
        return [self._read(rows, injection) for rows, injection in parts]

    def keys_values(self, embeddings: Tensor) -> KeyValue:
        raise self._needs_fast_path()

    def layer_inputs(self, ids: Sequence[int], injection: Injection | None = None) -> list[Tensor]:
        raise self._needs_fast_path()

    def states_at(self, layer: int, rows: TokenBatch, n_tokens: int) -> Tensor:
        raise self._needs_fast_path()

    def hidden_and_kv(self, rows: TokenBatch, injection: Injection) -> Any:
        raise self._needs_fast_path()

    def around(self, model: PreTrainedModel) -> TextBackbone:
        other = super().around(model)
        other.path_reason = self.path_reason
        return other

    def _refused(self, name: str, reason: str) -> PathError:
        first, *_ = reason.splitlines() or [""]
        return PathError(
            first,
            f"{name}: models of type {self.model.config.model_type!r} take no prompt at the embedding layer ({first}); "
            f"choose another model, e.g. --model {self.stand_in}.",
        )

    def _needs_fast_path(self) -> CuetuneError:
        return CuetuneError(
            f"{self.identity.name}: takes prompts at the embedding layer only (plain path: {self.path_reason}); "
            "prefix, late and pool prompts need the fast path. Use a prompt of virtual tokens, such as soft, or "
            f"another --model, e.g. {self.stand_in}."
        )

    def _switch(self) -> None:
        """Nothing of the model is changed."""

    def _read(self, rows: TokenBatch, injection: Injection) -> Tensor:
        """The states that the rows ask for."""
        here = self._here(rows)
        sequences, text = Sequences.of(here), embedded_text(here, injection, self.embed)
        whole = [
            torch.cat([self._virtual(injection, owner, text), text[places]])
            for places, owner in zip(sequences.places, sequences.owners, strict=True)
        ]
        n_tokens, ids = injection.n_tokens, torch.cat([here.shared, here.ids])
        spelled = [self._spelled(ids[places], injection) for places in sequences.places]
        states = dict(self._states(whole, spelled))
        picked = [states[sequence][n_tokens + place] for sequence, place in sequences.wanted.tolist()]
        found = torch.stack(picked) if picked else text.new_empty((0, self.state_width))
        return here.wanted(found, torch.arange(len(picked), device=found.device))

    def _looking_up(self, ids: Tensor) -> AbstractContextManager[None]:
        return compat.looking_up(self._decoder, ids) if self._looks_up else nullcontext()

    def _virtual(self, injection: Injection, row: int, like: Tensor) -> Tensor:
        """The virtual tokens (P, d) of one row."""
        self.check(injection)
        if 0 not in injection.tokens:
            return like[:0]
        tokens = injection.tokens[0]
        return (tokens[row] if tokens.dim() == 3 else tokens).to(like)

    def _states(self, whole: Sequence[Tensor], spelled: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
        """The number of each sequence (T, d), of the tokens (T,), with its final states (T, d)."""
        for numbers in self._batches([len(each) for each in whole]):
            batch = [whole[number] for number in numbers]
            tokens = [spelled[number] for number in numbers]
            ids = pad_sequence(tokens, batch_first=True, padding_value=self._padding_id)
            padded = pad_sequence(batch, batch_first=True, padding_value=self._filling)
            states = self._forward(padded, ids, [len(each) for each in batch])
            yield from zip(numbers, states, strict=True)

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Numbers of sequences that are read together: of one length only, where padding would change them."""
        if self._padding != "none":
            return [list(range(len(lengths)))] if lengths else []
        return same_length(lengths)

    def _forward(self, states: Tensor, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Final states (B, T, d) of embeddings (B, T, d) of the tokens (B, T), padded on the right."""
        options: dict[str, Any] = {"use_cache": False} if self._caches else {}
        if self._padding == "masked":
            column = torch.arange(states.shape[1], device=states.device)
            options["attention_mask"] = (column < torch.tensor(lengths, device=states.device)[:, None]).long()
        with self._looking_up(ids):
            return compat.first_output(self._decoder(inputs_embeds=states, **options))

    @torch.no_grad()
    def _self_test(self, reference: Tensor) -> None:
        with self._testing():
            self._check_padding()
            ours = self._prompted(self._test_ids)
        self._must_equal(ours, reference[-len(ours) :], self._rounding)

    def _check_padding(self) -> None:
        """Take the first way to pad that leaves a short row beside a longer one as it is alone.

        What stands in the padding may change no bit of it, so that not even a small leak passes in a low precision.
        """
        short, long = self._test_ids[:5].tolist(), self._test_ids.tolist()
        alone = self.hidden(TokenBatch.of([short]))
        self._state_width = alone.shape[-1]
        for padding in PADDINGS:
            self._padding = padding
            try:
                together, filled = (self._beside(short, long, filling) for filling in (0.0, 1.0))
            except Exception:  # the model takes no mask, or no batch of this form
                continue
            if close(together, alone) and torch.equal(together, filled):
                return
        raise CuetuneError("a row's states depend on the rows beside it")

    def _beside(self, short: list[int], long: list[int], filling: float) -> Tensor:
        """The short row's states beside the long one, with this number everywhere in the padding."""
        self._filling = filling
        try:
            return self.hidden(TokenBatch.of([short, long]))[: len(short)]
        finally:
            self._filling = 0.0


class PlainTextBackbone(PlainPath):
    """A causal model on the plain path."""

    def _take_apart(self) -> None:
        self.config = compat.text_config(self.model)
        self._decoder = compat.decoder(self.model)
        self._caches = compat.takes(self._decoder, "use_cache")
        self._looks_up = compat.reads_ids_in_layers(self._decoder)
        self._outer = compat.OuterHead(self.model, self._decoder)

    def _prompted(self, ids: Tensor) -> Tensor:
        if self._looks_up:  # a token in the prompt would not be looked up as the token that it is
            return self.logits(self.hidden(TokenBatch.of([ids[:5].tolist(), ids.tolist()]))[5:])
        return super()._prompted(ids)

    def _check_padding(self) -> None:
        super()._check_padding()
        self._check_direction()

    def _check_direction(self) -> None:
        """Raise CuetuneError where a state depends on what stands behind it."""
        ids = self._test_ids.tolist()
        first, second = (self.hidden(TokenBatch.of([[*ids[:-1], last]]))[:-1] for last in (ids[-1], ids[0]))
        if not close(first, second):
            raise CuetuneError("it reads texts in both directions")


class PlainEncoderBackbone(PlainPath, EncoderBackbone):
    """An encoder on the plain path."""

    def _take_apart(self) -> None:
        self.config = self.model.config.get_text_config()
        self._decoder = self.model.base_model
        self._first = compat.first_position(self.model)
        self._transform = None if self._head is None else compat.OuterHead(self.model, self._decoder)
        self.pooling = "first" if self.has_words else "mean"

    def logits(self, hidden: Tensor, words: Tensor | None = None) -> Tensor:
        if self._transform is None:
            return super().logits(hidden, words)
        logits = self._transform(hidden).float()
        return logits if words is None else logits[..., words]


PLAIN: dict[type, type[PlainPath]] = {TextBackbone: PlainTextBackbone, EncoderBackbone: PlainEncoderBackbone}

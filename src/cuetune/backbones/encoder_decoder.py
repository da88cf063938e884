"""A frozen encoder-decoder model: T5, BART and their like. The prompt stands before the encoder's text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cuetune.backbones import frozen
from cuetune.backbones.answer_paths import leaf_paths
from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.packing import embedded_text
from cuetune.backbones.padding import PaddedLayout
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import surroundings
from cuetune.errors import CuetuneError


class EncoderDecoderBackbone(TextBackbone):
    """An encoder-decoder model of transformers with its tokenizer, frozen.

    The encoder reads `[prompt ; shared text ; row ; end token]`, padded to a batch, in which all tokens see each other;
    the decoder sees all of it, prompt included (Lester et al. 2021, section 2). Keys and values stand in the encoder's
    self-attention; they take no positions, and get no bias by distance in T5.

    Of a row, everything behind the first place that is read is the answer and goes to the decoder. What is read there
    is the decoder's state after its start tokens and the answer so far; of the encoder's own states none can be read.
    """

    kind = "encoder-decoder"
    causal = False
    keeps_states = False
    compiles = False

    def _take_apart(self) -> None:
        self.config = self.model.config
        self._encoder, self._decoder = compat.encoder_and_decoder(self.model)
        beginning, self._end = surroundings(self.tokenizer)
        self._start = [int(self.config.decoder_start_token_id), *beginning]

    def _find_states(self) -> None:
        """The decoder's states are as wide as the head's rows."""
        self._state_width = int(self._head.weight.shape[1])

    def _open_layers(self) -> None:
        for number, layer in enumerate(compat.layers_of(self._encoder, self.config.num_hidden_layers)):
            compat.wrap_layer(layer, number)

    @property
    def max_positions(self) -> int:
        return super().max_positions - len(self._end)

    def answer_room(self, before: int) -> int:
        """Tokens of the longest answer: the decoder reads it, whatever stands in the encoder."""
        return super().max_positions - len(self._start)

    def hidden_mixed(self, parts: Sequence[tuple[TokenBatch, Injection]]) -> list[Tensor]:
        return [self._answered(rows, injection) for rows, injection in parts]

    def encode(self, rows: Sequence[Sequence[int]], injection: Injection, shared: Sequence[int] = ()) -> "Encoded":
        """The encoder's states of these rows, each behind the prompt and the shared text."""
        whole = [[*row, *self._end] for row in rows]
        return self._encode(TokenBatch.of(whole, shared), PaddedLayout(injection, torch.empty(0)))

    @torch.no_grad()
    def compile(self, injection: Injection, shared: Sequence[int] = ()) -> Injection:
        """The prompt in the backbone's dtype, detached; virtual tokens depend on the text, and are read with every row.

        shared: is not part of the result.
        """
        return injection.detached(self.dtype)

    @torch.no_grad()
    def keys_values(self, embeddings: Tensor) -> KeyValue:
        captured: dict[int, KeyValue] = {}
        self._encode(TokenBatch.of([[]]), PaddedLayout(Injection({0: embeddings}), torch.empty(0), capture=captured))
        keys, values = (torch.stack([captured[layer][part] for layer in sorted(captured)]) for part in (0, 1))
        return keys.transpose(1, 2), values.transpose(1, 2)

    @torch.no_grad()
    def layer_inputs(self, ids: Sequence[int], injection: Injection | None = None) -> list[Tensor]:
        inputs: dict[int, Tensor] = {}
        self._encode(TokenBatch.of([ids]), PaddedLayout(injection or Injection(), torch.empty(0), inputs=inputs))
        return [inputs[layer] for layer in sorted(inputs)]

    def states_at(self, layer: int, rows: TokenBatch, n_tokens: int) -> Tensor:
        raise CuetuneError(f"{self.identity.name}: an encoder-decoder model keeps no states of rows at a layer.")

    def hidden_and_kv(self, rows: TokenBatch, injection: Injection) -> Any:
        raise CuetuneError(f"{self.identity.name}: an encoder-decoder model keeps no keys and values of rows.")

    def logits(self, hidden: Tensor, words: Tensor | None = None) -> Tensor:
        """Next-token logits (…, V) in float32, or (…, W) of the vocabulary rows that `words` (W,) names."""
        scaled, bias = compat.before_and_after_head(self.model, hidden)
        logits = self._scored(scaled, words).float()
        return logits if bias is None else logits + (bias if words is None else bias[words])

    def _encode(self, rows: TokenBatch, layout: PaddedLayout) -> "Encoded":
        """One pass of padded rows through the encoder. layout: `real` is filled in here."""
        rows, injection = rows.to(self.device), layout.injection
        text = embedded_text(rows, injection, self.embed)
        shared, *each = text.split([len(rows.shared), *rows.lengths])
        virtual = injection.tokens.get(0, text.new_zeros((injection.n_tokens, text.shape[-1]))).to(text)
        virtual = virtual.expand(len(each), -1, -1)
        whole = [torch.cat([virtual[number], shared, row]) for number, row in enumerate(each)]
        lengths = torch.tensor([len(row) for row in whole], device=self.device)
        layout.real = torch.arange(int(lengths.max()), device=self.device) < lengths[:, None]
        with frozen.own_pass():
            states = self._encoder(
                inputs_embeds=pad_sequence(whole, batch_first=True),
                attention_mask=compat.no_mask(text),
                cuetune_layout=layout,
            ).last_hidden_state
        return Encoded(states, layout.real)

    def _answered(self, rows: TokenBatch, injection: Injection) -> Tensor:
        """The decoder's states (K, d) at the places that `rows.read` names, answer by answer."""
        if rows.pool is not None:
            raise CuetuneError(f"{self.identity.name}: an encoder-decoder model has no mean state; pool the last one.")
        texts, plans = _split(rows)
        encoded = self.encode(texts, injection, rows.shared.tolist())
        owners = [number for number, plan in enumerate(plans) for _ in plan.sequences]
        ids = [torch.tensor(self._start + answer) for plan in plans for answer in plan.sequences]
        states = self.decode(pad_sequence(ids, batch_first=True).to(self.device), encoded.of(owners))
        first, places = 0, []
        for plan in plans:
            places += [(first + sequence, len(self._start) - 1 + place) for sequence, place in plan.wanted]
            first += len(plan.sequences)
        which, where = torch.tensor(places, device=self.device).T
        return states[which, where]

    def decode(self, ids: Tensor, encoded: "Encoded") -> Tensor:
        """The decoder's final states (M, W, d) of tokens (M, W), padded behind, each row on its own encoder states."""
        with frozen.own_pass():
            return self._decoder(
                input_ids=ids,
                encoder_hidden_states=encoded.states,
                encoder_attention_mask=encoded.real.long(),
                use_cache=False,
            ).last_hidden_state

    @torch.no_grad()
    def write(self, rows: Sequence[Sequence[int]], prompt: Injection, **how: Any) -> list[list[int]]:
        """The tokens of an answer for every row, by transformers' `generate` with the options `how`."""
        from transformers.modeling_outputs import BaseModelOutput

        encoded = self.encode(rows, prompt)
        output = self.model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.states),  # type: ignore[arg-type]
            attention_mask=encoded.real.long(),
            decoder_input_ids=torch.tensor([self._start] * len(rows), device=self.device),
            num_beams=1,
            **how,
        )
        return output[:, len(self._start) :].tolist()

    def _reference(self, ids: Tensor) -> Tensor:
        text = torch.cat([ids, ids.new_tensor(self._end)])[None]
        output = self.model(input_ids=text, decoder_input_ids=ids.new_tensor([self._start]), use_cache=False)
        return output.logits[0, -1:].float()

    def _prompted(self, ids: Tensor) -> Tensor:
        rows = TokenBatch.of([ids[3:5].tolist(), ids[3:].tolist()], ids[2:3].tolist())
        rows = replace(rows, read=torch.tensor(rows.lengths).cumsum(0) - 1)
        return self.logits(self.hidden(rows, Injection({0: self.embed(ids[:2])})))[-1:]

    def _check_rows_apart(self) -> None:
        """Rows are padded here, each with a place of its own in the batch."""


@dataclass(frozen=True)
class Encoded:
    """Encoder states (B, T, d), and where they are real, (B, T)."""

    states: Tensor
    real: Tensor

    def of(self, rows: Sequence[int]) -> "Encoded":
        """Those of these rows, in this order; a row may come several times."""
        if list(rows) == list(range(len(self.states))):
            return self
        return Encoded(self.states[list(rows)], self.real[list(rows)])


@dataclass(frozen=True)
class Plan:
    """What the decoder reads for one row: sequences of answer tokens, and (sequence, tokens read) of each state."""

    sequences: list[list[int]]
    wanted: list[tuple[int, int]]


def _split(rows: TokenBatch) -> tuple[list[list[int]], list[Plan]]:
    """The text of each row, up to the first place that is read, and the plan for what stands behind it."""
    texts, plans, start = [], [], 0
    read = rows.read.tolist()
    for ids in rows.ids.split(list(rows.lengths)):
        mine = [place - start for place in read if start <= place < start + len(ids)]
        if not mine:
            raise CuetuneError(
                "an encoder-decoder model reads answers; every row needs a place where its answer starts."
            )
        row, end = ids.tolist(), mine[0] + 1
        texts.append(row[:end])
        if rows.tail is None:
            plans.append(Plan([row[end:]], [(0, place + 1 - end) for place in mine]))
        else:
            plans.append(_branches(row[end:], rows.tail, [place - end for place in mine]))
        start += len(ids)
    return texts, plans


def _branches(tokens: list[int], tail: Tensor, nodes: list[int]) -> Plan:
    """An answer tree as one sequence per leaf. nodes: those whose states are wanted, -1 for the root."""
    paths = leaf_paths(tail)
    wanted = []
    for node in nodes:
        sequence = next(number for number, path in enumerate(paths) if node < 0 or node in path)
        wanted.append((sequence, 0 if node < 0 else paths[sequence].index(node) + 1))
    return Plan([[tokens[node] for node in path] for path in paths], wanted)

"""Writing text behind a compiled prompt with transformers' own `generate`: keys and values fill its cache."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError

MAX_TOKENS = 64  # of an answer, where nothing else says how long answers are


@dataclass(frozen=True)
class Writing:
    """How text is generated. temperature 0 is greedy; otherwise sampled, with `top_p` and `seed`.

    max_tokens: of the longest answer; None lets the task's data decide (`readouts.GeneratedText`), else 64.
    stop: strings that end an answer; they are not part of it. ends: tokens that end one; by default the model's own.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    ends: tuple[int, ...] = ()

    @property
    def limit(self) -> int:
        """Tokens of the longest answer."""
        return MAX_TOKENS if self.max_tokens is None else self.max_tokens


@dataclass(frozen=True)
class Written:
    """A written answer. ended: whether the model ended it, or a stop string did, within the longest length."""

    text: str
    ended: bool


def generate(backbone: TextBackbone, rows: Sequence[Sequence[int]], prompt: Injection, writing: Writing) -> list[str]:
    """The texts of `write` alone."""
    return [answer.text for answer in write(backbone, rows, prompt, writing)]


@torch.no_grad()
def write(backbone: TextBackbone, rows: Sequence[Sequence[int]], prompt: Injection, writing: Writing) -> list[Written]:
    """One answer for each row of tokens, behind the compiled `prompt` (`TextBackbone.compile`), in one batch.

    A model that keeps no prompt as keys and values (an encoder-decoder, the plain path) writes by transformers'
    `generate` alone. In any other causal model:
    The rows go through one packed pass without padding, which gives the first token of each and fills the cache that
    transformers goes on from. The cache is padded on the left, before the prompt, so that distances are right for
    sliding windows too. Every row writes what it would write alone (greedily; a sampled row depends on the seed and on
    its batch).
    """
    torch.manual_seed(writing.seed)
    if not backbone.compiles:
        options = {"max_new_tokens": writing.limit, "pad_token_id": _pad(backbone)}
        return _finished(backbone, backbone.write(rows, prompt, **options, **_options(backbone, writing)), writing)
    if prompt.offsets is not None:
        raise CuetuneError("a prompt with offsets (DePT) cannot write text; use it with labels, or another prompt.")
    written: list[list[int]] = [[] for _ in rows]
    for numbers in _batches(rows, prompt):
        batch = TokenBatch.of([rows[number] for number in numbers])
        batch = replace(batch, read=torch.tensor(batch.lengths).cumsum(0) - 1)
        own = prompt.of_rows(torch.tensor(numbers))
        for number, answer in zip(numbers, _answers(backbone, batch, own, writing), strict=True):
            written[number] = answer
    return _finished(backbone, written, writing)


def _finished(backbone: TextBackbone, written: list[list[int]], writing: Writing) -> list[Written]:
    """Answers as texts, without what stands behind their ends: end tokens need be no special ones, nor padding."""
    ends = set(_ends(backbone, writing))
    lengths = [next((n for n, token in enumerate(tokens) if token in ends), None) for tokens in written]
    kept = [tokens[:length] for tokens, length in zip(written, lengths, strict=True)]
    texts = backbone.tokenizer.batch_decode(kept, skip_special_tokens=True)
    stopped = [_until(text, writing.stop) for text in texts]
    return [
        Written(text, length is not None or len(text) < len(whole))
        for text, whole, length in zip(stopped, texts, lengths, strict=True)
    ]


def _batches(rows: Sequence[Sequence[int]], prompt: Injection) -> list[list[int]]:
    """Numbers of rows that are written together: all, unless layers hold prompts of different lengths.

    Padding would then have to stand in a different place of every layer, so only rows of one length go together.
    """
    if prompt.even:
        return [list(range(len(rows)))]
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(number)
    return list(by_length.values())


def _answers(backbone: TextBackbone, rows: TokenBatch, prompt: Injection, writing: Writing) -> list[list[int]]:
    if writing.limit == 1:
        return _choose(backbone.logits(backbone.hidden(rows, prompt)), writing)[:, None].tolist()
    return _write(backbone, rows, prompt, writing)


def _write(backbone: TextBackbone, rows: TokenBatch, prompt: Injection, writing: Writing) -> list[list[int]]:
    """Token ids of each row's answer, of any length up to `max_tokens`."""
    hidden, own = backbone.hidden_and_kv(rows, prompt)
    first = _choose(backbone.logits(hidden), writing)
    ended = torch.isin(first, torch.tensor(_ends(backbone, writing), dtype=torch.long, device=backbone.device))
    written = first[:, None].tolist()
    going = (~ended).nonzero().squeeze(1)
    if len(going):
        keys_values, cached = _cache(backbone, rows, own, prompt)
        stand_ins = torch.full((len(going), cached.shape[1]), _pad(backbone), device=backbone.device)
        inputs = torch.cat([stand_ins, first[going, None]], dim=1)
        output = backbone.model.generate(
            input_ids=inputs,
            attention_mask=torch.cat([cached[going].long(), torch.ones_like(first[going, None])], dim=1),
            past_key_values=compat.filled_cache([(keys[going], values[going]) for keys, values in keys_values]),
            max_new_tokens=writing.limit - 1,
            pad_token_id=_pad(backbone),
            **_options(backbone, writing),
        )
        for number, tokens in zip(going.tolist(), output[:, inputs.shape[1] :].tolist(), strict=True):
            written[number] += tokens
    return written


def _choose(logits: Tensor, writing: Writing) -> Tensor:
    """(B,) next tokens from (B, V) logits: the best, or a sample as transformers draws it."""
    if writing.temperature <= 0:
        return logits.argmax(dim=-1)
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    scaled = TemperatureLogitsWarper(float(writing.temperature))(None, logits)  # type: ignore[arg-type]
    if writing.top_p < 1:
        scaled = TopPLogitsWarper(writing.top_p)(None, scaled)  # type: ignore[arg-type]
    return torch.multinomial(scaled.softmax(dim=-1), 1).squeeze(1)


def _ends(backbone: TextBackbone, writing: Writing) -> list[int]:
    """The tokens that end an answer."""
    return list(writing.ends) or backbone.ends


def _options(backbone: TextBackbone, writing: Writing) -> dict[str, Any]:
    options: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if writing.temperature > 0:
        options = {"do_sample": True, "temperature": writing.temperature, "top_p": writing.top_p, "top_k": 0}
    options["eos_token_id"] = _ends(backbone, writing) or None
    if writing.stop:
        options |= {"stop_strings": list(writing.stop), "tokenizer": backbone.tokenizer}
    return options


def _cache(
    backbone: TextBackbone, rows: TokenBatch, own: dict[int, KeyValue], prompt: Injection
) -> tuple[list[KeyValue], Tensor]:
    """Per layer (B, h_kv, W, d_h) of prompt and row, padded on the left, and the (B, W) mask of what is real."""
    device, batch = backbone.device, len(rows.lengths)
    lengths = torch.tensor(rows.lengths, device=device)
    prompt_lengths = prompt.lengths if prompt.lengths is not None else lengths.new_full((batch,), prompt.n_kv)
    real = torch.cat(
        [
            torch.arange(prompt.n_kv, device=device) < prompt_lengths.to(device)[:, None],
            torch.arange(max(rows.lengths), device=device) < lengths[:, None],
        ],
        dim=1,
    )
    order = real.long().argsort(dim=1, stable=True)  # padding first, the rest in order

    def aligned(layer: int, which: int) -> Tensor:
        before = [prompt.kv[layer][which].to(backbone.dtype)] if layer in prompt.kv else []
        whole = torch.cat([part.expand(batch, *part.shape[-3:]) for part in [*before, own[layer][which]]], dim=2)
        if not prompt.even:  # rows of one length: there is no padding
            return whole
        return whole.gather(2, order[:, None, :, None].expand(-1, whole.shape[1], -1, whole.shape[3]))

    return [(aligned(layer, 0), aligned(layer, 1)) for layer in range(len(own))], real.gather(1, order)


def _pad(backbone: TextBackbone) -> int:
    """A token that the model knows, to stand where nothing does."""
    known = (backbone.tokenizer.pad_token_id, backbone.tokenizer.eos_token_id, 0)
    rows = len(backbone.embedding_table())
    return next(token for token in known if token is not None and token < rows)


def _until(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    ends = [text.index(mark) for mark in stop if mark in text]
    return text[: min(ends)] if ends else text

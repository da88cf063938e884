"""Writing text behind a compiled prompt with transformers' own `generate`: keys and values fill its cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuetune import compat
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.packing import Rows
from cuetune.backbones.text import TextBackbone


@dataclass(frozen=True)
class Writing:
    """How text is generated. temperature 0 is greedy; otherwise sampled, with `top_p` and `seed`.

    stop: strings that end an answer; they are not part of it.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0


@torch.no_grad()
def generate(backbone: TextBackbone, rows: Sequence[Sequence[int]], prompt: Injection, writing: Writing) -> list[str]:
    """One text for each row of tokens, behind the compiled `prompt` (`TextBackbone.compile`), in one batch.

    No token is computed twice and no padding is computed at all: what a row has beyond the shortest one goes through
    one packed pass into the cache, the rest of all rows is a full rectangle. The cache is padded on the left, before
    the prompt, so that distances are right for sliding windows too. Every row writes what it would write alone
    (greedily; a sampled row depends on the seed and on its batch).
    """
    tail = min(map(len, rows))
    keys_values, cached = _prefill(backbone, [row[: len(row) - tail] for row in rows], prompt)
    ids = torch.tensor([list(row[len(row) - tail :]) for row in rows], device=backbone.device)
    stand_ins = torch.full_like(cached, _pad(backbone.tokenizer), dtype=torch.long)
    inputs = torch.cat([stand_ins, ids], dim=1)
    torch.manual_seed(writing.seed)
    written = backbone.model.generate(
        input_ids=inputs,
        attention_mask=torch.cat([cached.long(), torch.ones_like(ids)], dim=1),
        past_key_values=compat.filled_cache(keys_values) if cached.shape[1] else None,
        max_new_tokens=writing.max_tokens,
        pad_token_id=_pad(backbone.tokenizer),
        **_options(backbone, writing),
    )
    texts = backbone.tokenizer.batch_decode(written[:, inputs.shape[1] :], skip_special_tokens=True)
    return [_until(text, writing.stop) for text in texts]


def _options(backbone: TextBackbone, writing: Writing) -> dict[str, Any]:
    options: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if writing.temperature > 0:
        options = {"do_sample": True, "temperature": writing.temperature, "top_p": writing.top_p, "top_k": 0}
    if writing.stop:
        options |= {"stop_strings": list(writing.stop), "tokenizer": backbone.tokenizer}
    return options


def _prefill(backbone: TextBackbone, heads: list[Sequence[int]], prompt: Injection) -> tuple[list[KeyValue], Tensor]:
    """Per layer (B, h_kv, W, d_h) of prompt and heads, padded on the left, and the (B, W) mask of what is real."""
    device, batch = backbone.device, len(heads)
    lengths = torch.tensor([len(head) for head in heads], device=device)
    own: dict[int, KeyValue] = {}
    if lengths.any():
        own = backbone.keys_values(Rows.of(heads), prompt)[1]
    prompt_lengths = prompt.lengths if prompt.lengths is not None else lengths.new_full((batch,), prompt.n_kv)
    width = int(lengths.max()) if own else 0
    real = torch.cat(
        [
            torch.arange(prompt.n_kv, device=device) < prompt_lengths.to(device)[:, None],
            torch.arange(width, device=device) < lengths[:, None],
        ],
        dim=1,
    )
    order = real.long().argsort(dim=1, stable=True)  # padding first, the rest in order

    def aligned(layer: int, which: int) -> Tensor:
        parts = [prompt.kv[layer][which].to(backbone.dtype)] if prompt.kv else []
        parts += [own[layer][which]] if own else []
        whole = torch.cat([part.expand(batch, *part.shape[-3:]) for part in parts], dim=2)
        return whole.gather(2, order[:, None, :, None].expand(-1, whole.shape[1], -1, whole.shape[3]))

    layers = range(len(prompt.kv) or len(own))
    return [(aligned(layer, 0), aligned(layer, 1)) for layer in layers], real.gather(1, order)


def _pad(tokenizer: Any) -> int:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return int(pad or 0)


def _until(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    ends = [text.index(mark) for mark in stop if mark in text]
    return text[: min(ends)] if ends else text

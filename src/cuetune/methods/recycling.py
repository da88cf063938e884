"""Moving a prompt to another model with the same vocabulary, without training (Lester et al. 2022, "Reducing Retraining
by Recycling Parameter-Efficient Prompts"): what maps the words of one onto those of the other maps the prompt too."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.errors import CuetuneError
from cuetune.library.digest import digest
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, Prompt, SoftPrompt

# Rows of the vocabulary that the map is fitted on: tokenizers number tokens roughly by frequency, and the first are
# bytes and signs. The rows behind them tell how well it holds.
SKIPPED, FITTED, HELD_OUT = 1000, 4000, 1000


def recycle(tuned: TunedPrompt, source: TextBackbone, target: TextBackbone) -> TunedPrompt:
    """The same prompt for `target`: P_t = P_s Y with Y = argmin |E_s Y - E_t|² over common words (v2v-lin).

    Of a hard prompt the same tokens are taken, which needs no map. The record says how much of the held-out words'
    variance the map explains. Raises CuetuneError for another vocabulary, or a prompt that is more than virtual tokens
    at the embedding layer.
    """
    tuned.backbone.check(source.identity, "the prompt's model")
    if source.identity.tokenizer_hash != target.identity.tokenizer_hash:
        raise CuetuneError(
            f"{source.identity.name} and {target.identity.name} have different vocabularies; a prompt can be recycled "
            "only between models that share one. Tune it anew, with --start for its words if it is a hard prompt."
        )
    if tuned.head is not None:
        raise CuetuneError(
            "a trained head reads its own model's states; only prompts with label words can be recycled."
        )
    prompt, fit = _moved(tuned.prompt, source, target)
    record: dict[str, Any] = {
        key: value for key, value in tuned.record.items() if key in ("data", "versions", "created")
    }
    record["lineage"] = [{"relation": "moved from", "name": tuned.task.name, "digest": digest(tuned)}]
    record["map_explains"] = fit
    return replace(tuned, prompt=prompt, backbone=target.identity, record=record)


def _moved(prompt: Prompt, source: TextBackbone, target: TextBackbone) -> tuple[Prompt, float]:
    if isinstance(prompt, HardPrompt):
        return HardPrompt(prompt.ids, target.embed(torch.tensor(prompt.ids, device=target.device)).float()), 1.0
    injection = prompt.injection()
    if set(injection.tokens) != {0} or injection.kv or injection.offsets is not None:
        raise CuetuneError(
            f"a {prompt.kind!r} prompt is more than virtual tokens at the embedding layer, which is all that the words "
            "of two models have in common; tune it anew."
        )
    mapped, fit = linear_map(_table(source), _table(target))
    return SoftPrompt(injection.tokens[0].detach().float().cpu() @ mapped), fit


def _table(backbone: TextBackbone) -> Tensor:
    """(W, d) embeddings as the model scales them, of the words that the map is fitted and tested on."""
    last = min(backbone.embedding_table().shape[0], SKIPPED + FITTED + HELD_OUT)
    first = min(SKIPPED, last // 2)
    with torch.no_grad():
        return backbone.embed(torch.arange(first, last, device=backbone.device)).float().cpu()


def linear_map(source: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """Y (d_s, d_t) by least squares over four fifths of the rows, and the share of variance explained in the rest."""
    fitted = len(source) * 4 // 5
    mapped = torch.linalg.lstsq(source[:fitted], target[:fitted], driver="gelsd").solution
    rest = target[fitted:]
    left = (source[fitted:] @ mapped - rest).pow(2).sum() / (rest - target[:fitted].mean(0)).pow(2).sum()
    return mapped, float(1 - left)

"""Which tokens a search may write: words, parts of words, punctuation; never control tokens or parts of characters."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cuetune.backbones.text import TextBackbone
from cuetune.data.templating import encode
from cuetune.errors import CuetuneError
from cuetune.prompts.initial import COMMONEST
from cuetune.prompts.words import BETWEEN


def words_of_vocabulary(backbone: TextBackbone) -> Tensor:
    """(W,) ids of the tokens that read as printable text. Special and added tokens are left out, and so are the rows
    of an embedding table that no token has."""
    tokenizer = backbone.tokenizer
    size = min(len(tokenizer), backbone.embedding_table().shape[0])
    barred = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    plain = [token for token in range(size) if token not in barred]
    texts = tokenizer.batch_decode([[token] for token in plain], clean_up_tokenization_spaces=False)
    return torch.tensor([token for token, text in zip(plain, texts, strict=True) if _readable(text)])


def _readable(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and "\ufffd" not in text


def survives(backbone: TextBackbone, prompts: Sequence[Sequence[int]]) -> list[bool]:
    """For each prompt, whether its text is read back as the same tokens, so that it can be passed on as words."""
    texts = backbone.tokenizer.batch_decode([list(ids) for ids in prompts], clean_up_tokenization_spaces=False)
    again = encode(backbone.tokenizer, texts, control_tokens=False, begins=True)
    return [list(ids) == back for ids, back in zip(prompts, again, strict=True)]


def words_to_change(
    backbone: TextBackbone, start: Sequence[int], length: int | None, vocabulary: Tensor, seed: int
) -> tuple[list[int], list[int]]:
    """The tokens that a search begins with, and those behind them that stay: what parts a prompt from the row.

    start: the untouched prompt. length: how many tokens, those of `start` repeated or cut; None for as many as it has.
    Without any, common words at random. Raises CuetuneError when there is nothing to begin with.
    """
    tail = encode(backbone.tokenizer, [BETWEEN], control_tokens=True)[0]
    ends = bool(tail) and list(start[-len(tail) :]) == tail
    free = list(start[: len(start) - len(tail)] if ends else start)
    if not free and length is None:
        raise CuetuneError("there are no words to begin with; give an --instruction, or --method-option length=8.")
    if not free:
        picked = torch.randperm(min(COMMONEST, len(vocabulary)), generator=torch.Generator().manual_seed(seed))
        free = vocabulary[picked[:length]].tolist()
    length = len(free) if length is None else length
    return (free * -(-length // len(free)))[:length], tail

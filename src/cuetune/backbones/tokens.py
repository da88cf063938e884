"""What a tokenizer does to every text: what it puts around it and before its first word, and what a model knows."""

import copy
import json
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer

from cuetune.errors import CuetuneError

WORDS = ("a", "good", "the")  # a space before one of them must be seen, or a tokenizer says nothing about spaces

_inner: WeakKeyDictionary[Any, tuple[int, Any]] = WeakKeyDictionary()
_rows: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


class UnknownTokenError(CuetuneError):
    """A text holds a token that the model has no embedding for. number: of the text among those that were read."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


def surroundings(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens before and behind every text: [CLS] and [SEP] of encoders; in causal models often none."""
    marked = tokenizer("a", return_attention_mask=False)["input_ids"]
    plain = tokenizer("a", add_special_tokens=False, return_attention_mask=False)["input_ids"]
    for start in range(len(marked) - len(plain) + 1):
        if marked[start : start + len(plain)] == plain:
            return list(marked[:start]), list(marked[start + len(plain) :])
    return [], []


def token_ids(tokenizer: Any, texts: Sequence[str], *, control_tokens: bool, begins: bool = False) -> list[list[int]]:
    """Token ids of each text, without the tokenizer's own beginning and end.

    control_tokens: whether "<|im_end|>" in a text is that token (templates) or just characters (users' data).
    begins: whether the texts stand at the beginning of all that is read, or right behind a control token. Some
    tokenizers put a space there ("▁" in Llama 2's); behind other words there is none.
    """
    if not texts:
        return []
    own = tokenizer if begins else inside(tokenizer)
    how = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    how["split_special_tokens"] = not control_tokens
    ids = [list(each) for each in own(list(texts), **how)["input_ids"]]
    if own is tokenizer or not control_tokens:
        return ids
    return [_from_control(tokenizer, own, text, each) for text, each in zip(texts, ids, strict=True)]


def _from_control(tokenizer: Any, own: Any, text: str, ids: list[int]) -> list[int]:
    """A text's ids with all from its first control token on as the tokenizer itself reads that."""
    first = next((place for place, token in enumerate(ids) if token in tokenizer.added_tokens_decoder), None)
    if first is None:
        return ids
    start = own(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"][first][0]
    return ids[:first] + list(tokenizer(text[start:], add_special_tokens=False)["input_ids"])


def inside(tokenizer: Any) -> Any:
    """The tokenizer as it reads what stands behind other words: without the space that it puts before a text.

    The same object where it puts none, or puts one before every word whatever stands before it (T5, XLM-R).
    """
    size, made = _inner.get(tokenizer, (-1, None))
    if size != len(tokenizer):  # tokens may have been added since
        made = _without_prefix(tokenizer)
        _inner[tokenizer] = (len(tokenizer), made)
    return tokenizer if made is None else made


def _without_prefix(tokenizer: Any) -> Any:
    """A copy of a fast tokenizer that puts no space before a text, or None where there is nothing to leave out."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        return None
    whole = json.loads(backend.to_str())
    parts = {"normalizer": _plain_normalizer, "pre_tokenizer": _plain_pre_tokenizer}
    changed = {**whole, **{name: change(whole[name]) for name, change in parts.items()}}
    if changed == whole:
        return None
    made = copy.copy(tokenizer)
    made._tokenizer = Tokenizer.from_str(json.dumps(changed))
    alike = all(made._tokenizer.encode(word).ids == made._tokenizer.encode(" " + word).ids for word in WORDS)
    return None if alike else made


def _plain_normalizer(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """A normalizer without what changes the beginning of a text."""
    if part is None or part["type"] == "Prepend":
        return None
    if part["type"] == "Replace" and str(part["pattern"].get("Regex", "")).startswith("^"):
        return None
    if part["type"] == "Strip":
        return {**part, "strip_left": False}
    if part["type"] == "Sequence":
        kept = [_plain_normalizer(each) for each in part["normalizers"]]
        return {**part, "normalizers": [each for each in kept if each is not None]}
    return part


def _plain_pre_tokenizer(part: dict[str, Any] | None, first: bool = True) -> dict[str, Any] | None:
    """A pre-tokenizer that puts no space before a text. first: no other one cuts the text before it.

    One that does makes of every word a beginning: then a space before each of them is the rule.
    """
    if part is None:
        return None
    if part["type"] == "Sequence":
        each = [_plain_pre_tokenizer(one, not number) for number, one in enumerate(part["pretokenizers"])]
        return {**part, "pretokenizers": each}
    if part["type"] == "Metaspace" and (first or part.get("prepend_scheme") == "first"):
        return {**part, "prepend_scheme": "never"}
    if part["type"] == "ByteLevel" and first:
        return {**part, "add_prefix_space": False}
    return part


def begins_anew(tokenizer: Any, before: Sequence[int]) -> bool:
    """Whether a text behind these tokens is read as a beginning: behind a control token in Llama 2's manner."""
    if inside(tokenizer) is tokenizer or not before or before[-1] not in tokenizer.added_tokens_decoder:
        return False
    control = tokenizer.added_tokens_decoder[before[-1]].content
    behind, alone = (
        token_ids(tokenizer, [text], control_tokens=True, begins=True)[0] for text in (control + "good", "good")
    )
    return behind[1:] == alone


def know_rows(tokenizer: Any, rows: int) -> None:
    """Remember how many tokens the model of this tokenizer has embeddings for; `refuse_unknown` goes by it."""
    _rows[tokenizer] = rows


def unknown_token(tokenizer: Any, ids: Sequence[int]) -> str | None:
    """What is wrong with a text's tokens that the model has no embedding for; None where it has all."""
    rows = _rows.get(tokenizer)
    if rows is None or not ids or max(ids) < rows:
        return None
    token = next(token for token in ids if token >= rows)
    return (
        f"token {tokenizer.convert_ids_to_tokens(token)!r} has number {token:,}, and the model has {rows:,} tokens: "
        "its tokenizer got new tokens, its embeddings did not"
    )


def refuse_unknown(tokenizer: Any, texts: Sequence[Sequence[int]]) -> None:
    """Raise UnknownTokenError for the first text with a token that the model does not have."""
    for number, ids in enumerate(texts):
        if (fault := unknown_token(tokenizer, ids)) is not None:
            raise UnknownTokenError(
                f"{fault}; load the model that was trained with this tokenizer, or remove the token.", number
            )

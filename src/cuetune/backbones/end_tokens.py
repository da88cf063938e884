"""Which tokens end an answer: tokenizer, generation settings and configuration may each name others."""

from typing import Any

from cuetune.backbones.tokens import token_ids


def end_tokens(model: Any, tokenizer: Any, rows: int) -> list[int]:
    """The tokens that end an answer, the tokenizer's first: the union of all that the model's files name.

    A folder may name one end in its tokenizer and others in generation_config.json or config.json (Llama 3's <|eot_id|>
    beside <|end_of_text|>). Which of them the model writes depends on what it was trained on, so each of them counts.
    rows: of the vocabulary; configurations that were never set name tokens beyond it.
    """
    config = model.config
    named = [tokenizer, getattr(model, "generation_config", None), config, config.get_text_config(decoder=True)]
    ids = [token for each in named for token in _listed(getattr(each, "eos_token_id", None))]
    return [token for token in dict.fromkeys(ids) if 0 <= token < rows]


def turn_end(tokenizer: Any, text: str) -> list[int]:
    """The control token that closes the model's turn in a chat template, where this text behind an answer has one."""
    ids = token_ids(tokenizer, [text.strip()], control_tokens=True)[0]
    return [token for token in ids[:1] if token in tokenizer.added_tokens_decoder]


def _listed(ids: Any) -> list[int]:
    """One id, several or none, as a list."""
    if ids is None:
        return []
    return [int(token) for token in ids] if isinstance(ids, list | tuple) else [int(ids)]

"""What a tokenizer does to every text."""

from typing import Any


def surroundings(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens before and behind every text: [CLS] and [SEP] of encoders; in causal models often none."""
    marked = tokenizer("a", return_attention_mask=False)["input_ids"]
    plain = tokenizer("a", add_special_tokens=False, return_attention_mask=False)["input_ids"]
    for start in range(len(marked) - len(plain) + 1):
        if marked[start : start + len(plain)] == plain:
            return list(marked[:start]), list(marked[start + len(plain) :])
    return [], []

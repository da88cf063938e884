"""A language model without its weights: what its files say of how much it reads and writes, for `check`."""

from dataclasses import dataclass
from typing import Any

from cuetune.backbones.end_tokens import end_tokens
from cuetune.backbones.loading import kind_of, load_tokenizer
from cuetune.backbones.text import TextBackbone
from cuetune.backbones.tokens import know_rows, surroundings
from cuetune.support.plugins import resolve_model


@dataclass(frozen=True)
class Outline:
    """What `TextBackbone` says of lengths and ends, known from configuration and tokenizer alone."""

    config: Any
    generation_config: Any
    tokenizer: Any
    kind: str

    @property
    def causal(self) -> bool:
        return self.kind == "causal"

    @property
    def writes(self) -> bool:
        return self.kind != "encoder"

    @property
    def answers_apart(self) -> bool:
        return self.kind == "encoder-decoder"

    @property
    def max_positions(self) -> int:
        """As of the backbone; RoBERTa's configurations count two positions that no token takes."""
        positions = int(getattr(self._text, "max_position_embeddings", 0) or 2**31)
        longest = int(self.tokenizer.model_max_length)
        return longest if self.kind == "encoder" and 0 < positions - longest < 4 else positions

    @property
    def ends(self) -> list[int]:
        return end_tokens(self, self.tokenizer, int(self._text.vocab_size))

    def answer_room(self, before: int) -> int:
        return TextBackbone.answer_room(self, before if not self.answers_apart else 0)  # type: ignore[arg-type]

    def text_room(self, fixed: int, answer: int) -> int:
        """Tokens that are left for a text. fixed: those of prompt and template. answer: positions of the answer."""
        around = sum(map(len, surroundings(self.tokenizer))) if not self.causal else 0
        return self.max_positions - around - fixed - answer

    @property
    def _text(self) -> Any:
        return self.config.get_text_config(decoder=True)


def load_outline(name: str) -> Outline:
    """The outline of the model of this name. Raises CuetuneError as `load_tokenizer`."""
    from transformers import AutoConfig, GenerationConfig

    tokenizer, source = load_tokenizer(name), resolve_model(name)
    config = AutoConfig.from_pretrained(source)
    try:
        generation = GenerationConfig.from_pretrained(source)
    except OSError:  # a model need not say how it writes
        generation = None
    know_rows(tokenizer, int(config.get_text_config(decoder=True).vocab_size))
    return Outline(config, generation, tokenizer, kind_of(config))

"""Sentence vectors: texts of like meaning lie close to each other. Made by a frozen backbone, in packed passes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.backbones.batches import TokenBatch
from cuetune.backbones.registry import text_backbone
from cuetune.backbones.tokens import surroundings
from cuetune.errors import CuetuneError
from cuetune.support.strict_json import read_json

if TYPE_CHECKING:
    from cuetune.backbones.identity import BackboneIdentity
    from cuetune.backbones.text import TextBackbone

DEFAULT = "multilingual-e5-small"
SETTINGS = "config_sentence_transformers.json"  # where models say which words their texts begin with
LONGEST = 512  # tokens of one text; sentence encoders are trained on no more
WINDOW = 4096  # texts in memory as tokens at a time
PASS = 4096  # tokens in one pass
SCORES = 2**24  # numbers in one block of similarities
ASKED = ('This sentence: "', '" means in one word: "')  # what stands around a text that a causal model reads


class SentenceEncoder:
    """Turns texts into vectors of length one, whose product is the cosine of the two texts' meaning.

    model: a name that `load_backbone` takes, or a loaded backbone: an encoder, or a causal model, which needs no
        further download.
    prefix: what stands before every text. None: what the model's folder says ("query: " for multilingual-e5-small,
        so that texts are compared with texts), else nothing.
    Raises CuetuneError when the model is not found, or is an encoder-decoder.

    An encoder's vector is the mean of its last layer's states over all tokens of the text (Reimers & Gurevych 2019;
    Wang et al. 2024 for E5). A causal model's mean says little: it is asked for the text's meaning in one word, and the
    state from which it would answer is the vector (PromptEOL, Jiang et al. 2023).
    """

    def __init__(self, model: "str | TextBackbone" = DEFAULT, *, prefix: str | None = None) -> None:
        self.backbone = text_backbone(model, dtype="float32")
        if self.backbone.config.is_encoder_decoder:
            raise CuetuneError(
                f"{self.identity.name} is an encoder-decoder; sentence vectors need an encoder (e.g. {DEFAULT}) or a "
                "causal model."
            )
        self.prefix = _prefix_of(self.backbone.model.config) if prefix is None else prefix
        self._before, self._after = ([], []) if not self.backbone.causal else _question(self.backbone.tokenizer)

    @property
    def identity(self) -> "BackboneIdentity":
        """Which frozen model makes the vectors; those of another are not comparable."""
        return self.backbone.identity

    @property
    def width(self) -> int:
        """d, the size of a vector."""
        return self.backbone.state_width

    @torch.no_grad()
    def encode(self, texts: Iterable[str]) -> Tensor:
        """(N, d) float32 vectors of length one, on the CPU, in the order of the texts.

        Any iterable will do: some thousand texts are in memory at a time. Texts are cut behind 512 tokens, or where the
        model's positions end; an empty text is what stands around it alone.
        """
        windows = [self._window(window) for window in _windows(texts)]
        return torch.cat(windows) if windows else torch.empty(0, self.width)

    def _window(self, texts: Sequence[str]) -> Tensor:
        rows = self._tokens(texts)
        vectors = torch.empty(len(rows), self.width)
        for numbers in _passes([len(row) for row in rows]):
            states = self.backbone.hidden(self._asked([rows[number] for number in numbers]))
            vectors[numbers] = F.normalize(states.float(), dim=-1).cpu()
        return vectors

    def _asked(self, rows: Sequence[Sequence[int]]) -> TokenBatch:
        """The rows of one pass, and what is wanted of each: its last state, or the mean of all."""
        plain, lengths = TokenBatch.of(rows, self._before), torch.tensor([len(row) for row in rows])
        if self.backbone.causal:
            return replace(plain, read=lengths.cumsum(0) - 1)
        return replace(plain, pool=torch.repeat_interleave(torch.arange(len(rows)), lengths))

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text with those behind it, special ones included, never none."""
        room = min(LONGEST, self.backbone.max_positions) - len(self._before) - len(self._after)
        read = self.backbone.tokenizer(
            [self.prefix + text for text in texts],
            add_special_tokens=not self.backbone.causal,
            truncation=True,
            max_length=room,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        nothing = [self.backbone.tokenizer.pad_token_id or 0]  # where a tokenizer marks neither beginning nor end
        return [row + self._after or nothing for row in read["input_ids"]]


def _question(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The tokens before and behind a text that a causal model reads."""
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in ASKED)
    return surroundings(tokenizer)[0] + before, after


def nearest(queries: Tensor, table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """For each of the queries (Q, d) the k closest rows of the table (N, d): their similarities and numbers, (Q, k).

    Both in falling order of similarity; all N rows where k is more. The Q · N similarities are one matrix product, of
    which only a block of queries is in memory at a time.
    """
    k, step = min(k, len(table)), max(1, SCORES // max(1, len(table)))
    blocks = [(block @ table.T).topk(k, dim=1) for block in queries.split(step)]
    return torch.cat([block.values for block in blocks]), torch.cat([block.indices for block in blocks])


def _windows(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while window := list(islice(source, WINDOW)):
        yield window


def _passes(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of the rows of each pass: neighbours in length, so that attention pads little."""
    chosen: list[int] = []
    tokens = 0
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chosen and tokens + lengths[number] > PASS:
            yield chosen
            chosen, tokens = [], 0
        chosen.append(number)
        tokens += lengths[number]
    if chosen:
        yield chosen


def _prefix_of(config: Any) -> str:
    """The words that the model's own folder puts before every text by default, if any."""
    from transformers.utils import cached_file

    if not config.name_or_path:  # a model that was made, not read
        return ""
    try:
        path = cached_file(config.name_or_path, SETTINGS, revision=getattr(config, "_commit_hash", None))
    except OSError:  # most models say nothing
        return ""
    if path is None:
        return ""
    said = read_json(Path(path), remedy="copy the model again")
    if not isinstance(said, dict) or not isinstance(said.get("prompts"), dict):
        return ""
    return str(said["prompts"].get(str(said.get("default_prompt_name")), ""))

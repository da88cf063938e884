"""How every prompt for audio begins on a backbone, by the name that `tune` and `compare` know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.data.media.audio_batches import listen
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.prompts.base import Prompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.start import Method, Start, prefix
from cuetune.prompts.told import ToldPrompt
from cuetune.prompts.wave import WavePrompt

HEARD = 8  # audio files that a prompt may begin from
BEFORE = "<|startofprev|>"  # what Whisper's decoder reads before what was said earlier


@dataclass(frozen=True)
class AudioStart(Start):
    """length: virtual tokens. sounds: some audio files to tune on, and what is said in them.

    reads: the layer whose states the head reads, None for the final ones; a prompt has nothing from there on.
    """

    modality, rows = "audio", "audio files"

    backbone: AudioBackbone
    length: int
    seed: int
    sounds: AudioBatch
    said: Sequence[str] = ()
    reads: int | None = None

    @classmethod
    def of(
        cls,
        backbone: AudioBackbone,
        task: Task,
        examples: Sequence[Example],
        length: int,
        seed: int = 0,
        reads: int | None = None,
    ) -> Self:
        """Where these examples are tuned on. Raises CuetuneError for what cannot be read."""
        waves = [wave for _, some in listen(examples[:HEARD], task, backbone.hearing) for wave in some]
        texts = [str(example.label) for example in examples] if task.generates else []
        return cls(backbone, length, seed, AudioBatch(waves), texts[:64], reads)

    @property
    def depth(self) -> int:
        """How many layers of the encoder are run: a prompt has nothing in those above."""
        return self.backbone.layers if self.reads is None else self.reads

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """Those of P states of these audio files, drawn by the seed."""
        keys, values = self.backbone.keys_values(self.sounds)
        picked = self.drawn(keys.shape[2])
        return keys[:, :, picked].float().cpu(), values[:, :, picked].float().cpu()

    def drawn(self, count: int) -> Tensor:
        """(P,) numbers of states that the prompt begins as, drawn by the seed."""
        return torch.randint(count, (self.length,), generator=torch.Generator().manual_seed(self.seed))

    def told(self) -> list[int]:
        """P tokens that a decoder is told: what was said before, which is what some audio files say."""
        if not isinstance(self.backbone, WhisperBackbone) or not self.said:
            raise CuetuneError("a prompt of the decoder needs transcripts to write; choose a prompt of the encoder.")
        tokenizer = self.backbone.tokenizer
        ids = tokenizer(" " + " ".join(self.said), add_special_tokens=False)["input_ids"]
        repeated = (ids * -(-self.length // len(ids)))[: self.length - 1]
        return [tokenizer.convert_tokens_to_ids(BEFORE), *repeated]


def deep(start: AudioStart, layer: int = 0) -> Prompt:
    return _tokens(start, layer, start.depth - layer)


def shallow(start: AudioStart, layer: int = 0) -> Prompt:
    return _tokens(start, layer, 1)


def _tokens(start: AudioStart, first: int, layers: int) -> Prompt:
    """Virtual tokens that begin as states of audio files."""
    start.check_layer(first)
    inputs = start.backbone.layer_inputs(start.sounds)
    picked = start.drawn(len(inputs[0]))
    return LatePrompt(torch.stack([inputs[first + number][picked] for number in range(layers)]).float().cpu(), first)


def wave(start: AudioStart, seconds: float = 1.0) -> Prompt:
    samples = round(seconds * start.backbone.hearing.rate)
    if not 0 < samples <= start.backbone.hearing.longest:
        raise CuetuneError(f"seconds={seconds:g}: give some, and no more than the model hears.")
    loudness = torch.cat(list(start.sounds.waves)).square().mean().sqrt()
    return WavePrompt.begin(samples, float(loudness), start.seed)


def decoder(start: AudioStart) -> Prompt:
    told = torch.tensor(start.told())
    assert isinstance(start.backbone, WhisperBackbone)
    return LatePrompt(start.backbone.embed(told)[None].float().cpu(), start.backbone.layers)


def decoder_prefix(start: AudioStart) -> Prompt:
    told = start.told()
    assert isinstance(start.backbone, WhisperBackbone)
    keys, values = start.backbone.told_keys_values(told)
    return ToldPrompt(keys.float().cpu(), values.float().cpu(), start.backbone.layers)


AUDIO_METHODS = {
    "deep": Method("virtual tokens before every layer of the encoder (DPT, Cappellazzo 2024)", deep, "head"),
    "shallow": Method("virtual tokens before its first layer (SPT, Cappellazzo 2024)", shallow, "head"),
    "prefix": Method("keys and values in every layer of it (Li & Liang 2021, direct)", prefix, "head"),
    "wave": Method("trained samples added to the audio (V2S 2021)", wave, "head"),
    "decoder": Method("virtual tokens before the decoder's start, for transcripts", decoder, "auto"),
    "decoder-prefix": Method("keys and values in the decoder's layers, for transcripts", decoder_prefix, "auto"),
}

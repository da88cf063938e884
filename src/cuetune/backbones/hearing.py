"""From a waveform to what a model hears: log-mel spectrograms or normalised samples, read from its own files.

What can be trained through (Whisper, wav2vec 2.0) is written in torch; AST's filter bank is transformers' own.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cuetune.errors import CuetuneError
from cuetune.visible import visible

LONGEST = 30.0  # seconds of an audio file that a model without a limit of its own hears


@dataclass(frozen=True)
class Hearing(ABC):
    """What a model's feature extractor does. Audio files that go in together are of one length.

    rate: samples a second. longest: samples; what is longer is cut. shortest: samples; what is shorter gets silence.
    """

    rate: int = 16000
    longest: int = int(LONGEST * 16000)
    shortest: int = 400
    trains: ClassVar[bool] = True  # whether gradients reach the waveform

    @abstractmethod
    def features(self, waves: Tensor) -> Tensor:
        """Waves (b, n) in float32 as the model takes them, at most `longest` samples each."""

    def states(self, samples: int) -> int | None:
        """How many of the states that the model makes are the audio's own; None for all."""
        return None

    def fitted(self, wave: Tensor, at_least: float = 0.0) -> Tensor:
        """A wave (n,) cut to the longest; a shorter one than asked, or than the shortest, gets silence behind it."""
        wanted = min(self.longest, max(int(at_least * self.rate), self.shortest))
        return F.pad(wave[: self.longest], (0, max(0, wanted - len(wave))))

    @property
    def hash(self) -> str:
        """SHA-256 of all of it: a prompt found under one way of hearing does not belong to another."""
        said = {"kind": type(self).__name__, **asdict(self)}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class WhisperHearing(Hearing):
    """Whisper's log-mel spectrogram: the audio alone, and not with the silence that it is trained to hear behind it.

    An audio file of n samples has ceil(n / 320) states. `features` gives two more spectra than they are made of, of the
    silence that stands behind the audio in Whisper's own 30 seconds: with them each state enters the first layer as in
    the stock model, to the last bit that the order of sums allows. bands: of the spectrum. window, hop: samples.
    written: seconds that are heard of an audio file, with silence behind a shorter one, where what is said is written.
    """

    bands: int = 80
    window: int = 400
    hop: int = 160
    written: float = LONGEST

    def states(self, samples: int) -> int:
        """How many states an audio file has. Two spectra, of 160 samples each, make one."""
        return min(self.longest, -(-samples // (2 * self.hop)) * 2 * self.hop) // (2 * self.hop)

    def features(self, waves: Tensor) -> Tensor:
        """(b, bands, 2 T + 2) log-mel spectra, 2 T where T is all that the model hears."""
        width = min(2 * self.states(waves.shape[1]) + 2, self.longest // self.hop)
        long = self.longest if width == self.longest // self.hop else width * self.hop + self.window
        waves = F.pad(waves, (0, long - waves.shape[1]))
        window = torch.hann_window(self.window, device=waves.device)
        spectra = torch.stft(waves, self.window, self.hop, window=window, return_complex=True)[..., :width]
        power = spectra.real.square() + spectra.imag.square()  # |z| has no gradient at 0
        mel = torch.from_numpy(self._filters()).to(power) @ power
        logs = mel.clamp_min(1e-10).log10()
        return (torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    def _filters(self) -> Any:
        from transformers.audio_utils import mel_filter_bank

        bins = 1 + self.window // 2
        filters: Any = mel_filter_bank(bins, self.bands, 0.0, 8000.0, self.rate, norm="slaney", mel_scale="slaney")
        return filters.T.astype(np.float32)


@dataclass(frozen=True)
class WaveHearing(Hearing):
    """What wav2vec 2.0 and HuBERT hear: the samples, brought to mean 0 and deviation 1 where they ask for it.

    Each audio file is normalised and read alone, so that it is answered the same in any company.
    """

    normalised: bool = True

    def features(self, waves: Tensor) -> Tensor:
        """(b, n)"""
        if not self.normalised:
            return waves
        centred = waves - waves.mean(dim=1, keepdim=True)
        return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()


@dataclass(frozen=True)
class SpectrogramHearing(Hearing):
    """AST's filter bank, as long as the model was built for. config: of transformers' feature extractor."""

    config: str = "{}"
    trains: ClassVar[bool] = False

    def features(self, waves: Tensor) -> Tensor:
        """(b, frames, bands)"""
        from transformers import ASTFeatureExtractor

        extractor = ASTFeatureExtractor(**json.loads(self.config))
        arrays = [wave.detach().cpu().numpy() for wave in waves]
        made = extractor(arrays, sampling_rate=self.rate, return_tensors="pt")
        return made["input_values"].to(waves)


# Whole numbers in a `preprocessor_config.json` of audio, with the largest that is sensible.
MOST = {
    "sampling_rate": 768_000,
    "hop_length": 2**16,
    "n_fft": 2**16,
    "chunk_length": 3600,
    "feature_size": 2**12,
    "num_mel_bins": 2**12,
    "max_length": 2**16,
}


def hearing_of(config: Mapping[str, Any], where: str) -> Hearing:
    """As `preprocessor_config.json` says. where: the model.

    Raises CuetuneError for a kind that is not known, or settings that no audio is prepared by.
    """
    for name, most in MOST.items():
        value = config.get(name, 1)
        if type(value) is not int or not 0 < value <= most:
            shown = visible(json.dumps(value))[:40]
            raise CuetuneError(
                f"{where}: preprocessor_config.json: {name} is {shown}, expected a whole number from 1 to {most:,}."
            )
    kind, rate = str(config.get("feature_extractor_type")), config.get("sampling_rate", 16000)
    if kind == "WhisperFeatureExtractor":
        hop, window = int(config.get("hop_length", 160)), int(config.get("n_fft", 400))
        seconds = int(config.get("chunk_length", 30))
        return WhisperHearing(rate, seconds * rate, 1, int(config.get("feature_size", 80)), window, hop)
    if kind == "Wav2Vec2FeatureExtractor":
        return WaveHearing(rate, int(LONGEST * rate), 400, bool(config.get("do_normalize", True)))
    if kind == "ASTFeatureExtractor":
        named = ("num_mel_bins", "max_length", "do_normalize", "mean", "std", "sampling_rate")
        kept = {name: config[name] for name in named if name in config}
        longest = int(kept.get("max_length", 1024)) * rate // 100  # a spectrum every hundredth of a second
        return SpectrogramHearing(rate, longest, 400, json.dumps(kept, sort_keys=True))
    raise CuetuneError(f"{where}: unknown audio preparation {kind!r}; use Whisper, wav2vec 2.0, HuBERT or AST.")

"""A prompt in the waveform: trained samples added to every audio file (V2S, Yang, Tsai and Chen, ICML 2021, eq. 1).

x' = Pad(x) + theta, where theta is as long as the audio that the model hears; here every audio file begins at the start
of it and is heard once, where V2S may repeat a short series in several places.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cuetune.backbones.injection import Injection
from cuetune.backbones.wave_change import WaveChange
from cuetune.prompts.base import Prompt


class WavePrompt(Prompt):
    """theta in R^S, samples at the model's rate: 16,000 for a second at 16 kHz.

    values: (S,), stated in units of `scale`, the root mean square of the audio files it is added to, times a tenth.
    """

    kind = "wave"

    def __init__(self, values: Tensor, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.values = nn.Parameter(values.detach().clone().to(torch.float32))

    @classmethod
    def begin(cls, samples: int, loudness: float, seed: int = 0) -> "WavePrompt":
        """Normal random samples a tenth as loud as the audio files. loudness: their root mean square."""
        return cls(torch.randn(samples, generator=torch.Generator().manual_seed(seed)), 0.1 * loudness)

    def injection(self) -> Injection:
        return Injection(inputs=WaveChange(self.values * self.scale))

    def size(self, embedding_size: float) -> float:
        return 1.0

    @property
    def length(self) -> int:
        return 0

    def described(self) -> str:
        return f"{len(self.values):,} samples added to the audio"

    def spec(self) -> dict[str, Any]:
        return {"scale": self.scale}

    @classmethod
    def from_spec(cls, spec: dict[str, Any], tensors: dict[str, Tensor]) -> "WavePrompt":
        return cls(tensors["values"], float(spec["scale"]))

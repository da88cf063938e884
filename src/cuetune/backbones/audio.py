"""A frozen audio model: runs batches of audio files under an injection and knows who it is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

import cuetune.backbones.attention  # noqa: F401 - makes its function known to transformers
from cuetune.backbones import frozen
from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.compat import audio as compat_audio
from cuetune.backbones.compat import text as compat
from cuetune.backbones.compat.handed import hand_on_layers, handed, running_layout
from cuetune.backbones.fitting import check_states
from cuetune.backbones.hearing import Hearing
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.media import MediaBackbone
from cuetune.backbones.sound_layout import SoundLayout
from cuetune.backbones.wave_change import WaveChange
from cuetune.errors import CuetuneError


class AudioBackbone(MediaBackbone[AudioBatch]):
    """An audio encoder of transformers (Whisper's, AST, wav2vec 2.0, HuBERT), frozen.

    model: any of `compat_audio.FAMILIES`. hearing: what turns a waveform into the model's input.
    Each audio file enters the first layer as the stock model has it there, computed alone; from there on a pass is
    `[first states | prompt | the audio]`, padded behind, where padding is seen by nobody. Whisper, which always hears
    30 seconds, thus hears a short audio file without the silence behind it: its states differ from the stock model's,
    which attend to that silence too, and are the stock model's own for an audio file of full length.
    What is read of an audio file is never a state of the prompt: the mean over its own states, or ("first") over those
    that the model has before it. pooling: which of the two the model was made for.
    Raises CuetuneError when the model does not honour injections, found out by a short self-test.
    """

    kind = "audio"
    stand_in = "whisper-tiny-en"

    def __init__(self, model: PreTrainedModel, hearing: Hearing, name: str = "", revision: str | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.hearing, self.config = hearing, model.config
        compat.use_attention(model)
        frozen.use_products(model)
        compat.keep_freed_memory()
        name = name or str(model.config.name_or_path)
        try:
            self._part = compat_audio.hearing_part(model)
            self.n_first = compat_audio.n_first(model)
            layers = compat_audio.audio_layers(model)
        except (LookupError, AttributeError, TypeError, ValueError) as problem:
            raise self._refused(name, str(problem)) from problem
        for number, layer in enumerate(layers):
            compat.wrap_layer(layer, number)
        self.layers = len(layers)
        self.identity = self._identified(name, revision, model.state_dict(), hearing.hash)
        self.pooling = "first" if self.n_first else "mean"
        self.kv_shape = (0, 0, 0)
        self._noise_states = torch.empty(0)  # what enters the first layer of a second of noise
        self._handed = False  # whether layouts travel with the thread
        try:
            self._self_test()
        except CuetuneError:  # it may hand nothing on to its layers
            hand_on_layers(model, layers)
            self._handed = True
            for number, layer in enumerate(layers):
                compat.wrap_layer(layer, number)
            self._self_test()

    def embedding_table(self) -> Tensor:
        """(T, d) states as they enter the first layer, of noise: how large an audio file's embeddings are."""
        return self._noise_states

    def around(self, model: PreTrainedModel) -> "AudioBackbone":
        return type(self)(model, self.hearing, self.identity.name, self.identity.revision)

    def check(self, injection: Injection, where: str = "prompt") -> None:
        """Raise CuetuneError unless an injection has this backbone's width, layers and heads, and fits its audio."""
        name = self.identity.name
        check_states(injection, name, self.width_at, self.kv_shape, where)
        if injection.offsets is not None:
            raise CuetuneError(f"{where}: offsets of a text's tokens, but {name} takes audio; use another prompt.")
        if injection.inputs is None:
            return
        if not isinstance(injection.inputs, WaveChange):
            raise CuetuneError(f"{where}: changes the pixels of images, but {name} takes audio; use another prompt.")
        if not self.hearing.trains:
            raise CuetuneError(f"{where}: {name} takes no change of the waveform; use virtual tokens or a prefix.")

    def heard(self, waves: Sequence[Tensor], at_least: float = 0.0) -> list[Tensor]:
        """States (F + T, d) of each wave (n,) as it enters the first layer, which no prompt but one of waves changes.

        at_least: seconds that are heard, with silence behind a shorter audio file. Audio files of one length go
        together: none depends on another.
        """
        waves = [self.hearing.fitted(wave.to(self.device), at_least) for wave in waves]
        found: dict[int, Tensor] = {}
        for size in {len(wave) for wave in waves}:
            numbers = [number for number, wave in enumerate(waves) if len(wave) == size]
            states = self._entering(torch.stack([waves[number] for number in numbers]))
            found |= dict(zip(numbers, states, strict=True))
        return [found[number] for number in range(len(waves))]

    def _entering(self, waves: Tensor) -> Tensor:
        inputs: dict[int, Tensor] = {}
        features = self.hearing.features(waves.float()).to(self.dtype)
        self._through(features, SoundLayout(Injection(), inputs=inputs, last=0))
        return inputs[0][:, : self.hearing.states(waves.shape[1])]

    def hidden(self, sounds: AudioBatch, injection: Injection | None = None) -> Tensor:
        """One state (B, d) for each audio file: the mean over its own, or ("first") over the model's before it."""
        injection = injection or Injection()
        return self._answered(0, *self._first_layer(sounds, injection), sounds, injection)

    def hidden_mixed(self, parts: Sequence[tuple[AudioBatch, Injection]]) -> list[Tensor]:
        """As `hidden` for several prompts, each with its own audio files: one pass for each, as nothing is shared."""
        return [self.hidden(sounds, injection) for sounds, injection in parts]

    @torch.no_grad()
    def features(self, sounds: AudioBatch) -> Tensor:
        """(B, d) in float32 what the frozen model alone says of each audio file: for probes, queries and neighbours."""
        return self.hidden(sounds).float()

    @torch.no_grad()
    def states_at(self, layer: int, rows: AudioBatch, n_tokens: int = 0) -> Tensor:
        """(B, F + T, d) states of the audio files as they enter `layer`, without a prompt, padded behind.

        n_tokens: positions that text backbones keep free for one; an audio file's states have places of their own.
        """
        states, lengths = self._first_layer(rows, Injection())
        inputs: dict[int, Tensor] = {}
        self._run(states, lengths, Injection(), inputs=inputs, last=layer)
        return inputs[layer]

    def hidden_from(self, layer: int, states: Tensor, rows: AudioBatch, injection: Injection) -> Tensor:
        """As `hidden`, from the audio files' states (B, F + T, d) at `layer` (`states_at`) on: those below are not run.

        rows: how long they are and what is read of them. injection: nothing below `layer`.
        """
        if layer and (min((*injection.tokens, *injection.kv), default=layer) < layer or injection.inputs is not None):
            raise CuetuneError(f"a prompt that enters below layer {layer} needs the whole model.")
        assert rows.lengths is not None, "kept states come with their lengths"
        return self._answered(layer, states, rows.lengths.to(self.device), rows, injection)

    def _answered(
        self, layer: int, states: Tensor, lengths: Tensor, sounds: AudioBatch, injection: Injection
    ) -> Tensor:
        """What is read of the audio files, from their states at `layer` on."""
        final, layout = self._run(states, lengths, injection, first=layer, last=sounds.layer)
        return self._pooled(final, lengths, layout.grown, sounds.pooling)

    @torch.no_grad()
    def layer_inputs(self, sounds: AudioBatch) -> list[Tensor]:
        """What goes into each layer, L tensors (N, d) of the audio's own states: where virtual tokens can start."""
        states, lengths = self._first_layer(sounds, Injection())
        inputs: dict[int, Tensor] = {}
        self._run(states, lengths, Injection(), inputs=inputs)
        return [self._own(inputs[layer], lengths) for layer in range(self.layers)]

    @torch.no_grad()
    def keys_values(self, sounds: AudioBatch) -> KeyValue:
        """(L, h_kv, N, d_h) keys and values that the frozen model makes of audio: where prefixes can start."""
        states, lengths = self._first_layer(sounds, Injection())
        captured: dict[int, KeyValue] = {}
        self._run(states, lengths, Injection(), capture=captured)
        made = [[self._own(captured[n][part].transpose(1, 2), lengths) for n in range(self.layers)] for part in (0, 1)]
        keys, values = (torch.stack(part).transpose(1, 2) for part in made)
        return keys, values

    def _first_layer(self, sounds: AudioBatch, injection: Injection) -> tuple[Tensor, Tensor]:
        """States (B, F + T, d) as they enter the first layer, padded behind, and how many are real (B,)."""
        if sounds.states is not None and injection.inputs is None:
            assert sounds.lengths is not None, "states come with their lengths"
            return sounds.states.to(self.device, self.dtype), sounds.lengths.to(self.device)
        if not sounds.waves:
            raise CuetuneError("a prompt in the waveform needs the waves themselves, not the states of them.")
        change = injection.inputs
        waves = change.of_waves(sounds.waves) if isinstance(change, WaveChange) else sounds.waves
        states = self.heard(waves, sounds.at_least)
        return pad_sequence(states, batch_first=True), torch.tensor([len(each) for each in states], device=self.device)

    def _pooled(self, states: Tensor, lengths: Tensor, grown: int, pooling: str | None) -> Tensor:
        if self._pooling(pooling) == "first":
            return states[:, : self.n_first].mean(dim=1)
        own = states[:, self.n_first + grown :].float()
        real = torch.arange(own.shape[1], device=own.device) < (lengths - self.n_first)[:, None]
        return (own * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)

    def _own(self, states: Tensor, lengths: Tensor) -> Tensor:
        """(N, …) the states of the audio files themselves, one behind the other."""
        places = torch.arange(states.shape[1], device=states.device)
        return states[(places >= self.n_first) & (places < lengths[:, None])]

    def _run(self, states: Tensor, lengths: Tensor, injection: Injection, **how: Any) -> tuple[Tensor, SoundLayout]:
        """Final states (B, F + P + T, d) of one pass from `states` on."""
        padded = bool((lengths < states.shape[1]).any())
        layout = SoundLayout(
            injection,
            n_first=self.n_first,
            states=states.to(self.device, self.dtype),
            lengths=lengths if padded else None,
            **how,
        )
        return self._through(compat_audio.smallest(self.model).to(self.device, self.dtype), layout), layout

    def _through(self, features: Tensor, layout: SoundLayout) -> Tensor:
        told = {} if self._handed else {"cuetune_layout": layout}
        with frozen.own_pass(), handed(layout if self._handed else running_layout()):
            return compat_audio.told(self._part, features)(features, **told).last_hidden_state

    @torch.no_grad()
    def _self_test(self) -> None:
        """A pass must give what the stock path gives: alone, and with a prefix of the audio's own keys and values.

        To see every key twice changes no weighted mean, so both must agree, whatever the model does to its keys.
        """
        noise = torch.randn(1, self.hearing.rate, generator=torch.Generator().manual_seed(0)).to(self.device)
        features = self.hearing.features(0.1 * noise).to(self.dtype)
        captured: dict[int, KeyValue] = {}
        inputs: dict[int, Tensor] = {}
        with self._testing():
            stock = compat_audio.told(self._part, features)(features).last_hidden_state
            alone = self._through(features, SoundLayout(Injection(), capture=captured, inputs=inputs))
            own = torch.tensor([stock.shape[1]], device=self.device)
            twice, _ = self._run(inputs[0], own, Injection(kv=captured))
        self._must_agree(stock, (alone, twice), captured, inputs)
        keys = captured[0][0]
        self.kv_shape = (len(captured), keys.shape[1], keys.shape[3])
        self._noise_states = inputs[0][0]

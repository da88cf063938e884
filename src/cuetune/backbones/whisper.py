"""A frozen Whisper: hears with its encoder and writes what was said with its decoder, both under one injection."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cuetune.backbones import frozen
from cuetune.backbones.audio import AudioBackbone
from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.hearing import Hearing
from cuetune.backbones.injection import Injection, KeyValue
from cuetune.backbones.repeating import going_round, said_once
from cuetune.backbones.whisper_layout import DecoderLayout
from cuetune.errors import CuetuneError

MULTILINGUAL = 51865  # tokens, and more
START, QUIET, SAYS, END = "<|startoftranscript|>", "<|notimestamps|>", "<|transcribe|>", "<|endoftext|>"


class WhisperBackbone(AudioBackbone):
    """Whisper with its tokenizer, frozen (Radford et al. 2022).

    The decoder's layers are numbered on from the encoder's: one injection reaches both. Virtual tokens at the decoder's
    first layer stand before its start tokens, at positions of their own, where Whisper itself is told what was said
    before; keys and values stand there too, but take no positions. The decoder attends to the audio's own states: not
    to padding, and not to virtual tokens of the encoder.
    """

    writes = True

    def __init__(
        self, model: PreTrainedModel, hearing: Hearing, tokenizer: Any, name: str = "", revision: str | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self._decoder = model.get_decoder()
        self.decoder_layers = compat.layers_of(self._decoder, model.config.decoder_layers)
        for number, layer in enumerate(self.decoder_layers):
            compat.wrap_layer(layer, model.config.encoder_layers + number)
        super().__init__(model, hearing, name, revision)

    def around(self, model: PreTrainedModel) -> "WhisperBackbone":
        return type(self)(model, self.hearing, self.tokenizer, self.identity.name, self.identity.revision)

    @property
    def multilingual(self) -> bool:
        """Whether a transcript begins with its language: Whisper's models of English alone have a token less."""
        return int(self.config.vocab_size) >= MULTILINGUAL

    @property
    def positions(self) -> int:
        """How many tokens the decoder takes, virtual ones included."""
        return int(self.config.max_target_positions)

    def check(self, injection: Injection, where: str = "prompt") -> None:
        super().check(injection, where)
        behind = [layer for layer in injection.tokens if layer >= self.layers]
        if behind and min(behind) > self.layers:
            raise CuetuneError(
                f"{where}: virtual tokens enter the decoder at its layer {min(behind) - self.layers}, but they need "
                "positions, which are given at its first; begin there."
            )

    def start(self, language: str = "") -> list[int]:
        """The tokens that a transcript begins with. language: its code, "fr", for a model that knows several.

        Raises CuetuneError where it is missing or not known.
        """
        if not self.multilingual:
            return [self._token(START), self._token(QUIET)]
        code = f"<|{language.strip().strip('<|>').lower()}|>"
        if self.tokenizer.convert_tokens_to_ids(code) in (None, self.tokenizer.unk_token_id):
            raise CuetuneError(
                f"{self.identity.name}: {language!r} is no language that it writes; give the code of the language that "
                "is spoken as the instruction, e.g. --instruction fr."
            )
        return [self._token(token) for token in (START, code, SAYS, QUIET)]

    def _token(self, text: str) -> int:
        number = self.tokenizer.convert_tokens_to_ids(text)
        if not isinstance(number, int):
            raise CuetuneError(f"{self.identity.name}: its tokenizer has no {text}; load Whisper's own.")
        return number

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits (…, V) in float32 from states of the decoder."""
        return self.model.get_output_embeddings()(hidden).float()  # type: ignore[operator]

    def embed(self, ids: Tensor) -> Tensor:
        """(N, d) the decoder's embeddings of tokens."""
        return self._decoder.embed_tokens(ids.to(self.device))  # type: ignore[operator]

    @torch.no_grad()
    def states_at(self, layer: int, rows: AudioBatch, n_tokens: int = 0) -> Tensor:
        if layer < self.layers:
            return super().states_at(layer, rows, n_tokens)
        return self._encoded(0, *self._first_layer(rows, Injection()), Injection())

    @torch.no_grad()
    def told_keys_values(self, ids: Sequence[int]) -> KeyValue:
        """(L, h_kv, N, d_h) keys and values of what the decoder is told before it hears: where prefixes can start."""
        captured: dict[int, KeyValue] = {}
        silence = torch.zeros((1, 1, self.width), device=self.device, dtype=self.dtype)
        whole = torch.ones((1, 1), dtype=torch.bool, device=self.device)
        layout = DecoderLayout(Injection(), whole, capture=captured, first=self.layers)
        self._decode(torch.tensor([list(ids)], device=self.device), silence, layout)
        keys, values = (torch.stack([captured[layer][part][0] for layer in sorted(captured)]) for part in (0, 1))
        return keys, values

    @torch.inference_mode()
    def write(self, sounds: AudioBatch, injection: Injection, start: Sequence[int], most: int = 224) -> list[list[int]]:
        """The tokens that the decoder writes of each audio file, the likeliest at every step, without start and end.

        A text ends where it says one phrase over and over (`repeating`), and keeps the phrase once.
        most: tokens of a transcript; the decoder's positions limit it too.
        """
        states, lengths = self._first_layer(sounds, injection)
        encoded = self._encoded(0, states, lengths, injection)
        real = _real(encoded, lengths)
        ids = torch.tensor([list(start)] * len(encoded), device=self.device)
        written, past, cache = [], 0, None
        end = self._token(END)
        done = torch.zeros(len(encoded), dtype=torch.bool, device=self.device)
        for number in range(min(most, self.positions - len(start) - injection_tokens(injection, self.layers))):
            layout = DecoderLayout(injection, real, first=self.layers, past=past)
            final, cache = self._decode(ids, encoded, layout, cache, caching=True)
            past += final.shape[1]
            ids = self._likeliest(self.logits(final[:, -1]), number == 0).masked_fill(done, end)[:, None]
            written.append(ids)
            done |= (ids[:, 0] == end) | going_round(torch.cat(written, dim=1))
            if bool(done.all()):
                break
        rows = torch.cat(written, dim=1).tolist() if written else [[] for _ in range(len(encoded))]
        return [said_once(row[: row.index(end)] if end in row else row) for row in rows]

    def _likeliest(self, logits: Tensor, first: bool) -> Tensor:
        """(B,) the best token; those that Whisper never writes, or not at the beginning, are left out."""
        settings: Any = self.model.generation_config
        left_out = list(getattr(settings, "suppress_tokens", None) or [])
        left_out += list(getattr(settings, "begin_suppress_tokens", None) or []) if first else []
        logits[:, [token for token in left_out if token < logits.shape[1]]] = float("-inf")
        return logits.argmax(dim=-1)

    def _answered(
        self, layer: int, states: Tensor, lengths: Tensor, sounds: AudioBatch, injection: Injection
    ) -> Tensor:
        """The decoder's states (K, d) at the places that `sounds.read` names, or as in `AudioBackbone`."""
        if sounds.answers is None or sounds.read is None:
            return super()._answered(layer, states, lengths, sounds, injection)
        encoded = self._encoded(layer, states, lengths, injection)
        layout = DecoderLayout(injection, _real(encoded, lengths), first=self.layers)
        final, _ = self._decode(sounds.answers.to(self.device), encoded, layout)
        row, place = sounds.read.to(self.device).T
        return final[row, injection_tokens(injection, self.layers) + place]

    def _encoded(self, layer: int, states: Tensor, lengths: Tensor, injection: Injection) -> Tensor:
        """(B, T, d) the encoder's final states of the audio files, from those at `layer` on, without the prompt's."""
        if layer >= self.layers:
            return states.to(self.device, self.dtype)
        final, layout = self._run(states, lengths, injection, first=layer)
        return final[:, layout.grown :]

    def _decode(
        self, ids: Tensor, encoded: Tensor, layout: DecoderLayout, cache: Any = None, caching: bool = False
    ) -> tuple[Tensor, Any]:
        """The decoder's final states (M, P + W, d) of tokens (M, W), and its cache."""
        embedded = self.embed(ids)
        if self.layers in layout.injection.tokens and not layout.past:
            virtual = layout.injection.tokens[self.layers].to(embedded).expand(len(embedded), -1, -1)
            embedded = torch.cat([virtual, embedded], dim=1)
        with frozen.own_pass():
            output = self._decoder(
                inputs_embeds=embedded,
                attention_mask=compat.no_mask(embedded),
                encoder_hidden_states=encoded,
                past_key_values=cache,
                use_cache=caching,
                cuetune_layout=layout,
            )
        return output.last_hidden_state, output.past_key_values

    @torch.no_grad()
    def _self_test(self) -> None:
        """The decoder, too, must give what the stock path gives: alone, and with every key seen twice."""
        super()._self_test()
        ids = torch.arange(5, device=self.device)[None] % self.config.vocab_size
        encoded = self._noise_states[None, :20]
        real = torch.ones(encoded.shape[:2], dtype=torch.bool, device=self.device)
        captured: dict[int, KeyValue] = {}
        with self._testing():
            stock = self._decoder(input_ids=ids, encoder_hidden_states=encoded, use_cache=False).last_hidden_state
            layout = DecoderLayout(Injection(), real, capture=captured, first=self.layers)
            alone, _ = self._decode(ids, encoded, layout)
            kv = {
                layer: tuple(part[:, :, :1].expand(-1, -1, 2, -1) for part in pair) for layer, pair in captured.items()
            }
            last = DecoderLayout(Injection(kv=kv), real, first=self.layers)  # type: ignore[arg-type]
            twice, _ = self._decode(ids[:, :1], encoded, last)
        if len(captured) != len(self.decoder_layers):
            raise self._refused(self.identity.name, f"{len(captured)} layers of the decoder take them")
        self._must_equal(alone, stock)
        self._must_equal(twice[:, 0], stock[:, 0])
        self.kv_shape = (self.layers + len(captured), *self.kv_shape[1:])


def injection_tokens(injection: Injection, layer: int) -> int:
    """How many virtual tokens enter at a layer."""
    return injection.tokens[layer].shape[-2] if layer in injection.tokens else 0


def _real(encoded: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) which states are the audio's own."""
    return torch.arange(encoded.shape[1], device=encoded.device) < lengths.to(encoded.device)[:, None]

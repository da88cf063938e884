"""Whisper's decoder under an injection. The oracles are an unwrapped Whisper of transformers and plain attention."""

import pytest
import torch
from transformers import AttentionInterface

from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.injection import Injection
from cuetune.backbones.wave_change import WaveChange
from cuetune.backbones.whisper import START
from cuetune.errors import CuetuneError
from tiny_audio import HEADS, LAYERS, RATE, SECONDS, WIDTH, noise, whisper_backbone, whisper_model

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
ANSWERS = ([7, 9, 30, 12], [21, 8])
DECODER = range(LAYERS, LAYERS + 2)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.7 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def asked(waves, answers=ANSWERS) -> AudioBatch:
    """The decoder's states of every token of the answers behind the start tokens, padded behind."""
    start = whisper_backbone().start()
    ids = [torch.tensor(start + list(answer)) for answer in answers]
    read = [(row, place) for row, each in enumerate(ids) for place in range(len(each))]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=5)
    return AudioBatch(waves, answers=padded, read=torch.tensor(read))


def whole(waves) -> torch.Tensor:
    """The stock model's features of audio files of the full length."""
    heard = whisper_backbone().hearing
    return torch.cat([heard.features(heard.fitted(wave)[None]) for wave in waves])


@torch.no_grad()
def test_logits_are_those_of_the_stock_model():
    """At the full length that the model hears, answers of different lengths in one batch."""
    frozen, stock, waves = whisper_backbone(), whisper_model(), noise(SECONDS, SECONDS)
    ours = frozen.logits(frozen.hidden(asked(waves)))
    wanted = []
    for wave, answer in zip(waves, ANSWERS, strict=True):
        ids = torch.tensor([[*frozen.start(), *answer]])
        wanted.append(stock(input_features=whole([wave]), decoder_input_ids=ids).logits[0])
    torch.testing.assert_close(ours, torch.cat(wanted), **CLOSE)
    again = frozen.model(input_features=whole(waves[:1]), decoder_input_ids=ids).logits
    assert torch.equal(again, stock(input_features=whole(waves[:1]), decoder_input_ids=ids).logits)


@torch.no_grad()
def test_virtual_tokens_of_the_decoder_are_what_it_is_told_before():
    """Embeddings of words as virtual tokens: the stock model that reads those words before its start tokens."""
    frozen, (wave,), said = whisper_backbone(), noise(SECONDS), torch.tensor([33, 40, 41])
    tokens = Injection(tokens={LAYERS: frozen.embed(said)})
    sounds = asked([wave], ANSWERS[:1])
    ids = torch.cat([said, sounds.answers[0]])[None]
    wanted = whisper_model()(input_features=whole([wave]), decoder_input_ids=ids).logits[0, len(said) :]
    torch.testing.assert_close(frozen.logits(frozen.hidden(sounds, tokens)), wanted, **CLOSE)


class PlainPrefix:
    """Causal attention over a layer's prefix and its own keys; cross-attention as it is. Layers by order of calls."""

    def __init__(self, kv: dict) -> None:
        self.kv, self.called = kv, 0

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        width = query.shape[2]
        scores = query @ key.transpose(2, 3)
        if module.is_causal:
            keys, values = self.kv[LAYERS + self.called]
            self.called += 1
            scores = scores.masked_fill(torch.ones(width, width).triu(1).bool(), -torch.inf)
            scores = torch.cat([query @ keys.transpose(-1, -2), scores], dim=-1)
            value = torch.cat([values.expand(len(value), -1, -1, -1), value], dim=2)
        return (scores.softmax(-1) @ value).transpose(1, 2), None


@torch.no_grad()
def test_keys_and_values_of_the_decoder_equal_naive_concatenation():
    frozen, waves = whisper_backbone(), noise(SECONDS)
    kv = {layer: (drawn(HEADS, 3, 8, seed=layer), drawn(HEADS, 3, 8, seed=layer + 9)) for layer in DECODER}
    sounds, stock = asked(waves, ANSWERS[:1]), whisper_model()
    encoded = stock.get_encoder()(whole(waves)).last_hidden_state
    AttentionInterface.register("plain_whisper_prefix", PlainPrefix(kv))
    stock.set_attn_implementation("plain_whisper_prefix")
    wanted = stock.get_decoder()(input_ids=sounds.answers, encoder_hidden_states=encoded).last_hidden_state[0]
    torch.testing.assert_close(frozen.hidden(sounds, Injection(kv=kv)), wanted, **CLOSE)


def prompts() -> dict[str, Injection]:
    every = [*range(LAYERS), *DECODER]
    kv = {layer: (drawn(HEADS, 2, 8, seed=layer), drawn(HEADS, 2, 8, seed=layer + 9)) for layer in every}
    return {
        "none": Injection(),
        "encoder": Injection({layer: drawn(3, WIDTH, seed=layer) for layer in range(LAYERS)}),
        "decoder": Injection({layer: drawn(3, WIDTH, seed=layer) for layer in DECODER}),
        "both": Injection({layer: drawn(3, WIDTH, seed=layer) for layer in every}, kv),
        "wave": Injection(inputs=WaveChange(0.1 * drawn(RATE // 2))),
    }


@pytest.mark.parametrize("kind", prompts())
@torch.no_grad()
def test_a_batch_is_each_recording_alone(kind):
    """Audio files and answers of different lengths; padded or not, each is answered the same."""
    frozen, waves, injection = whisper_backbone(), noise(0.3, 0.7), prompts()[kind]
    together = frozen.hidden(asked(waves), injection)
    alone = [frozen.hidden(asked([w], [a]), injection) for w, a in zip(waves, ANSWERS, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)
    if kind != "none":
        assert not torch.allclose(together, frozen.hidden(asked(waves)), atol=1e-3)


@torch.no_grad()
def test_prefixes_of_different_lengths_in_one_batch():
    frozen, waves, lengths = whisper_backbone(), noise(0.3, 0.7), [3, 1]
    kv = {layer: (drawn(2, HEADS, 3, 8, seed=layer), drawn(2, HEADS, 3, 8, seed=layer + 9)) for layer in DECODER}
    mixed = Injection(kv=kv, lengths=torch.tensor(lengths))
    alone = []
    for row, length in enumerate(lengths):
        own = {layer: tuple(part[row, :, :length] for part in pair) for layer, pair in kv.items()}
        alone.append(frozen.hidden(asked([waves[row]], [ANSWERS[row]]), Injection(kv=own)))
    torch.testing.assert_close(frozen.hidden(asked(waves), mixed), torch.cat(alone), **CLOSE)


@pytest.mark.parametrize("kind", ["none", "decoder"])
@torch.no_grad()
def test_what_is_heard_is_computed_once_for_prompts_of_the_decoder(kind):
    frozen, sounds, injection = whisper_backbone(), asked(noise(0.3, 0.7)), prompts()[kind]
    states = frozen.states_at(LAYERS, sounds)
    lengths = torch.tensor([frozen.hearing.states(len(wave)) for wave in sounds.waves])
    bare = AudioBatch(lengths=lengths, answers=sounds.answers, read=sounds.read)
    torch.testing.assert_close(frozen.hidden_from(LAYERS, states, bare, injection), frozen.hidden(sounds, injection))
    with pytest.raises(CuetuneError, match="below layer 3"):
        frozen.hidden_from(LAYERS, states, bare, prompts()["both"])


@pytest.mark.parametrize("kind", prompts())
@torch.no_grad()
def test_writing_takes_the_likeliest_token_at_every_step(kind):
    """With a cache and in a batch as by reading all of it anew, one audio file at a time."""
    frozen, waves, injection, most = whisper_backbone(), noise(0.3, 0.7), prompts()[kind], 6
    written = frozen.write(AudioBatch(waves), injection, frozen.start(), most)
    for wave, ours in zip(waves, written, strict=True):
        answer: list[int] = []
        for number in range(most):
            hidden = frozen.hidden(asked([wave], [answer]), injection)
            token = int(frozen._likeliest(frozen.logits(hidden[-1:]), number == 0))
            if token == frozen.tokenizer.convert_tokens_to_ids("<|endoftext|>"):
                break
            answer.append(token)
        assert ours == answer


@torch.no_grad()
def test_tokens_that_whisper_never_writes_are_left_out():
    frozen, wave = whisper_backbone(), noise(0.3)
    (first, *_) = free = frozen.write(AudioBatch(wave), Injection(), frozen.start(), 4)[0]
    settings = frozen.model.generation_config
    try:
        settings.begin_suppress_tokens = [first]
        assert frozen.write(AudioBatch(wave), Injection(), frozen.start(), 4)[0][0] != first
        settings.begin_suppress_tokens, settings.suppress_tokens = None, free
        assert not set(frozen.write(AudioBatch(wave), Injection(), frozen.start(), 4)[0]) & set(free)
    finally:
        settings.begin_suppress_tokens = settings.suppress_tokens = None


def test_gradients_are_slopes_and_reach_nothing_else():
    frozen, sounds = whisper_backbone(), asked(noise(0.3, 0.7))
    for layer in (0, LAYERS):
        start = drawn(2, WIDTH).requires_grad_()
        loss = lambda numbers, at=layer: frozen.hidden(sounds, Injection({at: numbers})).square().mean()  # noqa: E731
        (gradient,) = torch.autograd.grad(loss(start), start)
        step = torch.zeros_like(start)
        step[1, 3] = 1e-2
        with torch.no_grad():
            slope = (loss(start + step) - loss(start - step)) / 2e-2
        assert abs(slope - gradient[1, 3]) < 2e-2 * gradient.abs().max()
    assert all(parameter.grad is None for parameter in frozen.model.parameters())


def test_what_does_not_fit_is_refused():
    frozen = whisper_backbone()
    assert frozen.kv_shape == (LAYERS + 2, HEADS, WIDTH // HEADS)
    for injection, told in [
        (Injection({LAYERS + 1: drawn(2, WIDTH)}), "enter the decoder at its layer 1"),
        (Injection({LAYERS + 2: drawn(2, WIDTH)}), "at layer 5.*5 layers"),
        (Injection(kv={LAYERS: (drawn(2, 1, 8), drawn(2, 1, 8))}), "a prefix of 2 heads"),
    ]:
        with pytest.raises(CuetuneError, match=told):
            frozen.check(injection)


def test_start_tokens_name_the_language_of_models_that_know_several(monkeypatch):
    frozen = whisper_backbone()
    assert frozen.tokenizer.convert_ids_to_tokens(frozen.start("fr"))[0] == START
    assert len(frozen.start()) == 2
    monkeypatch.setattr(type(frozen), "multilingual", True)
    assert frozen.tokenizer.convert_ids_to_tokens(frozen.start("FR"))[1] == "<|fr|>"
    for wrong in ("", "klingon"):
        with pytest.raises(CuetuneError, match=f"{wrong!r} is no language that it writes.*--instruction fr"):
            frozen.start(wrong)

"""Audio under a prompt: the same alone, in a batch, padded, mixed, and from kept states; plain models unchanged."""

import pytest
import torch

from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.injection import Injection
from cuetune.errors import CuetuneError
from tiny_audio import FAMILIES, HEADS, LAYERS, SECONDS, WIDTH, audio_backbone, audio_model, hearing, noise

LENGTHS = (0.31, 0.62, 0.17)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def prompt(kind: str, seed: int = 0) -> Injection:
    generator = torch.Generator().manual_seed(seed)
    if kind == "tokens":
        return Injection(tokens={layer: torch.randn(3, WIDTH, generator=generator) for layer in range(LAYERS)})
    shape = (HEADS, 2, WIDTH // HEADS)
    return Injection(
        kv={
            layer: (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
            for layer in range(LAYERS)
        }
    )


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_wrapped_model_answers_as_the_stock_model(family):
    """An audio file of the full length that the model hears, so that Whisper has no silence behind it to leave out."""
    (wave,) = noise(SECONDS)
    stock, heard = audio_model(family), hearing(family)
    features = heard.features(heard.fitted(wave)[None])
    part = stock.get_encoder() if family == "whisper" else stock
    states = part(features).last_hidden_state
    frozen = audio_backbone(family)
    expected = states[:, : frozen.n_first] if frozen.n_first else states
    torch.testing.assert_close(frozen.hidden(AudioBatch([wave])), expected.mean(dim=1), **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["tokens", "kv"])
@torch.no_grad()
def test_a_batch_is_each_sound_alone_and_a_mixed_batch_each_prompt_alone(family, kind):
    frozen, waves, injection = audio_backbone(family), noise(*LENGTHS), prompt(kind)
    batch = frozen.hidden(AudioBatch(waves), injection)
    alone = torch.cat([frozen.hidden(AudioBatch([wave]), injection) for wave in waves])
    torch.testing.assert_close(batch, alone, **CLOSE)
    assert not torch.allclose(batch, frozen.hidden(AudioBatch(waves)), atol=1e-3), "the prompt must change something"
    other = prompt(kind, seed=1)
    mixed = frozen.hidden_mixed([(AudioBatch(waves), injection), (AudioBatch(waves[:2]), other)])
    torch.testing.assert_close(mixed[0], batch, **CLOSE)
    torch.testing.assert_close(mixed[1], frozen.hidden(AudioBatch(waves[:2]), other), **CLOSE)
    assert not torch.allclose(mixed[1], batch[:2], atol=1e-3), "two prompts that answer alike would prove nothing"


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_kept_states_answer_as_the_sounds_themselves(family):
    frozen, waves = audio_backbone(family), noise(*LENGTHS)
    heard = frozen.heard(waves)
    lengths = torch.tensor([len(each) for each in heard])
    kept = AudioBatch(states=torch.nn.utils.rnn.pad_sequence(heard, batch_first=True), lengths=lengths)
    injection = Injection(tokens={layer: states for layer, states in prompt("tokens").tokens.items() if layer >= 1})
    whole = frozen.hidden(AudioBatch(waves), injection)
    torch.testing.assert_close(frozen.hidden(kept, injection), whole, **CLOSE)
    below = frozen.states_at(1, kept)
    torch.testing.assert_close(frozen.hidden_from(1, below, kept, injection), whole, **CLOSE)
    with pytest.raises(CuetuneError, match="below layer 1"):
        frozen.hidden_from(1, below, kept, prompt("tokens"))


def test_gradients_reach_the_prompt_and_not_the_model():
    frozen = audio_backbone("whisper")
    tokens = {0: torch.randn(2, WIDTH, requires_grad=True)}
    frozen.hidden(AudioBatch(noise(*LENGTHS)), Injection(tokens=tokens)).square().sum().backward()
    assert tokens[0].grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in frozen.model.parameters())


def test_a_prompt_of_another_model_is_refused():
    with pytest.raises(CuetuneError, match="prompt"):
        audio_backbone("whisper").check(Injection(tokens={0: torch.zeros(2, WIDTH + 1)}))
    with pytest.raises(CuetuneError, match="offsets"):
        audio_backbone("whisper").check(Injection(offsets=torch.zeros(2, WIDTH)))

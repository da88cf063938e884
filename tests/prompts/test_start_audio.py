"""Prompts for audio files by name: every one begins on a backbone, as it says, and names what it does not know."""

import pytest
import torch

from cuetune.backbones.batches import AudioBatch
from cuetune.backbones.wave_change import WaveChange
from cuetune.errors import CuetuneError
from cuetune.prompts import Prompt
from cuetune.prompts.registry import build
from cuetune.prompts.start_audio import AUDIO_METHODS, AudioStart
from tiny_audio import FAMILIES, HEADS, LAYERS, RATE, WIDTH, audio_backbone, noise, whisper_backbone

OPTIONS = {"wave": {"seconds": "0.1"}}
HEARD = ("deep", "shallow", "prefix", "wave")


def start(family: str = "whisper", seed: int = 0, reads: int | None = None) -> AudioStart:
    said = ["good dog", "bad dog"] if family == "writes" else []
    frozen = whisper_backbone() if family == "writes" else audio_backbone(family)
    return AudioStart(frozen, 5, seed, AudioBatch(noise(0.3, 0.5)), said, reads)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", HEARD)
@torch.no_grad()
def test_every_method_begins_on_every_backbone(method, family):
    frozen, sounds = audio_backbone(family), AudioBatch(noise(0.2, 0.4, seed=1))
    prompts = [build(method, start(family, seed), OPTIONS.get(method, {})) for seed in (0, 0, 1)]
    if method == "wave" and family == "ast":
        with pytest.raises(CuetuneError, match="tiny-ast takes no change of the waveform"):
            frozen.check(prompts[0].injection())
        return
    frozen.check(prompts[0].injection())
    first, again, other = (frozen.hidden(sounds, prompt.injection()) for prompt in prompts)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, frozen.hidden(sounds))
    rebuilt = Prompt.rebuild(prompts[0].kind, prompts[0].spec(), prompts[0].state_dict())
    assert torch.equal(frozen.hidden(sounds, rebuilt.injection()), first)


def test_sizes_follow_from_the_backbone():
    assert build("deep", start(), {}).n_trained == LAYERS * 5 * WIDTH
    assert build("deep", start(), {"layer": "1"}).frozen_below == 1
    assert build("shallow", start(), {}).n_trained == 5 * WIDTH
    assert build("prefix", start(), {"layer": 2}).n_trained == 2 * 5 * WIDTH
    assert build("wave", start(), {}).n_trained == RATE
    for method, numbers in (("decoder", 5 * WIDTH), ("decoder-prefix", 2 * 2 * 5 * WIDTH)):
        prompt = build(method, start("writes"), {})
        whisper_backbone().check(prompt.injection())
        assert (prompt.n_trained, prompt.frozen_below) == (numbers, LAYERS)
    assert build("deep", start(reads=2), {}).n_trained == 2 * 5 * WIDTH


@torch.no_grad()
def test_prompts_begin_as_states_of_the_sounds():
    begun, sounds = start(), AudioBatch(noise(0.3, 0.5))
    inputs = audio_backbone("whisper").layer_inputs(sounds)
    tokens = build("deep", begun, {}).injection().tokens
    for layer in range(LAYERS):
        assert all((inputs[layer] - each).abs().amax(dim=1).min() < 1e-6 for each in tokens[layer])
    keys, _ = audio_backbone("whisper").keys_values(sounds)
    assert keys.shape == (LAYERS, HEADS, len(inputs[0]), WIDTH // HEADS)
    ours = build("prefix", begun, {}).injection().kv[1][0]
    assert all((keys[1] - ours[:, place, None]).abs().amax(dim=(0, 2)).min() < 1e-6 for place in range(5))


@torch.no_grad()
def test_a_prompt_of_the_decoder_begins_as_what_was_said_before():
    frozen, told = whisper_backbone(), start("writes").told()
    assert len(told) == 5
    assert frozen.tokenizer.convert_ids_to_tokens(told)[0] == "<|startofprev|>"
    (tokens,) = build("decoder", start("writes"), {}).injection().tokens.values()
    assert torch.equal(tokens, frozen.embed(torch.tensor(told)))
    keys, values = frozen.told_keys_values(told)
    kv = build("decoder-prefix", start("writes"), {}).injection().kv
    for number, layer in enumerate((LAYERS, LAYERS + 1)):
        assert torch.allclose(kv[layer][0], keys[number])
        assert torch.allclose(kv[layer][1], values[number])


def test_a_change_of_waves_lengthens_short_ones_and_leaves_the_end_of_long_ones():
    change, (short, long) = WaveChange(torch.ones(1600)), noise(0.05, 0.3)
    first, second = change.of_waves([short, long])
    assert torch.equal(first, torch.cat([short, torch.zeros(800)]) + 1)
    assert torch.equal(second, torch.cat([long[:1600] + 1, long[1600:]]))
    own = WaveChange(torch.stack([torch.zeros(1600), torch.ones(1600)]))
    assert own.per_row
    assert torch.equal(own.of_waves([long, long])[0], long)
    assert torch.equal(own.of_rows(torch.tensor([1])).of_waves([long])[0], second)


@pytest.mark.parametrize(
    ("method", "options", "told"),
    [
        ("soft", {}, "unknown prompt 'soft' for audio files; choose one of deep, shallow, prefix, wave, decoder"),
        ("wave", {"depth": 1}, "'wave' has no option 'depth'.*seconds=1.0"),
        ("wave", {"seconds": 0}, "seconds=0: give some"),
        ("deep", {"layer": 3}, "layer 3: of tiny-whisper layers 0 to 2 are run"),
        ("decoder", {}, "a prompt of the decoder needs transcripts to write"),
    ],
)
def test_what_is_not_known_is_named(method, options, told):
    with pytest.raises(CuetuneError, match=told):
        build(method, start(), options)


def test_every_method_has_a_title_and_a_start():
    assert set(AUDIO_METHODS) == {*HEARD, "decoder", "decoder-prefix"}

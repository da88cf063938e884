"""Properties of backbones of videos. The oracles are an unwrapped VideoMAE with naive hooks, and frames one by one."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import AttentionInterface

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.clips import ClipPreprocessing, evenly
from cuetune.backbones.compat import text as compat
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.injection import Injection
from cuetune.backbones.inputs import InputChange
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.backbones.video import TubesBackbone
from cuetune.errors import CuetuneError
from tiny_video import CLIPS, FRAMES, TUBES, clips, frames_backbone, tubes_backbone, tubes_model
from tiny_vision import HEADS, LAYERS, PREPARED, SIDE, WIDTH, image_backbone

TOLERANCE = 2e-5
last_norms = pytest.mark.parametrize("pooled", [True, False], ids=["no-norm", "norm"])
kinds = pytest.mark.parametrize("backbone", [tubes_backbone, frames_backbone], ids=["tubes", "frames"])


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.7


def deep_oracle(tokens: dict[int, torch.Tensor], batch: torch.Tensor, pooled: bool = True) -> torch.Tensor:
    """VPT by hooks on a fresh VideoMAE: the last prompt's states give way to the new ones; the tubes' mean."""
    model, present = tubes_model(pooled=pooled), [0]

    def hook(states):
        def put(module, args):
            hidden = torch.cat([states.expand(len(args[0]), -1, -1), args[0][:, present[0] :]], dim=1)
            present[0] = states.shape[-2]
            return (hidden, *args[1:])

        return put

    for number, layer in enumerate(model.encoder.layer):
        if number in tokens:
            layer.register_forward_pre_hook(hook(tokens[number]))
    return model(pixel_values=batch).last_hidden_state[:, present[0] :].mean(dim=1)


@last_norms
@torch.no_grad()
def test_wrapping_a_videomae_changes_nothing(pooled):
    batch, frozen = clips(), tubes_backbone(pooled)
    wanted = tubes_model(pooled=pooled)(pixel_values=batch).last_hidden_state
    assert torch.equal(frozen.model(pixel_values=batch).last_hidden_state, wanted)
    assert error(frozen.states(batch), wanted) < TOLERANCE
    assert error(frozen.hidden(batch), wanted.mean(dim=1)) < TOLERANCE
    assert (frozen.n_first, frozen.n_patches, frozen.n_states) == (0, TUBES, TUBES)
    assert frozen.kv_shape == (LAYERS, HEADS, WIDTH // HEADS)


@last_norms
@pytest.mark.parametrize("layers", [(0,), (0, 1, 2), (1, 2), (2,)], ids=str)
@torch.no_grad()
def test_virtual_tokens_at_the_tubes_equal_naive_hooks(layers, pooled):
    batch, frozen = clips(), tubes_backbone(pooled)
    tokens = {layer: drawn(5, WIDTH, seed=layer) for layer in layers}
    assert error(frozen.hidden(batch, Injection(tokens)), deep_oracle(tokens, batch, pooled)) < TOLERANCE


class PlainPrefix:
    """Attention over `kv` and the layer's own keys; layers are counted as they are called."""

    def __init__(self, kv: dict) -> None:
        self.kv, self.called = kv, 0

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        layer, self.called = self.called, self.called + 1
        if layer in self.kv:
            before = [part.expand(len(key), -1, -1, -1) for part in self.kv[layer]]
            key, value = torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)
        weights = (query @ key.transpose(2, 3) * scaling).softmax(-1)
        return (weights @ value).transpose(1, 2), None


@torch.no_grad()
def test_keys_and_values_at_the_tubes_equal_plain_attention():
    kv = {n: (drawn(HEADS, 3, WIDTH // HEADS, seed=n), drawn(HEADS, 3, WIDTH // HEADS, seed=9 + n)) for n in (0, 2)}
    batch, other = clips(), tubes_model()
    AttentionInterface.register("plain_tube_prefix", PlainPrefix(kv))
    other.set_attn_implementation("plain_tube_prefix")
    wanted = other(pixel_values=batch).last_hidden_state.mean(dim=1)
    assert error(tubes_backbone().hidden(batch, Injection(kv=kv)), wanted) < TOLERANCE


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
def test_gradients_through_a_videomae_are_the_naive_ones(checkpointing):
    batch, frozen = clips(2), tubes_backbone()
    theirs, ours = ({n: drawn(3, WIDTH, seed=n).requires_grad_() for n in range(LAYERS)} for _ in range(2))
    weights = drawn(2, WIDTH, seed=5)
    (deep_oracle(theirs, batch) * weights).sum().backward()
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    (frozen.hidden(batch, Injection(tokens=ours)) * weights).sum().backward()
    compat.prepare_for_tuning(frozen.model, False, False)
    for layer in range(LAYERS):
        assert error(ours[layer].grad, theirs[layer].grad) < 1e-4
    assert all(parameter.grad is None for parameter in frozen.model.parameters())


@torch.no_grad()
def test_passes_of_a_videomae_run_side_by_side():
    """What a pass looks like is known to its own thread alone."""
    batch, frozen = clips(1), tubes_backbone()
    prompts = [Injection({0: drawn(2 + n, WIDTH, seed=n)}) if n % 2 else Injection() for n in range(8)]
    alone = [frozen.hidden(batch, prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda prompt: _without_gradients(frozen, batch, prompt), prompts * 4))
    for number, ours in enumerate(together):
        assert torch.equal(ours, alone[number % 8])


@torch.no_grad()
def _without_gradients(frozen, batch, prompt):
    return frozen.hidden(batch, prompt)


@torch.no_grad()
def test_a_clip_is_its_frames_one_behind_the_other():
    batch, frozen, still = clips(), frames_backbone("dinov2"), image_backbone("dinov2")
    shared = Injection({n: drawn(3, WIDTH, seed=n) for n in range(LAYERS)})
    for prompt, pooling in ((Injection(), "first"), (shared, "first"), (shared, "mean")):
        ours = frozen.hidden(batch, prompt, pooling=pooling)
        wanted = torch.cat([still.hidden(batch[:, t], prompt, pooling=pooling) for t in range(FRAMES)], dim=1)
        assert ours.shape == (3, FRAMES * WIDTH) == (3, frozen.state_width)
        assert error(ours, wanted) < TOLERANCE
    assert frozen.n_states == FRAMES * still.n_states


@torch.no_grad()
def test_each_frame_has_the_prompt_that_was_made_for_it():
    batch, frozen, still = clips(), frames_backbone(), image_backbone()
    tokens = {n: drawn(FRAMES, 3, WIDTH, seed=n) for n in range(LAYERS)}
    kv = {1: tuple(drawn(FRAMES, HEADS, 2, WIDTH // HEADS, seed=n) for n in (7, 8))}
    ours = frozen.hidden(batch, Injection(tokens, kv))
    for t, each in enumerate(ours.split(WIDTH, dim=1)):
        own = Injection({n: part[t] for n, part in tokens.items()}, {1: (kv[1][0][t], kv[1][1][t])})
        assert error(each, still.hidden(batch[:, t], own)) < TOLERANCE


@torch.no_grad()
def test_what_is_read_tells_a_clip_from_the_same_played_backwards():
    batch, frozen = clips(), frames_backbone()
    forwards, backwards = (frozen.hidden(each).view(3, FRAMES, WIDTH) for each in (batch, batch.flip(1)))
    assert error(backwards, forwards) > 0.1
    assert error(backwards.mean(dim=1), forwards.mean(dim=1)) < TOLERANCE  # the mean over frames does not


@kinds
@torch.no_grad()
def test_a_batch_equals_its_clips_and_a_mixed_batch_each_prompt_alone(backbone):
    frozen, batch = backbone(), clips(4)
    kv = {n: (drawn(HEADS, 2, WIDTH // HEADS, seed=n), drawn(HEADS, 2, WIDTH // HEADS)) for n in range(LAYERS)}
    prompts = [
        Injection(),
        Injection({n: drawn(3, WIDTH, seed=n) for n in range(LAYERS)}),
        Injection({0: drawn(2, WIDTH)}, kv, inputs=InputChange(drawn(3, SIDE, SIDE), (2, 2, SIDE - 4, SIDE - 4))),
    ]
    if backbone is frames_backbone:
        prompts.append(Injection({0: drawn(FRAMES, 2, WIDTH)}))
    mixed = frozen.hidden_mixed([(ImageBatch(batch), prompt) for prompt in prompts])
    for prompt, ours in zip(prompts, mixed, strict=True):
        alone = torch.cat([frozen.hidden(batch[n : n + 1], prompt) for n in range(len(batch))])
        assert error(ours, alone) < TOLERANCE
    assert error(mixed[1], mixed[0]) > 1e-3


@kinds
@torch.no_grad()
def test_states_below_a_prompt_are_computed_once(backbone):
    frozen, batch = backbone(), clips()
    for layer in range(LAYERS):
        rows = (FRAMES,) if backbone is frames_backbone else ()
        late = Injection({n: drawn(*rows, 3, WIDTH, seed=n) for n in range(layer, LAYERS)})
        states = frozen.states_at(layer, ImageBatch(batch))
        assert states.shape == (3, frozen.n_states, WIDTH)
        assert error(frozen.hidden_from(layer, states, ImageBatch(batch), late), frozen.hidden(batch, late)) < TOLERANCE


@torch.no_grad()
def test_pixels_are_changed_in_every_frame_alike():
    batch, change = clips(), InputChange(drawn(3, SIDE, SIDE), (2, 4, 12, 10))
    wanted = torch.stack([change.of(batch[:, t]) for t in range(FRAMES)], dim=1)
    assert torch.allclose(change.of(batch), wanted, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(CuetuneError, match="made for 3 frames, but tiny-vit@4 sees 4 of a video"):
        frames_backbone().check(Injection({0: torch.zeros(3, 2, WIDTH)}))
    with pytest.raises(CuetuneError, match="sees all frames at once; use another prompt"):
        tubes_backbone().check(Injection({0: torch.zeros(FRAMES, 2, WIDTH)}))
    with pytest.raises(CuetuneError, match="virtual tokens of width 33"):
        frames_backbone().check(Injection({0: torch.zeros(FRAMES, 2, WIDTH + 1)}))
    for wrong in (ClipPreprocessing.over(PREPARED, 8), ClipPreprocessing.over(Preprocessing((16, 16)), FRAMES)):
        with pytest.raises(CuetuneError, match="sees 4 frames of 24 x 24 pixels and no others"):
            TubesBackbone(tubes_model(), wrong, "tiny-videomae")


def test_a_clip_is_known_by_its_preparation():
    assert frames_backbone().identity.kind == tubes_backbone().identity.kind == "video"
    assert CLIPS.hash != PREPARED.hash != ClipPreprocessing.over(PREPARED, 8).hash != CLIPS.hash
    assert CLIPS.shape == (FRAMES, 3, SIDE, SIDE)
    assert frames_backbone().around(frames_backbone().model).frames == FRAMES


def test_only_tubes_are_taken_for_tubes():
    assert not compat_vision.is_vision(tubes_model().config)
    assert compat_vision.is_vision(image_backbone().config)


def test_frames_are_taken_evenly_from_the_first_to_the_last():
    assert evenly(16, 4) == [0, 5, 10, 15]
    assert evenly(4, 4) == [0, 1, 2, 3]
    assert evenly(1, 3) == [0, 0, 0]
    assert evenly(3, 5) == [0, 0, 1, 2, 2]
    assert evenly(9, 1) == [4]
    for length in (7, 100, 1001):
        taken = evenly(length, 7)
        assert taken[0] == 0
        assert taken[-1] == length - 1
        assert max(taken[n + 1] - taken[n] for n in range(6)) - min(taken[n + 1] - taken[n] for n in range(6)) <= 1

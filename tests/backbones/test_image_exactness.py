"""Properties of image backbones. The oracles are unwrapped models of transformers, with naive hooks for the prompts.

VPT's oracle puts states between the first ones and the patches by hooks on the layers; that of keys and values is a
plain attention function that concatenates.
"""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface, BeitConfig, BeitModel

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.compat import text as compat
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.injection import Injection
from cuetune.backbones.inputs import InputChange
from cuetune.errors import CuetuneError
from tiny_vision import (
    FIRST,
    HEADS,
    LAYERS,
    PATCH,
    PATCHES,
    PREPARED,
    SIDE,
    WIDTH,
    bare,
    image_backbone,
    pixels,
    vision_model,
)

few = settings(max_examples=5, deadline=None, derandomize=True)
families = pytest.mark.parametrize("family", FIRST)
TOLERANCE = 2e-5


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.7


def final(family: str, model, batch: torch.Tensor) -> torch.Tensor:
    """Final states (B, T, d) as we read them: behind CLIP's last norm, which stands outside."""
    arguments = compat_vision.size_arguments(model, (SIDE, SIDE))
    part = compat_vision.seeing_part(model)
    return compat_vision.last_norm(model)(part(pixel_values=batch, **arguments).last_hidden_state)


def pooled(family: str, states: torch.Tensor, extra: int = 0) -> torch.Tensor:
    """What `hidden` reads by default; extra: states of the prompt behind the first ones."""
    return states[:, 0] if FIRST[family] else states[:, FIRST[family] + extra :].mean(dim=1)


def deep_oracle(family: str, tokens: dict[int, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """VPT by hooks on a fresh model: at each named layer the last prompt's states give way to the new ones."""
    model, first, handles, present = vision_model(family), FIRST[family], [], [0]

    def hook(states):
        def put(module, args, kwargs):
            hidden = args[0]
            new = states.expand(len(hidden), -1, -1)
            hidden = torch.cat([hidden[:, :first], new, hidden[:, first + present[0] :]], dim=1)
            present[0] = new.shape[1]
            return (hidden, *args[1:]), kwargs

        return put

    for number, layer in enumerate(compat_vision.vision_layers(model)):
        if number in tokens:
            handles.append(layer.register_forward_pre_hook(hook(tokens[number]), with_kwargs=True))
    states = final(family, model, batch)
    return pooled(family, states, next(iter(tokens.values())).shape[-2])


@families
@torch.no_grad()
def test_wrapping_changes_nothing(family):
    batch = pixels()
    wanted = final(family, bare(family), batch)
    frozen = image_backbone(family)
    assert torch.equal(final(family, frozen.model, batch), wanted)  # the stock path of a wrapped model: the same bits
    assert error(frozen.hidden(batch), pooled(family, wanted)) < TOLERANCE
    mean = wanted[:, FIRST[family] :].mean(1)
    assert error(frozen.hidden(batch, pooling="mean"), mean) < TOLERANCE
    assert frozen.n_first == FIRST[family]
    assert frozen.kv_shape == (LAYERS, HEADS, WIDTH // HEADS)


@families
@few
@given(length=st.integers(1, 6), count=st.integers(1, 4), layers=st.sets(st.integers(0, LAYERS - 1), min_size=1))
@example(length=3, count=2, layers=set(range(LAYERS)))
@torch.no_grad()
def test_vpt_equals_naive_hooks(family, length, count, layers):
    """Shallow, deep, late, and with layers left out, shared by the batch and per row."""
    tokens = {layer: drawn(length, WIDTH, seed=layer) for layer in sorted(layers)}
    batch, frozen = pixels(count), image_backbone(family)
    wanted = deep_oracle(family, tokens, batch)
    assert error(frozen.hidden(batch, Injection(tokens=tokens)), wanted) < TOLERANCE
    per_row = {layer: drawn(count, length, WIDTH, seed=layer) for layer in tokens}
    ours = frozen.hidden(batch, Injection(tokens=per_row))
    assert error(ours, deep_oracle(family, per_row, batch)) < TOLERANCE


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


def prefix_oracle(family: str, kv: dict, batch: torch.Tensor) -> torch.Tensor:
    other = vision_model(family)
    AttentionInterface.register("plain_image_prefix", PlainPrefix(kv))
    other.set_attn_implementation("plain_image_prefix")
    return pooled(family, final(family, other, batch))


def drawn_kv(length: int, *rows: int, layers=range(LAYERS), seed: int = 0) -> dict:
    size = WIDTH // HEADS
    return {n: tuple(drawn(*rows, HEADS, length, size, seed=seed + 2 * n + i) for i in (0, 1)) for n in layers}


@families
@few
@given(length=st.integers(1, 6), count=st.integers(1, 4), layers=st.sets(st.integers(0, LAYERS - 1), min_size=1))
@torch.no_grad()
def test_keys_and_values_equal_naive_concatenation(family, length, count, layers):
    """In all layers or some, shared or per row, as CODA-Prompt and prefix-tuning need them."""
    batch, frozen = pixels(count), image_backbone(family)
    for rows in ((), (count,)):
        kv = drawn_kv(length, *rows, layers=layers)
        wanted = prefix_oracle(family, kv, batch)
        assert error(frozen.hidden(batch, Injection(kv=kv)), wanted) < TOLERANCE
        assert error(frozen.hidden(batch, frozen.compile(Injection(kv=kv))), wanted) < TOLERANCE


@torch.no_grad()
def test_prefixes_of_different_lengths_in_one_batch():
    """Rows whose prefix is shorter do not see what stands behind its end."""
    batch, frozen, lengths = pixels(3), image_backbone(), torch.tensor([4, 1, 0])
    kv = drawn_kv(4, 3)
    together = frozen.hidden(batch, Injection(kv=kv, lengths=lengths))
    for row, length in enumerate(lengths.tolist()):
        own = {n: tuple(part[row, :, :length] for part in pair) for n, pair in kv.items()}
        alone = frozen.hidden(batch[row : row + 1], Injection(kv=own) if length else None)
        assert error(together[row : row + 1], alone) < TOLERANCE


@families
@torch.no_grad()
def test_a_batch_equals_its_rows_and_a_mixed_batch_each_prompt_alone(family):
    frozen, batch = image_backbone(family), pixels(4)
    prompts = [
        Injection(),
        Injection(tokens={n: drawn(3, WIDTH, seed=n) for n in range(LAYERS)}),
        Injection(kv=drawn_kv(2)),
        Injection({0: drawn(2, WIDTH)}, drawn_kv(5, seed=9), inputs=InputChange(drawn(3, SIDE, SIDE))),
    ]
    mixed = frozen.hidden_mixed([(ImageBatch(batch), prompt) for prompt in prompts])
    for prompt, ours in zip(prompts, mixed, strict=True):
        alone = torch.cat([frozen.hidden(batch[n : n + 1], prompt) for n in range(len(batch))])
        assert error(ours, alone) < TOLERANCE
    assert error(mixed[1], mixed[0]) > 1e-3
    per_row = Injection(tokens={0: drawn(4, 3, WIDTH)}, kv=drawn_kv(2, 4), inputs=InputChange(drawn(4, 3, SIDE, SIDE)))
    assert per_row.per_row
    order = torch.tensor([2, 0])
    assert error(frozen.hidden(batch[order], per_row.of_rows(order)), frozen.hidden(batch, per_row)[order]) < TOLERANCE


@families
@torch.no_grad()
def test_states_below_a_prompt_are_computed_once(family):
    frozen, batch = image_backbone(family), pixels()
    for layer in range(LAYERS):
        late = Injection({n: drawn(3, WIDTH, seed=n) for n in range(layer, LAYERS)}, drawn_kv(2, layers=[LAYERS - 1]))
        states = frozen.states_at(layer, ImageBatch(batch))
        assert states.shape == (3, FIRST[family] + PATCHES, WIDTH)
        assert error(frozen.hidden_from(layer, states, ImageBatch(batch), late), frozen.hidden(batch, late)) < TOLERANCE
    with pytest.raises(CuetuneError, match="needs the whole model"):
        frozen.hidden_from(1, states, ImageBatch(batch), Injection({0: drawn(3, WIDTH)}))


@families
@torch.no_grad()
def test_states_of_a_layer_are_read_behind_the_last_norm_and_cost_no_layer_above(family):
    frozen, batch, layer = image_backbone(family), pixels(), LAYERS - 1
    states = frozen.layer_inputs(batch)
    assert len(states) == LAYERS
    other = vision_model(family)
    for each in list(compat_vision.vision_layers(other))[layer:]:
        each.forward = lambda hidden, *args, **kwargs: hidden  # what the layers from there on would do
    wanted = pooled(family, final(family, other, batch))
    assert error(frozen.hidden(batch, layer=layer), wanted) < TOLERANCE
    assert error(frozen.features(batch, layer=layer), wanted) < TOLERANCE
    assert error(frozen.hidden(batch), wanted) > 1e-3
    tokens = Injection({0: drawn(2, WIDTH), layer: drawn(2, WIDTH)})  # the second never comes in
    ours = frozen.hidden(batch, tokens, layer=layer)
    assert error(ours, frozen.hidden(batch, Injection({0: tokens.tokens[0]}), layer=layer)) < TOLERANCE


@torch.no_grad()
def test_keys_and_values_of_pictures_are_those_the_model_makes():
    """A prefix of an image's own keys and values: every key is seen twice, so nothing changes."""
    frozen, batch = image_backbone("dinov3"), pixels(2)
    keys, values = frozen.keys_values(batch)
    assert keys.shape == (LAYERS, 2, HEADS, 1 + PATCHES, WIDTH // HEADS)
    twice = Injection(kv={n: (keys[n], values[n]) for n in range(LAYERS)})
    assert error(frozen.hidden(batch, twice), frozen.hidden(batch)) < TOLERANCE


@torch.no_grad()
def test_a_change_of_pixels_is_the_changed_picture():
    frozen, batch = image_backbone(), pixels()
    added = drawn(3, SIDE, SIDE)
    ours = frozen.hidden(batch, Injection(inputs=InputChange(added)))
    assert torch.equal(ours, frozen.hidden(batch + added))
    window = (2, 4, 12, 10)
    changed = InputChange(added, window).of(batch)
    inside = torch.nn.functional.interpolate(batch, size=(12, 10), mode="bilinear", antialias=True)
    assert torch.allclose(changed[..., 2:14, 4:14], inside + added[:, 2:14, 4:14])
    assert torch.equal(changed[..., :2, :], added[:, :2].expand(3, -1, -1, -1))
    half = Injection(inputs=InputChange(added, window)).detached(torch.bfloat16)
    assert half.inputs.added.dtype == torch.bfloat16
    assert half.inputs.window == window


@torch.no_grad()
def test_classes_are_those_of_the_stock_model():
    frozen, batch = image_backbone("classes"), pixels()
    assert frozen.classes == ("cat", "dog", "cow", "car", "cup")
    assert error(frozen.class_logits(batch), bare("classes")(pixel_values=batch).logits) < TOLERANCE
    added = drawn(3, SIDE, SIDE)
    wanted = bare("classes")(pixel_values=batch + added).logits
    assert error(frozen.class_logits(batch, Injection(inputs=InputChange(added))), wanted) < TOLERANCE
    with pytest.raises(CuetuneError, match="no classes of its own"):
        image_backbone("vit").class_logits(batch)


def loss_of(states: torch.Tensor) -> torch.Tensor:
    return (states.float() * drawn(*states.shape, seed=5)).sum()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
@families
def test_gradients_equal_the_naive_ones_and_reach_nothing_else(family, checkpointing):
    batch, frozen = pixels(2), image_backbone(family)
    before = {name: value.clone() for name, value in frozen.model.state_dict().items()}
    theirs, ours = ({n: drawn(3, WIDTH, seed=n).requires_grad_() for n in range(LAYERS)} for _ in range(2))
    loss_of(deep_oracle(family, theirs, batch)).backward()
    compat.prepare_for_tuning(frozen.model, checkpointing, False)
    loss_of(frozen.hidden(batch, Injection(tokens=ours))).backward()
    compat.prepare_for_tuning(frozen.model, False, False)
    for layer in range(LAYERS):
        assert error(ours[layer].grad, theirs[layer].grad) < 1e-4
    assert all(parameter.grad is None for parameter in frozen.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in frozen.model.state_dict().items())


@pytest.mark.parametrize("place", ["tokens", "keys", "pixels"])
def test_a_finite_difference_agrees_with_the_gradient(place):
    frozen = ImageBackbone(vision_model("vit").double(), PREPARED, "tiny-double")
    batch = pixels(2).double()
    shapes = {"tokens": (2, WIDTH), "keys": (HEADS, 2, WIDTH // HEADS), "pixels": (3, SIDE, SIDE)}
    start = drawn(*shapes[place]).double()

    def loss(numbers):
        injection = {
            "tokens": lambda: Injection({0: numbers}),
            "keys": lambda: Injection(kv={1: (numbers, numbers.sin())}),
            "pixels": lambda: Injection(inputs=InputChange(numbers, (2, 2, SIDE - 4, SIDE - 4))),
        }[place]()
        return (frozen.hidden(batch, injection) * drawn(2, WIDTH, seed=5)).sum()

    (gradient,) = torch.autograd.grad(loss(start.requires_grad_()), start)
    step, at = torch.zeros_like(start), (0, *[1] * (start.dim() - 1))
    step[at] = 1e-6
    with torch.no_grad():
        slope = (loss(start + step) - loss(start - step)) / 2e-6
    assert abs(slope - gradient[at]) < 1e-4 * gradient.abs().max()


@pytest.mark.parametrize(
    ("injection", "told"),
    [
        (Injection({0: torch.zeros(2, WIDTH + 1)}), "virtual tokens of width 33 at layer 0.*width 32"),
        (Injection({LAYERS: torch.zeros(2, WIDTH)}), "at layer 3.*3 layers"),
        (Injection(kv={0: (torch.zeros(2, 1, 8),) * 2}), "a prefix of 2 heads of 8.*4 heads of 8"),
        (Injection(inputs=InputChange(torch.zeros(3, 8, 8))), r"pixels \(3, 8, 8\).*\(3, 24, 24\)"),
        (Injection(offsets=torch.zeros(2, WIDTH)), "offsets of a text's tokens"),
    ],
)
def test_what_does_not_fit_is_refused(injection, told):
    with pytest.raises(CuetuneError, match=told):
        image_backbone().check(injection)


def test_a_model_that_would_answer_otherwise_is_refused():
    """BEiT adds a bias by distance that our attention is not handed."""
    common = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 64}
    common |= {"image_size": SIDE, "patch_size": PATCH}
    model = BeitModel(BeitConfig(**common, use_relative_position_bias=True))
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    with pytest.raises(CuetuneError, match="'beit' do not take injections.*--model dinov2-small"):
        ImageBackbone(model, PREPARED, "tiny-beit")


def test_poolings():
    with pytest.raises(CuetuneError, match="no first state"):
        image_backbone("ijepa").hidden(pixels(), pooling="first")
    with pytest.raises(CuetuneError, match="unknown pooling 'last'"):
        image_backbone().hidden(pixels(), pooling="last")
    assert image_backbone("ijepa").pooling == "mean"

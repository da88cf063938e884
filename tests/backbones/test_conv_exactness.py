"""Convolutional networks: wrapped they answer as transformers' own, and prompts in pixels are all that they take."""

import copy

import pytest
import torch
from transformers import (
    AutoConfig,
    BertConfig,
    ConvNextConfig,
    PerceiverConfig,
    SwiftFormerConfig,
    SwiftFormerForImageClassification,
    SwinConfig,
    ViTConfig,
)

from cuetune.backbones.batches import ImageBatch
from cuetune.backbones.compat import vision as compat_vision
from cuetune.backbones.conv import ConvBackbone
from cuetune.backbones.injection import Injection
from cuetune.backbones.inputs import InputChange
from cuetune.backbones.preprocessing import Preprocessing
from cuetune.errors import CuetuneError
from cuetune.methods.adaptation import fine_tuning
from cuetune.prompts.pixels import FramePrompt
from cuetune.readouts.class_mapping import ClassMapping
from tiny_conv import FAMILIES, PREPARED, SIDE, conv_backbone, conv_model, pixels

families = pytest.mark.parametrize("family", FAMILIES)
TOLERANCE = 2e-5


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def change(*rows: int, window=None, seed: int = 0) -> Injection:
    return Injection(inputs=InputChange(drawn(*rows, 3, SIDE, SIDE, seed=seed), window))


@families
@torch.no_grad()
def test_wrapping_changes_nothing_and_the_feature_is_what_the_classifier_reads(family):
    batch, frozen, plain = pixels(), conv_backbone(family), conv_model(family)
    width, classes = FAMILIES[family]
    part = plain.base_model if classes else plain
    wanted = part(pixel_values=batch).pooler_output.flatten(1)
    assert wanted.shape == (3, width)
    assert wanted.std(0).mean() > 1e-3  # or nothing below would say anything
    assert error(frozen.hidden(batch), wanted) < TOLERANCE
    assert error(frozen.features(batch), wanted) < TOLERANCE
    assert error(frozen.pooled(frozen.states(batch)), wanted) < TOLERANCE
    if classes:
        assert error(frozen.model(pixel_values=batch).logits, plain(pixel_values=batch).logits) < TOLERANCE
    assert (frozen.width, frozen.state_width, frozen.identity.hidden_size) == (width,) * 3
    assert (frozen.kind, frozen.n_states, frozen.pooling) == ("image", 1, "mean")


@families
@torch.no_grad()
def test_a_batch_equals_its_rows_and_a_mixed_batch_each_prompt_alone(family):
    frozen, batch = conv_backbone(family), pixels(4)
    prompts = [Injection(), change(), change(window=(4, 4, 24, 24), seed=1), change(4, seed=2)]
    mixed = frozen.hidden_mixed([(ImageBatch(batch), prompt) for prompt in prompts])
    for prompt, ours in zip(prompts, mixed, strict=True):
        rows = [prompt.of_rows(torch.tensor([n])) for n in range(4)]
        alone = torch.cat([frozen.hidden(batch[n : n + 1], row) for n, row in enumerate(rows)])
        assert error(ours, alone) < TOLERANCE
    assert error(mixed[1], mixed[0]) > 1e-3
    assert torch.equal(mixed[1], frozen.hidden(batch + prompts[1].inputs.added))
    assert error(frozen.hidden(batch, frozen.compile(prompts[2])), mixed[2]) < TOLERANCE


@families
def test_gradients_reach_a_prompt_and_nothing_else(family):
    frozen = conv_backbone(family)
    before = {name: value.clone() for name, value in frozen.model.state_dict().items()}
    prompt = FramePrompt.begin(frozen.pixel_shape, 4)
    frozen.hidden(pixels(), prompt.injection()).pow(2).sum().backward()
    assert all(side.grad.abs().max() > 0 for side in prompt.parameters())
    assert not any(parameter.requires_grad for parameter in frozen.model.parameters())
    assert not any(module.training for module in frozen.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in frozen.model.state_dict().items())


def test_a_frame_has_the_papers_69840_numbers():
    large = ConvBackbone(conv_model("resnet"), Preprocessing((224, 224)), "tiny")
    assert FramePrompt.begin(large.pixel_shape).n_trained == 69_840


@torch.no_grad()
def test_classes_stand_for_labels_through_the_model_s_own_head():
    frozen, batch, plain = conv_backbone("mobilenet_v2"), pixels(4), conv_model("mobilenet_v2")
    assert frozen.classes == ("cat", "dog", "cow")
    said = change(seed=3)
    wanted = plain(pixel_values=batch + said.inputs.added).logits
    assert error(frozen.class_logits(batch, said), wanted) < TOLERANCE
    mapping = ClassMapping.by_frequency(wanted.argmax(-1), torch.tensor([0, 1, 0, 1]), 3, 2)
    assert mapping.scores(frozen.class_logits(batch)).shape == (4, 2)
    with pytest.raises(CuetuneError, match="tiny-regnet has no classes of its own"):
        conv_backbone("regnet").class_logits(batch)


def test_what_is_no_change_of_pixels_is_refused_in_one_line():
    frozen = conv_backbone()
    for each in (Injection(tokens={0: drawn(2, 16)}), Injection(kv={0: (drawn(2, 3, 4), drawn(2, 3, 4))})):
        with pytest.raises(CuetuneError, match=r"tiny-resnet is a convolutional .* in pixels \(frame, patch\)\.$"):
            frozen.check(each)
    with pytest.raises(CuetuneError, match=r"a change of pixels \(3, 8, 8\), but tiny-resnet takes \(3, 32, 32\)"):
        frozen.check(Injection(inputs=InputChange(drawn(3, 8, 8))))
    with pytest.raises(CuetuneError, match="layer 1: of the convolutional network tiny-resnet the pooled feature"):
        frozen.hidden(pixels(), layer=1)
    with pytest.raises(CuetuneError, match="no first state"):
        frozen.hidden(pixels(), pooling="first")
    with pytest.raises(CuetuneError, match="runs as a whole"):
        frozen.states_at(0, ImageBatch(pixels()))


def test_models_without_a_pooled_feature_are_refused():
    sizes = {"depths": [1, 1, 1, 1], "embed_dims": [8, 8, 16, 16]}
    model = SwiftFormerForImageClassification(SwiftFormerConfig(**sizes))
    with pytest.raises(CuetuneError, match="'swiftformer' cannot be read of images of 32 x 32 .*no pooled feature"):
        ConvBackbone(model, PREPARED, "swift")


def test_convolutional_models_are_told_from_others_by_their_configuration():
    assert all(compat_vision.is_convolutional(conv_model(family).config) for family in FAMILIES)
    assert all(compat_vision.is_vision(AutoConfig.for_model(kind)) for kind in ("resnet", "convnext", "vit"))
    others = (ViTConfig(), SwinConfig(), BertConfig(), PerceiverConfig(), AutoConfig.for_model("whisper"))
    assert not any(compat_vision.is_convolutional(config) for config in others)
    assert not compat_vision.is_vision(BertConfig())
    assert compat_vision.is_convolutional(ConvNextConfig())  # which has patches and a size, as transformers have


def test_who_a_model_is_depends_on_its_weights_and_statistics_and_not_on_its_dtype():
    own = conv_backbone().identity
    again = ConvBackbone(conv_model("resnet").to(torch.bfloat16), PREPARED, "tiny-resnet")
    assert again.dtype == torch.bfloat16
    assert again.hidden(pixels()).dtype == torch.bfloat16
    other = conv_model("resnet")
    next(m for m in other.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_mean += 1
    assert ConvBackbone(other, PREPARED, "tiny-resnet").identity.weights_hash != own.weights_hash
    assert ConvBackbone(conv_model("resnet"), PREPARED, "tiny-resnet").identity == own
    with pytest.raises(CuetuneError, match="made for tiny-resnet of width 16, but tiny-mobilenet_v1 has width 256"):
        own.check(conv_backbone("mobilenet_v1").identity, "prompt")


def test_fine_tuning_changes_a_copy():
    frozen = conv_backbone()
    before = copy.deepcopy(frozen.model.state_dict())
    own, weights = fine_tuning(frozen)
    own.hidden(pixels(), weights.injection()).sum().backward()
    assert any(master.grad is not None for master in weights.masters)
    assert not any(module.training for module in own.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in frozen.model.state_dict().items())

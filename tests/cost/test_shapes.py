"""Shapes: published parameter counts, scaling to any size, and configurations of real model families."""

import pytest
from transformers import MixtralConfig, T5Config

import tiny
from cuetune.cost.shapes import PUBLISHED, scaled, shape_of_config, shape_of_size
from cuetune.errors import CuetuneError

# Parameters as the authors state them, in millions.
STATED = {
    "135M": 134.5,
    "360M": 361.8,
    "1B": 1236,
    "2B": 2506,
    "3B": 3213,
    "7B": 7242,
    "8B": 8030,
    "70B": 70554,
    "405B": 405_850,
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_shapes_have_the_stated_parameters(size):
    assert shape_of_size(size).parameters / 1e6 == pytest.approx(STATED[size], rel=0.002)


@pytest.mark.parametrize("wanted", [1e6, 3e7, 5e8, 1.3e9, 4e9, 1.3e10, 3e10, 1.8e11, 1e12, 1e13])
def test_scaled_shapes_have_the_wanted_parameters(wanted):
    shape = scaled(wanted)
    assert shape.parameters == pytest.approx(wanted, rel=0.02)
    assert min(shape.layers, shape.width, shape.ffn, shape.kv_heads) >= 1
    assert shape.heads % shape.kv_heads == 0
    assert "scaled from" in shape.source


def test_deeper_and_wider_with_size():
    small, large = scaled(2e10), scaled(6e10)
    assert small.parameters < large.parameters
    assert (small.width, small.matrices) < (large.width, large.matrices)


@pytest.mark.parametrize(("text", "parameters"), [("13b", 13e9), ("1.3e9", 1.3e9), ("350M", 350e6), (" 2T ", 2e12)])
def test_sizes_as_people_write_them(text, parameters):
    assert shape_of_size(text).parameters == pytest.approx(parameters, rel=0.02)


@pytest.mark.parametrize("text", ["", "big", "-2B", "2BB", "12", "1e300", "nan", "inf", "2,000"])
def test_what_is_no_size_is_one_line(text):
    with pytest.raises(CuetuneError, match="--params"):
        shape_of_size(text)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt", "mistral", "gemma3"])
def test_matrices_of_a_configuration_are_those_of_the_model(family):
    backbone = tiny.backbone(family)
    shape = shape_of_config(backbone.config, family)
    tables = {id(backbone.model.get_input_embeddings().weight), id(backbone.model.get_output_embeddings().weight)}
    matrices = sum(
        parameter.numel()
        for name, parameter in backbone.model.named_parameters()
        if parameter.dim() == 2 and id(parameter) not in tables and "wpe" not in name and "positions" not in name
    )
    assert shape.layers * shape.matrices == matrices
    assert shape.vocab * shape.width == backbone.embedding_table().numel()


@pytest.mark.parametrize(
    ("config", "named"), [(MixtralConfig(num_local_experts=8), "8 experts"), (T5Config(), "an encoder with a decoder")]
)
def test_models_that_are_no_plain_decoder_are_named(config, named):
    with pytest.raises(CuetuneError, match=named):
        shape_of_config(config, "other")


def test_a_configuration_without_a_decoder_is_named():
    class Image:
        def get_text_config(self):
            return self

    with pytest.raises(CuetuneError, match="describes no decoder"):
        shape_of_config(Image(), "vision")

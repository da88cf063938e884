"""Convolutional networks through every verb: prompts in pixels are tuned on them, all others are one line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import cuetune as package
from cuetune.prompts.pixels import SIDES as EDGES
from cuetune.prompts.pixels import FramePrompt
from cuetune.prompts.start_image import IMAGE_METHODS
from tiny_conv import SIDE, conv_backbone, conv_model

FEW = ("--steps", "6", "--evaluate-every", "3", "--batch-size", "4", "--dtype", "float32")


def folder_of(family, folder, side=SIDE):
    conv_model(family).save_pretrained(folder)
    prepared = {"image_processor_type": "ViTImageProcessor", "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny ResNet of 32 x 32 pixels, as it lies on a user's disk."""
    return folder_of("resnet", tmp_path_factory.mktemp("models") / "tiny-resnet")


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Noise with stripes that lie or stand, a folder of twelve for each."""
    folder, draw = tmp_path_factory.mktemp("data") / "stripes", np.random.default_rng(0)
    for label in ("lying", "standing"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            noise = draw.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
            noise[::4] += 150
            turned = noise if label == "lying" else noise.transpose(1, 0, 2)
            Image.fromarray(turned.copy()).save(folder / label / f"{number}.png")
    return folder


def refused(cuetune, *words):
    """The one line that a command ends with."""
    code, _, err = cuetune(*words)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, len(lines)) == (2, 1), err
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize("prompt", ["frame", "patch"])
def test_tune_show_predict_evaluate(cuetune, stripes, model, tmp_path, prompt):
    saved, chosen = tmp_path / "prompt", () if prompt == "frame" else ("--prompt", prompt)
    code, out, err = cuetune("tune", stripes, "--to", saved, "--model", model, *FEW, *chosen)
    assert code == 0, err
    assert "linear probe" in out
    record = json.loads(cuetune("show", saved, "--json")[1])
    assert (record["backbone"]["kind"], record["backbone"]["model_type"]) == ("image", "resnet")
    numbers = 2 * 3 * 4 * (SIDE + SIDE - 8) if prompt == "frame" else 3 * 7 * 7  # 4 and 7 of 32 as 30 and 50 of 224
    assert record["record"]["cost"]["trained_parameters"] == numbers + 2 * (16 + 1)
    assert "a head on the mean" in cuetune("show", saved)[1]
    code, out, err = cuetune("predict", saved, stripes, "--to", tmp_path / "out.csv", "--model", model)
    assert "24 answers in" in out, err
    code, out, err = cuetune("evaluate", saved, stripes, "--demonstrations", stripes, "--model", model, "--json")
    methods = json.loads(out)["methods"]
    assert set(methods) == {"tuned", "linear probe"}, err
    other = folder_of("mobilenet_v1", tmp_path / "other")
    line = refused(cuetune, "predict", saved, stripes, "--to", tmp_path / "no.csv", "--model", other)
    assert "made for tiny-resnet of width 16, but other has width 256" in line
    line = refused(cuetune, "predict", saved, stripes, "--to", tmp_path / "no.csv", "--model", f"{model}@40")
    assert "preprocessing" in line


def test_a_frame_learns_in_the_one_loop_and_no_statistic_moves(stripes, tmp_path):
    for name in ("resnet", "convnextv2"):
        backbone = conv_backbone(name)
        before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
        settings = package.Settings(steps=40, evaluate_every=10, batch_size=8, head_init="random", learning_rate=0.05)
        made = package.tune(stripes, tmp_path / name, model=backbone, settings=settings, reporters=[],
                            log=lambda line: None)  # fmt: skip
        assert made.record["scores"]["tuned"]["accuracy"]["value"] == 1.0
        start = FramePrompt.begin(backbone.pixel_shape, 4)
        moved = [(made.prompt.sides[side] - start.sides[side]).abs().mean() for side in EDGES]
        assert min(moved) > 0.05  # every side of it
        assert all(torch.equal(value, before[key]) for key, value in backbone.model.state_dict().items())
        again = package.load(tmp_path / name)
        rows = [{"image": str(path), "label": ""} for path in sorted(stripes.rglob("*.png"))[::5]]
        ours, theirs = (list(package.predict(each, rows, model=backbone)) for each in (made, again))
        alone = [next(package.predict(again, [row], model=backbone)) for row in rows]
        for first, second, single in zip(ours, theirs, alone, strict=True):
            assert first.probabilities == second.probabilities
            assert first.probabilities == pytest.approx(single.probabilities, abs=1e-4)


@pytest.mark.parametrize("prompt", [name for name in IMAGE_METHODS if name not in ("frame", "patch")])
def test_prompts_that_add_states_are_refused_before_a_run_begins(cuetune, stripes, model, tmp_path, prompt):
    line = refused(cuetune, "tune", stripes, "--to", tmp_path / "p", "--model", model, "--prompt", prompt)
    assert line == (
        "error: tiny-resnet is a convolutional network, which takes prompts in pixels alone; choose --prompt frame or "
        "patch."
    )
    assert not list(tmp_path.iterdir())
    line = refused(cuetune, "compare", stripes, "--to", tmp_path / "c", "--model", model, "--methods", prompt)
    assert line == f"error: {prompt}: tiny-resnet does not take it; of prompts it takes frame, patch."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--head-layer", "2"), "layer 2: of the convolutional network tiny-resnet the pooled feature alone is read"),
        (("--pooling", "first"), "tiny-resnet has no first state"),
        (("--prompt", "soft"), "unknown prompt 'soft' for images"),
        (("--prompt-option", "width=16"), "a frame of 16 pixels leaves nothing of 32 x 32"),
        (("--gradient-checkpointing",), "--gradient-checkpointing: models of type 'resnet' have no equal layers"),
    ],
)
def test_options_that_convolutional_networks_have_no_use_for(cuetune, stripes, tmp_path, model, words, told):
    assert told in refused(cuetune, "tune", stripes, "--to", tmp_path / "p", "--model", model, *FEW, *words)


def test_compare_takes_what_the_model_takes(cuetune, stripes, tmp_path, model):
    given = ("--sizes", "8", "--seeds", "1", "--steps", "2", "--no-search", "--model", model)
    for methods, wanted in (((), {"frame"}), (("--methods", "all"), {"frame", "patch"})):
        to = tmp_path / str(len(methods))
        code, _, err = cuetune("compare", stripes, "--to", to, *given, *methods)
        assert code == 0, err
        rows = {row["method"]: row for row in json.loads((to / "results.json").read_text())["rows"]}
        assert set(rows) == {"linear-probe", "fine-tuning"} | wanted


def test_check_and_sizes_of_pictures(cuetune, stripes, tmp_path, model):
    code, out, err = cuetune("check", stripes, "--model", model)
    assert code == 0, out + err
    frozen = package.load_backbone(f"{model}@48", dtype="float32")
    assert (frozen.identity.name, frozen.pixel_shape) == ("tiny-resnet@48", (3, 48, 48))
    wanted = conv_model("resnet").base_model(pixel_values=torch.ones(1, 3, 48, 48)).pooler_output.flatten(1)
    torch.testing.assert_close(frozen.hidden(torch.ones(1, 3, 48, 48)), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(package.CuetuneError, match="videos are seen by vision transformers, and tiny-resnet@32"):
        package.load_backbone(f"{model}@2x32")

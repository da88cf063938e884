"""Videos through every verb: the whole way on tiny models, and bad input as one line that leaves things whole."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

import cuetune as package
from cuetune.errors import CuetuneError
from tiny_video import FRAMES, film, frames_backbone, tubes_backbone, tubes_model
from tiny_vision import vision_model

pytest.importorskip("av")
FEW = ("--steps", "6", "--evaluate-every", "3", "--batch-size", "4", "--length", "3", "--dtype", "float32")
SETTINGS = {"steps": 6, "evaluate_every": 3, "batch_size": 4, "length": 3}
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models as they lie on a user's disk, by the name that is given: over frames, and over tubes."""
    folder = tmp_path_factory.mktemp("models")
    vision_model("vit").save_pretrained(folder / "tiny-vit")
    tubes_model().save_pretrained(folder / "tiny-videomae")
    for each in ("tiny-vit", "tiny-videomae"):
        (folder / each / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return {"frames": f"{folder / 'tiny-vit'}@{FRAMES}x24", "tubes": str(folder / "tiny-videomae")}


def fading(upwards: bool, seed: int, length: int = 8) -> np.ndarray:
    """Noise that grows lighter, or darker."""
    noise = np.random.default_rng(seed).integers(0, 60, (length, 32, 32, 3))
    light = np.linspace(0, 180, length)[:, None, None, None]
    return (noise + (light if upwards else light[::-1])).astype(np.uint8)


@pytest.fixture(scope="module")
def fades(tmp_path_factory):
    """Videos that fade in or out, a folder of ten for each: the same frames, in another order."""
    folder = tmp_path_factory.mktemp("data") / "fades"
    for label in ("in", "out"):
        (folder / label).mkdir(parents=True)
        for number in range(10):
            film(folder / label / f"{number}.mp4", fading(label == "in", number))
    return folder


@pytest.mark.parametrize("kind", ["frames", "tubes"])
def test_tune_show_predict_evaluate(cuetune, fades, models, tmp_path, kind):
    prompt = tmp_path / "prompt"
    chosen = () if kind == "frames" else ("--prompt", "vpt")
    code, out, err = cuetune("tune", fades, "--to", prompt, "--model", models[kind], *chosen, *FEW)
    assert code == 0, err
    assert "linear probe" in out
    record = json.loads(cuetune("show", prompt, "--json")[1])
    assert record["backbone"]["kind"] == "video"
    assert record["backbone"]["name"] == {"frames": f"tiny-vit@{FRAMES}x24", "tubes": "tiny-videomae"}[kind]
    assert record["kind"] == {"frames": "temporal", "tubes": "late"}[kind]
    code, out, err = cuetune("predict", prompt, fades, "--to", tmp_path / "out.csv", "--model", models[kind])
    assert code == 0, err
    answers = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(answers) == 20
    assert all(abs(float(each["p(in)"]) + float(each["p(out)"]) - 1) < 1e-5 for each in answers)
    given = ("evaluate", prompt, fades, "--model", models[kind], "--json", "--demonstrations", fades)
    code, out, err = cuetune(*given)
    assert set(json.loads(out)["methods"]) == {"tuned", "linear probe"}, err


def tuned(fades, to, prompt="temporal", backbone=frames_backbone, **more):
    settings = package.Settings(**{**SETTINGS, **more})
    said = []
    made = package.tune(
        fades, to, model=backbone(), prompt=prompt, settings=settings, reporters=[], log=said.append, overwrite=True
    )
    return made, said


def test_order_is_learned_where_every_frame_is_also_in_the_other_class(fades, tmp_path):
    made, _ = tuned(fades, tmp_path / "prompt", steps=40)
    answers = list(package.predict(made, fades, model=frames_backbone()))
    right = [answer.label == answer.where.split("/")[0] for answer in answers]
    assert sum(right) >= 19


@pytest.mark.parametrize(
    ("prompt", "backbone"),
    [("temporal", frames_backbone), ("vpt", tubes_backbone), ("prefix", tubes_backbone), ("prefix", frames_backbone)],
)
def test_saved_is_in_memory_and_a_batch_is_its_clips_one_by_one(fades, tmp_path, prompt, backbone):
    made, _ = tuned(fades, tmp_path / "prompt", prompt, backbone)
    again = package.load(tmp_path / "prompt")
    rows = [{"video": str(path), "label": ""} for path in sorted(fades.rglob("*.mp4"))[::7]]
    ours, theirs = (list(package.predict(each, rows, model=backbone())) for each in (made, again))
    alone = [next(package.predict(again, [row], model=backbone())) for row in rows]
    for first, second, single in zip(ours, theirs, alone, strict=True):
        assert first.probabilities == second.probabilities
        assert first.probabilities == pytest.approx(single.probabilities, abs=1e-5)


def test_frames_below_a_late_prompt_are_computed_once(fades, tmp_path, monkeypatch):
    made, _ = tuned(fades, tmp_path / "late", prompt_options={"layer": 1})
    monkeypatch.setattr(frames_backbone(), "keeps_states", False)
    plain, _ = tuned(fades, tmp_path / "plain", prompt_options={"layer": 1})
    assert made.prompt.own.allclose(plain.prompt.own, atol=1e-4)


def test_a_clip_with_too_few_frames_has_some_taken_again_and_that_is_said(cuetune, fades, models, tmp_path):
    short = film(tmp_path / "short.mp4", fading(True, 99, length=2))
    made, _ = tuned(fades, tmp_path / "prompt")
    (answer,) = package.predict(made, [{"video": str(short)}], model=frames_backbone())
    assert answer.cut == FRAMES - 2
    (tmp_path / "rows.csv").write_text(f"video,label\n{short},in\n")
    said = ("--to", tmp_path / "out.csv", "--model", models["frames"])
    code, out, err = cuetune("predict", tmp_path / "prompt", tmp_path / "rows.csv", *said)
    assert code == 0, err
    assert "1 videos have fewer frames than the model sees" in out


def test_check_and_compare(cuetune, fades, models, tmp_path):
    code, out, err = cuetune("check", fades, "--model", models["frames"])
    assert code == 0, out + err
    assert "8 frames of 32 x 32 pixels" in out
    assert "sees frames 1, 3, 6, 8 in 24 x 24" in out
    given = ("--methods", "linear-probe,temporal", "--seeds", 1, "--steps", 4, "--sizes", 8, "--no-search")
    code, out, err = cuetune(
        "compare", fades, "--to", tmp_path / "table", "--model", models["frames"], "--dtype", "float32", *given
    )
    assert code == 0, err
    assert "temporal" in out


def test_gifs_are_clips_where_that_is_asked(cuetune, fades, models, tmp_path):
    for label in ("in", "out"):
        (tmp_path / "gifs" / label).mkdir(parents=True)
        for number in range(6):
            film(tmp_path / "gifs" / label / f"{number}.gif", fading(label == "in", number), codec="gif")
    code, out, err = cuetune("tune", tmp_path / "gifs", "--to", tmp_path / "p", "--model", models["frames"], *FEW)
    assert code == 0, err
    assert json.loads((tmp_path / "p" / "cuetune.json").read_text())["task"]["template"] == "{video}"


def test_bad_input_is_one_line_and_skipped_only_when_asked(cuetune, fades, models, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(fades, broken)
    whole = (fades / "in" / "0.mp4").read_bytes()
    (broken / "in" / "0.mp4").write_bytes(whole[: len(whole) // 2])
    given = ("tune", broken, "--to", tmp_path / "p", "--model", models["frames"], *FEW)
    code, _, err = cuetune(*given)
    assert code == 2
    assert err.count("\n") == 1
    assert "in/0.mp4" in err
    assert not (tmp_path / "p").exists()
    code, out, err = cuetune(*given, "--skip-unreadable")
    assert code == 0, err
    assert "1 row left out" in out
    code, out, _ = cuetune("check", broken, "--model", models["frames"])
    assert code == 1
    assert "rows whose video cannot be read" in out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--model", "dinov2-small"),
            "rows are videos, and dinov2-small reads images.*--model dinov2-small@8x98",
        ),
        (("--template", "Video: {video}"), "no column|videos"),
        (("--instruction", "Look"), "--instruction is for texts"),
        (("--prompt", "soft"), "unknown prompt 'soft' for videos"),
        (("--prompt", "temporal", "--prompt-option", "own=0"), "1 virtual token of its own or more"),
    ],
)
def test_what_does_not_fit_is_one_line(cuetune, fades, models, tmp_path, options, told):
    model = () if "--model" in options else ("--model", models["frames"])
    code, _, err = cuetune("tune", fades, "--to", tmp_path / "p", *model, *options, *FEW)
    assert code == 2
    assert err.count("\n") == 1
    assert re.search(told, err), err


def test_a_temporal_prompt_is_for_frames_alone(fades, tmp_path):
    with pytest.raises(CuetuneError, match="sees all frames at once; choose --prompt vpt"):
        tuned(fades, tmp_path / "p", "temporal", tubes_backbone)

"""Images through every verb: the whole way on a tiny model, and bad input as one line that leaves things whole."""

import csv
import json

import datasets
import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

import cuetune as package
from cuetune.library.tuned import TunedPrompt
from cuetune.tuning.progress import JsonLog
from tiny import write_csv
from tiny_vision import dark_and_light, image_backbone, picture, png, vision_model

FEW = ("--steps", "6", "--evaluate-every", "3", "--batch-size", "4", "--length", "3", "--dtype", "float32")
SETTINGS = {"steps": 6, "evaluate_every": 3, "batch_size": 4, "length": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny model of 24 x 24 pixels, as it lies on a user's disk."""
    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    vision_model("vit").save_pretrained(folder)
    prepared = {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """Noise that is dark or light, a folder of twelve for each."""
    return dark_and_light(tmp_path_factory.mktemp("data") / "shades", 12)


def tuned(data, to, prompt="vpt", **more):
    """A prompt tuned in this process on the shared tiny backbone."""
    quiet = {"reporters": [], "log": lambda line: None, **{k: more.pop(k) for k in ("reporters",) if k in more}}
    settings = package.Settings(**{**SETTINGS, **more})
    return package.tune(data, to, model=image_backbone(), prompt=prompt, settings=settings, **quiet)


def test_tune_show_predict_evaluate(cuetune, shades, model, tmp_path):
    prompt = tmp_path / "prompt"
    code, out, err = cuetune("tune", shades, "--to", prompt, "--model", model, *FEW)
    assert code == 0, err
    assert "linear probe" in out
    assert (prompt / "head.safetensors").exists()
    assert not (prompt / "adapter_config.json").exists()  # PEFT has no form for it
    code, out, _ = cuetune("show", prompt, "--json")
    record = json.loads(out)
    assert record["backbone"]["kind"] == "image"
    assert record["record"]["cost"]["trained_parameters"] == 3 * 3 * 32 + 2 * 33
    assert record["record"]["settings"]["init"] == ""
    code, out, _ = cuetune("show", prompt)
    assert "a head on the first state included" in out
    code, out, err = cuetune("predict", prompt, shades, "--to", tmp_path / "out.csv", "--model", model)
    assert code == 0, err
    answers = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [answer["image"].split("/")[-2] for answer in answers] == ["dark"] * 12 + ["light"] * 12
    assert all(abs(float(a["p(dark)"]) + float(a["p(light)"]) - 1) < 1e-5 for a in answers)
    given = ("evaluate", prompt, shades, "--model", model, "--json")
    assert set(json.loads(cuetune(*given)[1])["methods"]) == {"tuned"}
    code, out, err = cuetune(*given, "--demonstrations", shades)
    assert set(json.loads(out)["methods"]) == {"tuned", "linear probe"}, err


def test_loose_pictures_and_paths_on_the_command_line(cuetune, shades, model, tmp_path):
    tuned(shades, tmp_path / "prompt")
    one = next((shades / "light").glob("*.png"))
    said = ("predict", tmp_path / "prompt", "--model", model)
    code, out, err = cuetune(*said, "--input", one)
    assert code == 0, err
    assert one.name in out
    code, out, err = cuetune(*said, shades / "light", "--to", tmp_path / "out.csv")
    assert "12 answers in" in out, err


@pytest.mark.parametrize(
    ("prompt", "options"),
    [("vpt", {}), ("vpt-shallow", {}), ("prefix", {"head_layer": 2}), ("frame", {"prompt_options": {"width": 3}})],
)
def test_saved_is_in_memory_and_a_batch_is_its_rows_one_by_one(shades, tmp_path, prompt, options):
    made = tuned(shades, tmp_path / "prompt", prompt, **options)
    again = package.load(tmp_path / "prompt")
    rows = [{"image": str(path), "label": ""} for path in sorted(shades.rglob("*.png"))[::5]]
    ours, theirs = (list(package.predict(each, rows, model=image_backbone())) for each in (made, again))
    alone = [next(package.predict(again, [row], model=image_backbone())) for row in rows]
    for first, second, single in zip(ours, theirs, alone, strict=True):
        assert first.probabilities == second.probabilities
        assert first.probabilities == pytest.approx(single.probabilities, abs=1e-5)
    assert again.head.layer == options.get("head_layer")
    assert again.record["settings"]["length"] == (0 if prompt == "frame" else 3)


class Stop(JsonLog):
    """Ctrl-C behind a step."""

    def __init__(self, step):
        self.wanted = step

    def start(self, total, done):
        pass

    def step(self, step, values):
        if step == self.wanted:
            raise KeyboardInterrupt

    def validation(self, step, scores, best):
        pass

    def stop(self):
        pass


def test_a_run_that_was_stopped_ends_in_the_same_bits(shades, tmp_path):
    tuned(shades, tmp_path / "whole", steps=12)
    stopped = tuned(shades, tmp_path / "stopped", steps=12, reporters=[Stop(11)])
    assert stopped.record["stopped"] == "interrupted"
    settings = package.Settings(**{**SETTINGS, "steps": 12})
    package.tune(
        shades, tmp_path / "stopped", model=image_backbone(), settings=settings, overwrite=True, reporters=[],
        log=lambda line: None,
    )  # fmt: skip
    for name in ("prompt.safetensors", "head.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_same_pictures_in_every_form_are_the_same_data(shades, tmp_path):
    paths = sorted(shades.rglob("*.png"))
    rows = [{"image": str(path.relative_to(shades.parent)), "label": path.parent.name} for path in paths]
    with (shades.parent / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["image", "label"])
        writer.writeheader()
        writer.writerows(rows)
    (shades.parent / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    held = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.parent.name} for path in paths]
    parquet.write_table(pyarrow.Table.from_pylist(held), tmp_path / "rows.parquet")
    columns = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    sources = [shades, shades.parent / "rows.csv", shades.parent / "rows.jsonl", tmp_path / "rows.parquet"]
    sources.append(datasets.Dataset.from_list(held, features=columns))
    made = [tuned(source, tmp_path / f"prompt{number}", steps=1) for number, source in enumerate(sources)]
    assert len({each.record["data"]["fingerprint"] for each in made}) == 1
    assert {each.task.modality for each in made} == {"image"}


def broken(folder):
    """Files that are no images, with what is told of each."""
    good = png(picture())
    files = {
        "cut.png": (good[: len(good) // 2], "a broken image"),
        "empty.png": (b"", "the file is empty"),
        "huge.png": (png(Image.new("1", (20_000, 6_000))), "20,000 x 6,000 pixels; at most 100 million"),
        "one.png": (png(Image.new("RGB", (1, 1))), "1 x 1 pixels is too small"),
        "text.png": (b"no image", "not an image that Pillow can read"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    return {name: told for name, (_, told) in files.items()}


def table(folder, names):
    """A CSV file beside the images: good ones of two labels, then these."""
    for number in range(12):
        picture(("red", "blue")[number % 2], size=(20 + number, 30)).save(folder / f"{number}.jpg")
    lines = [f"{number}.jpg,{('a', 'b')[number % 2]}" for number in range(12)] + [f"{name},a" for name in names]
    (folder / "rows.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    return folder / "rows.csv"


def refused(cuetune, *words):
    """The one line that a command ends with."""
    code, _, err = cuetune(*words)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, len(lines)) == (2, 1), err
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize("name", ["cut.png", "empty.png", "huge.png", "one.png", "text.png", "missing.png"])
def test_a_broken_picture_is_one_line_that_names_row_and_file(cuetune, tmp_path, model, name):
    told = {**broken(tmp_path), "missing.png": "no such file"}[name]
    data = table(tmp_path, [name])
    for words in (("tune", data, "--to", tmp_path / "p"), ("compare", data, "--to", tmp_path / "c")):
        line = refused(cuetune, *words, "--model", model)
        assert line.startswith(f"error: rows.csv, row 13: {tmp_path / name}: ")
        assert told in line
    assert not (tmp_path / "p").exists()


def test_broken_pictures_are_left_out_and_counted_on_request(cuetune, tmp_path, model):
    data = table(tmp_path, broken(tmp_path))
    code, out, err = cuetune("tune", data, "--to", tmp_path / "p", "--model", model, *FEW, "--skip-unreadable")
    assert code == 0, err
    assert "5 rows left out:" in out
    assert "rows.csv, row 13" in out
    assert refused(cuetune, "predict", tmp_path / "p", data, "--to", tmp_path / "o.csv", "--model", model)
    assert not (tmp_path / "o.csv").exists()
    given = ("predict", tmp_path / "p", data, "--to", tmp_path / "o.csv", "--model", model, "--skip-unreadable")
    code, out, err = cuetune(*given)
    assert "12 answers in" in out, err
    assert "5 rows left out:" in out
    answered = [row["image"].rsplit("/", 1)[-1] for row in csv.DictReader((tmp_path / "o.csv").open())]
    assert answered == [f"{number}.jpg" for number in range(12)]
    code, out, err = cuetune("evaluate", tmp_path / "p", data, "--model", model, "--skip-unreadable")
    assert "12 held-out rows" in out, err


def test_pictures_in_other_colours_than_rgb_are_read(cuetune, tmp_path, model):
    data = table(tmp_path, ["cmyk.jpg", "grey.png", "palette.gif"])
    picture(mode="CMYK").save(tmp_path / "cmyk.jpg")
    picture(mode="L").save(tmp_path / "grey.png")
    picture(mode="P").save(tmp_path / "palette.gif")
    code, _, err = cuetune("tune", data, "--to", tmp_path / "p", "--model", model, *FEW)
    assert code == 0, err


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda folder: picture().save(folder / "1.png"), "1 images, but no folders"),
        (lambda folder: (folder / "rows.csv").write_text("image,label\n1.png,a\nfun,b\n"), "'fun' is none of the"),
        (lambda folder: (folder / "rows.csv").write_text("image,label\n1.png,a\nx.wav,b\n"), "'x.wav' is none of the"),
    ],
)
def test_data_that_are_no_pictures_of_classes(cuetune, tmp_path, model, made, told):
    folder = tmp_path / "data"
    folder.mkdir()
    made(folder)
    source = folder / "rows.csv" if (folder / "rows.csv").exists() else folder
    assert told in refused(cuetune, "tune", source, "--to", tmp_path / "p", "--model", model)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--template", "{text}"), "is for texts, and these rows hold images"),
        (("--label-words", "x", "--label-words", "y"), "--label-words is for texts"),
        (("--prompt", "soft"), "unknown prompt 'soft' for images; choose one of vpt, vpt-shallow"),
        (("--prompt-option", "rank=3"), "prompt 'vpt' has no option 'rank'"),
        (("--start", "nowhere"), "a prompt for images starts from no other"),
        (("--head-layer", "3"), "layer 3: tiny-vit has layers 0 to 2"),
        (("--pooling", "last"), "--pooling last: not known here; choose one of first, mean"),
        (("--prompt", "frame", "--prompt-option", "width=30"), "a frame of 30 pixels leaves nothing of 24 x 24"),
        (("--image", "picture"), "'picture'"),
        (("--augment", "sideways"), "--augment"),
    ],
)
def test_options_that_pictures_have_no_use_for(cuetune, shades, tmp_path, model, words, told):
    assert told in refused(cuetune, "tune", shades, "--to", tmp_path / "p", "--model", model, *words)


def test_a_model_of_texts_and_pictures_do_not_meet(cuetune, shades, tmp_path, model):
    line = refused(cuetune, "tune", shades, "--to", tmp_path / "p", "--model", "smollm2-135m")
    assert "these rows are images, and smollm2-135m reads texts" in line
    texts = tmp_path / "texts.csv"
    texts.write_text("text,label\ngood,a\nbad,b\n")
    line = refused(cuetune, "tune", texts, "--to", tmp_path / "p", "--model", model)
    assert "no column of images (found: 'text', 'label')" in line
    tuned(shades, tmp_path / "p", steps=1)
    assert "made for tiny-vit" in refused(
        cuetune, "predict", tmp_path / "p", "--input", "1.png", "--model", f"{model}@32"
    )


def test_check_finds_copies_conflicts_and_broken_pictures(cuetune, tmp_path, model, shades):
    code, out, err = cuetune("check", shades, "--model", model)
    assert code == 0, out + err
    assert "24 x 24 pixels; " in out
    data = table(tmp_path, ["copy.jpg", "other.png"])
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    (tmp_path / "other.png").write_bytes(b"nothing")
    code, out, _ = cuetune("check", data, "--model", model, "--json")
    found = {each["what"]: each for each in json.loads(out)["findings"]}
    assert code == 1
    assert found["rows whose image cannot be read"]["count"] == 1
    assert found["images with different labels"]["examples"] == ["rows.csv, row 2 and rows.csv, row 13 ('b' and 'a')"]


def test_compare_puts_prompts_beside_a_probe_and_fine_tuning(cuetune, shades, tmp_path, model):
    methods = "linear-probe,vpt-shallow,prefix,fine-tuning"
    given = ("--methods", methods, "--sizes", "8", "--seeds", "1", "--steps", "2", "--no-search", "--length", "2")
    code, out, err = cuetune("compare", shades, "--to", tmp_path / "c", "--model", model, *given, "--head-layer", "2")
    assert code == 0, err
    rows = {row["method"]: row for row in json.loads((tmp_path / "c" / "results.json").read_text())["rows"]}
    assert set(rows) == set(methods.split(","))
    assert rows["vpt-shallow"]["trained"] == 2 * 32 + 2 * 33
    line = refused(cuetune, "compare", shades, "--to", tmp_path / "d", "--model", model, "--methods", "soft")
    assert "unknown method 'soft'; choose from linear-probe, vpt" in line


def test_a_probe_learns_from_changed_copies_where_prompts_see_changed_pictures(cuetune, shades, tmp_path, model):
    given = ("--methods", "linear-probe,prefix", "--sizes", "8", "--seeds", "1", "--steps", "2", "--no-search")
    flops = []
    for name, more in (("plain", ()), ("changed", ("--augment", "crop,flip"))):
        code, _, err = cuetune("compare", shades, "--to", tmp_path / name, "--model", model, *given, *more)
        assert code == 0, err
        rows = json.loads((tmp_path / name / "results.json").read_text())["rows"]
        flops.append(next(row["flops"] for row in rows if row["method"] == "linear-probe"))
    validation = 4  # a tenth of 24 rows, each label rounded up
    assert flops[1] / flops[0] == pytest.approx((5 * 8 + validation) / (8 + validation), rel=0.2)
    assert "holds a comparison with another augment" in refused(
        cuetune, "compare", shades, "--to", tmp_path / "plain", "--model", model, *given, "--augment", "flip"
    )
    texts = write_csv(tmp_path / "texts.csv", [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(40)])
    assert "--augment is for images and videos, and these rows hold texts" in refused(
        cuetune, "compare", texts, "--to", tmp_path / "t", "--sizes", "8", "--augment", "flip"
    )


def test_a_name_with_a_size_sees_smaller_pictures(shades, tmp_path, model):
    frozen = package.load_backbone(f"{model}@16", dtype="float32")
    assert frozen.identity.name == "tiny-vit@16"
    assert frozen.pixel_shape == (3, 16, 16)
    assert frozen.n_states == 1 + 4
    wanted = frozen.model.base_model(
        pixel_values=torch.zeros(1, 3, 16, 16), interpolate_pos_encoding=True
    ).last_hidden_state[:, 0]
    torch.testing.assert_close(frozen.hidden(torch.zeros(1, 3, 16, 16)), wanted)
    with pytest.raises(package.CuetuneError, match="20 pixels are no multiple of a patch of 8 x 8"):
        package.load_backbone(f"{model}@20")


def test_a_head_of_a_layer_that_is_not_there_is_refused(shades, tmp_path):
    tuned(shades, tmp_path / "p", head_layer=2, steps=1)
    path = tmp_path / "p" / "cuetune.json"
    path.write_text(path.read_text().replace('"layer": 2', '"layer": 7'))
    with pytest.raises(package.CuetuneError, match="a head on layer 7, but its backbone has 3 layers"):
        TunedPrompt.load(tmp_path / "p")


def test_the_next_line_names_the_folder_of_the_model(cuetune, tmp_path, model):
    folder = dark_and_light(tmp_path / "noise", 6)
    words = ("--model", model, "--steps", 1, "--no-baselines", "--length", 2)
    code, said, _ = cuetune("tune", folder, "--to", tmp_path / "p", *words)
    assert code == 0
    assert f"--model {model}" in said.replace("\n", "").partition("next: ")[2]


def test_fix_says_what_a_learned_stream_is(cuetune, tmp_path):
    (tmp_path / "learned").mkdir()
    (tmp_path / "learned" / "stream.safetensors").write_bytes(b"x")
    (tmp_path / "rows.csv").write_text("image,label\na.png,b\n")
    code, _, told = cuetune("fix", tmp_path / "learned", tmp_path / "rows.csv")
    assert code
    assert "was learned of a stream" in told.replace("\n", " ")

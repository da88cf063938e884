"""Several labels and numbers through every verb, on texts and images; what cannot take them says so in one line."""

import csv
import json
import random

import pytest
import torch

import cuetune as package
import tiny
from cuetune.library.tuned import TunedPrompt
from tiny_vision import picture, vision_model

FEW = ("--steps", "4", "--evaluate-every", "2", "--batch-size", "4", "--length", "3", "--dtype", "float32")
WORDS = {"good": "pos", "bad": "neg", "great": "big"}


def table(n=60, seed=0):
    """Rows whose words say which of three labels they have, and a number."""
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        said = [word for word in WORDS if draw.random() < 0.5]
        labels = [WORDS[word] for word in said]
        rows.append(
            {"text": " ".join([*said, f"x{number}"]), "labels": labels, "score": 1.25 * len(said) + number / 100}
        )
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    rows = table()
    (folder / "lists.jsonl").write_text("".join(json.dumps({**row, "score": ""}) + "\n" for row in rows))
    cells = [{"text": row["text"], "labels": ", ".join(row["labels"])} for row in rows]
    tiny.write_csv(folder / "cells.csv", cells)
    one_hot = [{"text": row["text"], **{w: str(int(w in row["labels"])) for w in WORDS.values()}} for row in rows]
    tiny.write_csv(folder / "columns.csv", one_hot)
    tiny.write_csv(folder / "scores.csv", [{"text": row["text"], "score": row["score"]} for row in rows])
    for number, row in enumerate(rows[:24]):
        picture(size=(24 + number, 24), colour="red" if "pos" in row["labels"] else "blue").save(
            folder / f"{number}.png"
        )
    images = [
        {"image": f"{n}.png", "labels": "|".join(r["labels"]), "score": r["score"]} for n, r in enumerate(rows[:24])
    ]
    tiny.write_csv(folder / "images.csv", images)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny-vit"
    vision_model("vit").save_pretrained(folder)
    prepared = {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 24}}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


def answers(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.mark.parametrize("name", ["lists.jsonl", "cells.csv", "columns.csv"])
def test_several_labels_are_tuned_predicted_and_evaluated(name, cuetune, files, tmp_path):
    prompt, model = tmp_path / "prompt", ("--model", tiny.folder())
    code, out, err = cuetune("tune", files / name, "--to", prompt, *model, *FEW)
    assert code == 0, err
    assert "multi-label: any number of 3 labels" in out
    assert "linear probe" in out
    saved = json.loads((prompt / "cuetune.json").read_text())
    assert (saved["format"], saved["task"]["kind"], len(saved["task"]["thresholds"])) == (2, "multi-label", 3)
    assert set(saved["record"]["scores"]["tuned"]) == {"micro_f1", "macro_f1", "subset_accuracy"}
    assert "given from this probability" in (prompt / "README.md").read_text()
    assert TunedPrompt.load(prompt).task.to_dict() == saved["task"]
    for asked in ("lists.jsonl", "cells.csv", "columns.csv"):  # whatever form the rows have
        code, out, err = cuetune("evaluate", prompt, files / asked, *model, "--json")
        assert code == 0, err
        result = json.loads(out)["methods"]["tuned"]
        assert [each["support"] for each in result["per_label"]] == [
            sum(label in row["labels"] for row in table()) for label in saved["task"]["labels"]
        ]
    code, out, err = cuetune("evaluate", prompt, files / name, *model)
    assert "by label" in out, err
    assert "threshold" in out
    code, out, err = cuetune("show", prompt)
    assert "multi-label" in out, err
    code, out, err = cuetune("predict", prompt, files / name, "--to", tmp_path / "out.csv", *model)
    assert "subset accuracy on the 60 rows" in out, err
    for answer in answers(tmp_path / "out.csv"):
        sure = [
            label
            for label, least in zip(saved["task"]["labels"], saved["task"]["thresholds"], strict=True)
            if float(answer[f"p({label})"]) >= least - 1e-6
        ]
        delimiter = ", " if name == "cells.csv" else "|"
        assert answer["predicted"] == delimiter.join(sure)
    code, out, err = cuetune("predict", prompt, files / name, "--to", tmp_path / "out.jsonl", *model)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert all(isinstance(line["predicted"], list) for line in lines)
    code, out, err = cuetune("predict", prompt, "--input", "good x", *model)
    assert code == 0, err
    tiny.write_csv(tmp_path / "fixes.csv", [{"text": "x", "labels": "pos"}])
    code, _, err = cuetune("fix", prompt, tmp_path / "fixes.csv", *model)
    assert code == 2
    assert "fix cannot take a multi-label task" in err
    code, _, err = cuetune("ensemble", prompt, prompt, "--to", tmp_path / "both")
    assert code == 2
    assert "ensemble cannot take a multi-label task" in err


def test_a_number_is_tuned_predicted_and_evaluated(cuetune, files, tmp_path):
    prompt, model = tmp_path / "prompt", ("--model", tiny.folder())
    code, out, err = cuetune("tune", files / "scores.csv", "--to", prompt, *model, *FEW)
    assert code == 0, err
    assert "regression: a number for each row" in out
    assert "--task classification" in out
    saved = json.loads((prompt / "cuetune.json").read_text())
    assert saved["task"]["kind"] == "regression"
    assert len(saved["task"]["scale"]) == 2
    assert set(saved["record"]["scores"]) == {"tuned", "linear probe"}
    assert set(saved["record"]["scores"]["tuned"]) == {"pearson", "spearman", "r2", "mae", "rmse"}
    code, out, err = cuetune("predict", prompt, files / "scores.csv", "--to", tmp_path / "out.csv", *model, *FEW[-2:])
    assert "mean absolute error on the 60 rows" in out, err
    assert list(answers(tmp_path / "out.csv")[0]) == ["text", "score", "predicted"]
    assert all(-10 < float(answer["predicted"]) < 20 for answer in answers(tmp_path / "out.csv"))
    code, out, err = cuetune("evaluate", prompt, files / "scores.csv", *model)
    assert "Pearson" in out, err
    assert "MAE" in out
    assert "regression" in cuetune("show", prompt)[1]
    alone = [each.label for each in package.predict(prompt, files / "scores.csv", model=tiny.folder(), dtype="float32")]
    written = [float(answer["predicted"]) for answer in answers(tmp_path / "out.csv")]
    torch.testing.assert_close(torch.tensor(alone), torch.tensor(written), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("options", "metric"), [((), "micro_f1"), (("--label", "score"), "pearson")])
def test_images_take_both_kinds(options, metric, cuetune, files, vit, tmp_path):
    code, out, err = cuetune("tune", files / "images.csv", "--to", tmp_path / "p", "--model", vit, *options, *FEW)
    assert code == 0, err
    scores = json.loads((tmp_path / "p" / "cuetune.json").read_text())["record"]["scores"]
    assert metric in scores["tuned"]
    assert metric in scores["linear probe"]
    code, out, err = cuetune("evaluate", tmp_path / "p", files / "images.csv", "--model", vit, "--no-baselines")
    assert code == 0, err
    said = ("predict", tmp_path / "p", files / "images.csv", "--to", tmp_path / "o.csv", "--model", vit)
    assert cuetune(*said)[0] == 0
    assert len(answers(tmp_path / "o.csv")) == 24


def test_numbers_by_an_encoder_and_in_a_library(cuetune, files, tmp_path):
    tiny.encoder("bert").save_pretrained(tmp_path / "bert")
    tiny.masked_tokenizer().save_pretrained(tmp_path / "bert")
    given = ("--to", tmp_path / "scores", "--model", tmp_path / "bert")
    code, out, err = cuetune("tune", files / "scores.csv", *given, *FEW)
    assert code == 0, err
    assert "Pearson" in out
    assert cuetune("library", "add", tmp_path / "library", tmp_path / "scores")[0] == 0
    listed = " ".join(cuetune("library", "list", tmp_path / "library")[1].split())
    assert "number" in listed
    assert "writte" not in listed


@pytest.mark.parametrize("model", ["llama", "bert"])
def test_label_words_answer_several_labels(model, cuetune, files, tmp_path):
    folder = tiny.folder() if model == "llama" else tmp_path / "bert"
    if model == "bert":
        tiny.encoder("bert").save_pretrained(folder)
        tiny.masked_tokenizer().save_pretrained(folder)
    words = ("--label-words", " pos", "--label-words", " neg", "--label-words", "b") if model == "llama" else ()
    given = ("--labels", "pos,neg,big", *words, "--readout", "words")
    code, out, err = cuetune("tune", files / "lists.jsonl", "--to", tmp_path / "p", "--model", folder, *given, *FEW)
    if model == "bert":  # " none" is no single token of it
        assert code == 2
        assert "--readout head" in err
        return
    assert code == 0, err
    assert not (tmp_path / "p" / "head.safetensors").exists()
    code, out, err = cuetune("evaluate", tmp_path / "p", files / "lists.jsonl", "--model", folder, "--json")
    assert len(json.loads(out)["methods"]["tuned"]["per_label"]) == 3, err


def test_compare_holds_both_kinds_against_a_probe(cuetune, files, tmp_path):
    shared = ("--model", tiny.folder(), "--seeds", "1", "--steps", "2", "--no-search", "--dtype", "float32")
    for name, metric in (("cells.csv", "micro-F1"), ("scores.csv", "Pearson")):
        to = tmp_path / name
        code, out, err = cuetune("compare", files / name, "--to", to, "--methods", "linear-probe,soft", *shared)
        assert code == 0, err
        heading = next(line for line in (to / "table.md").read_text().splitlines() if line.startswith("| method"))
        assert heading.split(" | ")[1] == metric
        assert "over the probe" in heading
    code, _, err = cuetune("compare", files / "cells.csv", "--to", tmp_path / "c", "--methods", "few-shot", *shared)
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot take a multi-label task" in err


def test_check_knows_both_kinds(cuetune, files):
    model = ("--model", tiny.folder())
    for name in ("lists.jsonl", "cells.csv", "columns.csv"):
        code, out, err = cuetune("check", files / name, *model, "--json")
        assert (code, json.loads(out)["task"]["kind"]) == (0, "multi-label"), err
        assert sum(json.loads(out)["labels"].values()) == sum(len(row["labels"]) for row in table())
    code, out, err = cuetune("check", files / "scores.csv", *model)
    assert code == 0, err
    assert "regression" in out
    assert "scored" not in out


@pytest.mark.parametrize("name", ["lists.jsonl", "scores.csv"])
@pytest.mark.parametrize(
    "words",
    [
        ("tune", "{data}", "--to", "{to}", "--prompt", "hard"),
        ("tune", "{data}", "--to", "{to}", "--prompt", "nearest"),
        ("tune", "{data}", "--to", "{to}", "--prompt", "calibrated"),
        ("tune", "{data}", "--to", "{to}", "--prompt", "soft-from-hard"),
        ("worth", "{data}", "--to", "{to}", "--sizes", "10,20"),
        ("search", "{data}", "--to", "{to}"),
        ("transfer", "{data}", "--from", "{to}-library", "--to", "{to}"),
        ("learn", "{to}.stream.yaml", "--to", "{to}"),
        ("multitask", "train", "{to}.tasks.yaml", "--to", "{to}"),
    ],
)
def test_what_cannot_take_a_kind_says_so_in_one_line(name, words, cuetune, files, tmp_path):
    said = [each.format(data=files / name, to=tmp_path / "to") for each in words]
    (tmp_path / "to.stream.yaml").write_text(f"tasks:\n- name: one\n  data: {files / name}\n")
    (tmp_path / "to.tasks.yaml").write_text(f"tasks:\n- name: one\n  data: {files / name}\n")
    code, _, err = cuetune(*said, "--model", tiny.folder())
    kind = "multi-label" if name == "lists.jsonl" else "regression"
    assert code == 2
    assert f"cannot take a {kind} task" in err.strip().splitlines()[-1]
    assert "Traceback" not in err


def test_label_words_are_not_for_numbers(cuetune, files, tmp_path):
    given = ("--to", tmp_path / "p", "--model", tiny.folder(), "--readout", "words")
    code, _, err = cuetune("tune", files / "scores.csv", *given)
    assert code == 2
    assert "cannot take a regression task" in err

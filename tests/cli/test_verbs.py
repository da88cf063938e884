"""Every verb on the command line: the whole way on a tiny model, and bad input as one line that leaves things whole."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

import cuetune as package
from cuetune.data.task import Task
from tiny import backbone, folder, model, rows, tokenizer, write_csv

FAST = ("--steps", "6", "--evaluate-every", "3", "--batch-size", "4", "--length", "3", "--dtype", "float32")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data file and a prompt tuned on it, for tests that only read them."""
    here = tmp_path_factory.mktemp("made")
    data = write_csv(here / "rows.csv", rows(60))
    settings = package.Settings(steps=6, evaluate_every=3, batch_size=4, length=3)
    package.tune(data, here / "prompt", model=backbone(), settings=settings, reporters=[], log=lambda line: None)
    return here


def test_tune_show_predict_evaluate(cuetune, tmp_path):
    data, prompt = write_csv(tmp_path / "rows.csv", rows(60)), tmp_path / "prompt"
    code, out, err = cuetune("tune", data, "--to", prompt, "--model", folder(), *FAST)
    assert code == 0, err
    assert "few-shot (k=8)" in out
    assert "next: cuetune predict" in out
    assert (tmp_path / "prompt.run" / "log.jsonl").exists()
    code, out, _ = cuetune("show", prompt)
    assert code == 0
    assert "3 virtual tokens" in out
    code, out, _ = cuetune("show", prompt, "--json")
    assert json.loads(out)["record"]["cost"]["trained_parameters"] == 3 * 32
    code, out, err = cuetune(
        "predict", prompt, data, "--to", tmp_path / "out.csv", "--model", folder(), "--dtype", "float32"
    )
    assert code == 0, err
    assert "accuracy on the 60 rows" in out
    answers = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [answer["text"] for answer in answers] == [row["text"] for row in rows(60)]
    assert all(abs(float(a["p(neg)"]) + float(a["p(pos)"]) - 1) < 1e-5 for a in answers)
    assert all(a["predicted"] == max(("neg", "pos"), key=lambda name: float(a[f"p({name})"])) for a in answers)
    code, out, err = cuetune("evaluate", prompt, data, "--model", folder(), "--dtype", "float32", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert set(result["methods"]) == {"tuned", "zero-shot", "few-shot (k=8)"}
    assert result["rows"] == 52  # eight rows are demonstrations and scored for no method
    code, out, err = cuetune(
        "evaluate", prompt, data, "--model", folder(), "--dtype", "float32", "--demonstrations", data
    )
    assert code == 0, err
    assert "confusion" in out


def test_the_same_in_python(made):
    answers = list(package.predict(made / "prompt", rows(20, 1), model=backbone()))
    alone = [next(package.predict(made / "prompt", [row], model=backbone())) for row in rows(20, 1)]
    for together, single in zip(answers, alone, strict=True):
        assert together.label == single.label
        assert together.probabilities == pytest.approx(single.probabilities, abs=1e-5)
    result = package.evaluate(made / "prompt", made / "rows.csv", model=backbone(), baselines=False)
    assert 0 <= result.results["tuned"].scores["accuracy"].value <= 1
    assert package.load(made / "prompt").task.labels == ("neg", "pos")
    assert package.check(made / "rows.csv").ok


def test_sentences_and_jsonl(cuetune, made, tmp_path):
    code, out, err = cuetune(
        "predict", made / "prompt", "--input", "good one", "--input", "bad one", "--model", folder()
    )
    assert code == 0, err
    assert "good one" in out
    code, _, err = cuetune(
        "predict", made / "prompt", made / "rows.csv", "--to", tmp_path / "o.jsonl", "--model", folder()
    )
    assert code == 0, err
    assert "predicted" in json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])


def test_free_text_is_tuned_and_written(cuetune, tmp_path):
    data = write_csv(tmp_path / "pairs.csv", [{"source": row["text"], "target": row["label"]} for row in rows(40)])
    code, out, err = cuetune("tune", data, "--to", tmp_path / "p", "--generate", "--model", folder(), *FAST)
    assert code == 0, err
    assert "exact-match" in out
    code, out, err = cuetune("predict", tmp_path / "p", "--input", "good", "--model", folder(), "--max-new-tokens", "4")
    assert code == 0, err


def test_hard_prompts_are_saved_and_start_soft_ones(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(60))
    code, _, err = cuetune(
        "tune", data, "--to", tmp_path / "hard", "--prompt", "hard", "--shots", "2", "--model", folder()
    )
    assert code == 0, err
    assert package.load(tmp_path / "hard").prompt.kind == "hard"
    code, _, err = cuetune(
        "tune",
        data,
        "--to",
        tmp_path / "soft",
        "--prompt",
        "soft-from-hard",
        "--shots",
        "2",
        "--model",
        folder(),
        *FAST,
    )
    assert code == 0, err
    lengths = [package.load(tmp_path / name).prompt.injection().n_tokens for name in ("hard", "soft")]
    assert lengths[0] == lengths[1] > 20


def test_check_shows_roles_and_ends_with_1_on_leaks(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(30))
    code, out, err = cuetune("check", data, "--model", folder())
    assert code == 0, err
    assert "nothing found" in out
    for role in ("prompt", "template", "text", "scored"):
        assert role in out
    code, out, _ = cuetune("check", data, write_csv(tmp_path / "test.csv", rows(30)[:3]), "--model", folder(), "--json")
    assert code == 1
    assert json.loads(out)["findings"][0]["count"] == 3


def bad_data(tmp_path, kind):
    """A bad file for `tune`, with what the error must say."""
    path = tmp_path / "bad.csv"
    table = rows(30)
    if kind == "missing column":
        return write_csv(path, [{"a": r["text"], "b": r["label"]} for r in table]), ["--text", "text"], "'a', 'b'"
    if kind == "empty file":
        path.write_text("")
        return path, [], "empty"
    if kind == "one class only":
        return write_csv(path, [{**row, "label": "pos"} for row in table]), [], "one label only"
    if kind == "wrong encoding":
        path.write_bytes("text,label\ncaf\xe9,pos\n".encode("latin-1"))
        return path, [], "--encoding"
    if kind == "ragged CSV":
        path.write_text("text,label\na,pos\nb,neg,more\n")
        return path, [], "row 2"
    if kind == "broken JSONL":
        path = tmp_path / "bad.jsonl"
        path.write_text('{"text": "a", "label": "pos"}\n{"text": "b", "la\n')
        return path, [], "line 2"
    if kind == "NaN text":
        path = tmp_path / "bad.jsonl"
        path.write_text('{"text": "a", "label": "pos"}\n{"text": NaN, "label": "neg"}\n')
        return path, [], "line 2"
    raise AssertionError(kind)


KINDS = ("missing column", "empty file", "one class only", "wrong encoding", "ragged CSV", "broken JSONL", "NaN text")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_data_is_one_line_and_leaves_the_earlier_prompt_whole(cuetune, made, tmp_path, kind):
    prompt = tmp_path / "prompt"
    shutil.copytree(made / "prompt", prompt)
    before = {path.name: path.read_bytes() for path in prompt.iterdir()}
    data, more, said = bad_data(tmp_path, kind)
    code, _, err = cuetune("tune", data, "--to", prompt, "--overwrite", "--model", folder(), *more)
    assert_one_line(code, err, said)
    assert {path.name: path.read_bytes() for path in prompt.iterdir()} == before


def assert_one_line(code, err, said):
    assert code == 2
    notices = ("tuned in ",)  # of what is as asked for, before the mistake
    lines = [line for line in err.strip().splitlines() if not any(notice in line for notice in notices)]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert said in lines[0]


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
@pytest.mark.parametrize("kind", ["unknown label", "missing column", "ragged"])
def test_bad_rows_leave_earlier_answers_whole(cuetune, made, tmp_path, verb, kind):
    out = tmp_path / "answers.csv"
    out.write_text("earlier work")
    table = rows(30)
    path = tmp_path / "new.csv"
    if kind == "unknown label":
        write_csv(path, [*table, {"text": "x", "label": "maybe"}])
        said = "unknown label 'maybe'"
    elif kind == "missing column":
        write_csv(path, [{"body": row["text"], "label": row["label"]} for row in table])
        said = "no column 'text'"
    else:
        write_csv(path, table)
        path.write_text(path.read_text() + "a,b,c,d\n")
        said = "row 31"
    more = ["--to", out] if verb == "predict" else []
    code, _, err = cuetune(verb, made / "prompt", path, *more, "--model", folder(), "--dtype", "float32")
    assert_one_line(code, err, said)
    assert out.read_text() == "earlier work"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answers.csv", "new.csv"]


def test_labels_can_be_ignored(cuetune, made, tmp_path):
    path = write_csv(tmp_path / "new.csv", [{"text": "x", "label": "maybe"}])
    code, _, err = cuetune(
        "predict", made / "prompt", path, "--to", tmp_path / "o.csv", "--ignore-labels", "--model", folder()
    )
    assert code == 0, err


def test_the_wrong_backbone_is_refused(cuetune, made, tmp_path):
    other = tmp_path / "other"
    model("llama", seed=5).save_pretrained(other)
    tokenizer().save_pretrained(other)
    code, _, err = cuetune("predict", made / "prompt", "--input", "x", "--model", other)
    assert_one_line(code, err, "weights")


def test_a_full_disk_leaves_earlier_answers_whole(cuetune, made, tmp_path, monkeypatch):
    out = tmp_path / "answers.csv"
    out.write_text("earlier work")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = cuetune("predict", made / "prompt", made / "rows.csv", "--to", out, "--model", folder())
    assert_one_line(code, err, "No space left")
    assert out.read_text() == "earlier work"
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tune", "nothing.csv", "--to", "p"), "no such file"),
        (("tune", "{rows}", "--to", "{prompt}"), "--overwrite"),
        (("tune", "{rows}", "--to", "p", "--steps", "0"), "--steps"),
        (("tune", "{rows}", "--to", "p", "--columns", "oops"), "name=value"),
        (("tune", "{rows}", "--to", "p", "--model", "no/such-model"), "not found"),
        (("tune", "{rows}", "--to", "p", "--dtype", "int3"), "dtype"),
        (("tune", "{rows}", "--to", "p", "--device", "warp"), "device"),
        (("predict", "{prompt}"), "--input"),
        (("predict", "{prompt}", "{rows}"), "--to"),
        (("predict", "{prompt}", "{rows}", "--to", "o.xlsx"), ".jsonl"),
        (("predict", "nowhere", "--input", "x"), "no such folder"),
        (("show", "nowhere"), "no such folder"),
        (("models", "pull", "gpt-9"), "not a bundled model"),
        (("data", "pull", "nothing"), "no data set"),
    ],
)
def test_wrong_words_are_one_line(cuetune, made, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    named = {"{rows}": made / "rows.csv", "{prompt}": made / "prompt"}
    words = [str(named.get(word, word)) for word in words]
    if "--model" not in words and words[0] in ("tune", "predict"):
        words += ["--model", str(folder())]
    code, _, err = cuetune(*words)
    assert_one_line(code, err, said)
    assert list(tmp_path.iterdir()) == []


def test_models_and_data_are_listed(cuetune):
    code, out, _ = cuetune("models")
    assert code == 0
    assert "smollm2-135m" in out
    assert "Apache-2.0" in out
    code, out, _ = cuetune("data")
    assert code == 0
    assert "reviews-amazon" in out


def test_help_imports_nothing_heavy():
    heavy = ("torch", "transformers", "numpy", "datasets", "sklearn")
    code = f"import sys; from cuetune.cli.main import app; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_every_verb_explains_itself_with_an_example(cuetune):
    for verb in ("demo", "tune", "predict", "evaluate", "show", "check", "models", "data"):
        code, out, _ = cuetune(verb, "--help")
        assert code == 0
        assert len(out) > 200, verb


def test_text_over_the_limit_is_cut_counted_and_said(cuetune, made, tmp_path):
    path = write_csv(tmp_path / "long.csv", [{"text": "word " * 900}, {"text": "short"}])
    code, out, err = cuetune("predict", made / "prompt", path, "--to", tmp_path / "o.csv", "--model", folder())
    assert code == 0, err
    assert "1 texts were longer" in out


def test_a_peft_folder_predicts(tmp_path):
    peft = pytest.importorskip("peft")
    wrapped = peft.get_peft_model(model("llama"), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    wrapped.save_pretrained(tmp_path / "theirs")
    tuned = package.load(tmp_path / "theirs", Task(labels=("neg", "pos")))
    assert len(list(package.predict(tuned, rows(5), model=backbone()))) == 5

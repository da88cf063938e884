"""`predict --probabilities`: every label's or the answer's own; of many label words the answer's own is the default."""

import csv

import pytest

from tiny import backbone, folder, write_csv

MODEL = ("--model", folder(), "--dtype", "float32")
LABELS = [a + b + c for a in "abcde" for b in "fg" for c in "hij"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    import cuetune as package

    here = tmp_path_factory.mktemp("many")
    table = [{"text": f"text {n}", "label": LABELS[n % len(LABELS)]} for n in range(4 * len(LABELS))]
    write_csv(here / "rows.csv", table)
    for name, readout in (("words", "words"), ("head", "head")):
        settings = package.Settings(steps=2, evaluate_every=2, batch_size=4, length=2, readout=readout)
        options = {"settings": settings, "reporters": [], "log": lambda line: None}
        package.tune(here / "rows.csv", here / name, model=backbone(), **options)
    return here


def answers(cuetune, tuned, name, *options):
    code, out, err = cuetune(
        "predict", tuned / name, tuned / "rows.csv", "--to", tuned / "answers.csv", *MODEL, *options
    )
    assert code == 0, err
    return list(csv.DictReader((tuned / "answers.csv").open())), out


def test_of_many_label_words_the_answers_own_probability_is_written(cuetune, tuned):
    best, out = answers(cuetune, tuned, "words")
    every, _ = answers(cuetune, tuned, "words", "--probabilities", "all")
    assert list(best[0]) == ["text", "label", "predicted", "p(predicted)"]
    assert "30 labels: the answers' own probabilities are written; --probabilities all" in out
    for one, row in zip(best, every, strict=True):
        assert one["predicted"] == row["predicted"]
        assert float(one["p(predicted)"]) == pytest.approx(float(row[f"p({row['predicted']})"]), abs=2e-6)


def test_a_head_writes_every_labels_unless_asked(cuetune, tuned):
    every, _ = answers(cuetune, tuned, "head")
    best, _ = answers(cuetune, tuned, "head", "--probabilities", "best")
    assert len(every[0]) == 3 + len(LABELS)
    assert best[0]["p(predicted)"] == max((every[0][f"p({label})"] for label in LABELS), key=float)


def test_other_values_are_refused(cuetune, tuned):
    code, _, err = cuetune("predict", tuned / "words", "--input", "x", *MODEL, "--probabilities", "some")
    assert code == 2
    assert "--probabilities some: choose all or best." in err

"""Data as people have it, through the verbs: rows that cannot be used, own splits, spellings, options of tables."""

import csv
import json

import datasets
import pytest

from tiny import folder, rows, write_csv

FAST = ("--steps", "4", "--evaluate-every", "2", "--batch-size", "4", "--length", "2", "--dtype", "float32")
MODEL = ("--model", folder(), "--dtype", "float32")
TABLE = [{"text": row["text"], "label": row["label"]} for row in rows(60)]


def csv_of(table, delimiter=","):
    return f"text{delimiter}label\n" + "".join(f"{row['text']}{delimiter}{row['label']}\n" for row in table)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    import cuetune as package
    from tiny import backbone

    here = tmp_path_factory.mktemp("prompt")
    settings = package.Settings(steps=2, evaluate_every=2, batch_size=4, length=2)
    data = write_csv(here / "rows.csv", TABLE)
    package.tune(data, here / "prompt", model=backbone(), settings=settings, reporters=[], log=lambda line: None)
    return here / "prompt"


@pytest.fixture
def faulty(tmp_path):
    """Sixty rows, of which seven cannot be used."""
    table = [dict(row) for row in TABLE]
    for number in (2, 5, 7, 11):
        table[number]["label"] = ""
    for number in (20, 21):
        table[number]["label"] = "mixed"
    path = tmp_path / "rows.jsonl"
    lines = [{**row, "label": row["label"] or None} for row in table]
    lines[30]["text"] = None
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    return path


KNOWN = ("--labels", "neg,pos")
FAULTS = ("7 rows cannot be used: rows.jsonl, line 3, column 'label': no label", "line 12", "line 21", "and 2 more")


@pytest.mark.parametrize("verb", ["tune", "evaluate", "compare"])
def test_all_rows_that_cannot_be_used_are_counted_and_five_are_named(cuetune, prompt, faulty, tmp_path, verb):
    words = {
        "tune": ("tune", faulty, "--to", tmp_path / "p", "--model", folder(), *FAST, *KNOWN),
        "compare": ("compare", faulty, "--to", tmp_path / "c", "--model", folder(), "--methods", "zero-shot", *KNOWN),
        "evaluate": ("evaluate", prompt, faulty, *MODEL),
    }[verb]
    code, _, err = cuetune(*words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    for part in (*FAULTS, "leave them out with --skip-unreadable"):
        assert part in err
    code, out, err = cuetune(*words, "--skip-unreadable")
    assert code == 0, err
    assert "7 rows left out:" in out + err


def test_check_lists_them_and_leaves_them_out(cuetune, faulty):
    code, out, _ = cuetune("check", faulty, *KNOWN, "--model", folder(), "--json")
    found = {each["what"]: each for each in json.loads(out)["findings"]}
    assert code == 1
    assert found["rows without a label"]["count"] == 4
    assert found["rows with an unknown label"]["count"] == 2
    assert found["rows whose text is missing or none"]["count"] == 1
    assert len(found["rows without a label"]["examples"]) == 4
    code, out, _ = cuetune("check", faulty, *KNOWN, "--model", folder(), "--skip-unreadable")
    assert code == 0
    assert "7 rows left out:" in out


def test_predict_answers_rows_without_a_label_and_counts_them(cuetune, prompt, tmp_path):
    table = [{**row, "label": row["label"] if number > 6 else ""} for number, row in enumerate(TABLE)]
    data = write_csv(tmp_path / "new.csv", table)
    code, out, err = cuetune("predict", prompt, data, "--to", tmp_path / "o.csv", *MODEL)
    assert code == 0, err
    assert "60 answers" in out
    assert "accuracy on the 53 rows with a label" in out
    assert "7 rows answered without a label to compare with:" in out
    code, out, err = cuetune("predict", prompt, data, "--to", tmp_path / "o.csv", *MODEL, "--skip-unreadable")
    assert code == 0, err
    assert "53 answers" in out
    assert "7 rows left out:" in out


def test_predict_says_all_unknown_labels_before_it_stops(cuetune, prompt, tmp_path):
    table = [{**row, "label": "maybe" if number % 10 == 9 else row["label"]} for number, row in enumerate(TABLE)]
    data = write_csv(tmp_path / "new.csv", table)
    code, _, err = cuetune("predict", prompt, data, "--to", tmp_path / "o.csv", *MODEL)
    assert code == 2
    assert "6 rows cannot be used" in err
    assert not (tmp_path / "o.csv").exists()
    code, out, err = cuetune("predict", prompt, data, "--to", tmp_path / "o.csv", *MODEL, "--skip-unreadable")
    assert code == 0, err
    assert "54 answers" in out


def hidden(path):
    names = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})

    def part(table, secret=False):
        labels = [-1 if secret else ["neg", "pos"].index(row["label"]) for row in table]
        return datasets.Dataset.from_dict({"text": [row["text"] for row in table], "label": labels}, features=names)

    whole = datasets.DatasetDict(train=part(TABLE[:40]), validation=part(TABLE[40:50]), test=part(TABLE[50:], True))
    whole.save_to_disk(str(path))
    return path


def test_a_data_set_with_hidden_labels_goes_through_every_verb(cuetune, prompt, tmp_path):
    data = hidden(tmp_path / "data")
    code, out, err = cuetune("tune", data, "--to", tmp_path / "p", "--model", folder(), *FAST)
    assert code == 0, err
    assert "splits train, validation, test" in out + err
    assert "split test: no row has a label" in out + err
    assert "32 to tune on, 10 to validate, 8 held out" in out + err
    code, out, err = cuetune("check", data, "--model", folder())
    assert code in (0, 1), err
    assert "test: no labels" in out
    code, out, err = cuetune("evaluate", prompt, data, *MODEL, "--no-baselines")
    assert code == 0, err
    assert "scored on the split validation" in out
    code, out, err = cuetune("predict", prompt, data, "--to", tmp_path / "o.csv", *MODEL)
    assert code == 0, err
    assert "10 answers" in out
    assert "answered is the split test" in out
    code, _, err = cuetune("tune", data, "--test", f"{data}@test", "--to", tmp_path / "q", "--model", folder(), *FAST)
    assert code == 2
    assert "10 rows cannot be used" in err


@pytest.mark.parametrize("each", [2, 4])
def test_too_few_rows_to_hold_any_out_are_a_warning(cuetune, tmp_path, each):
    kept = [row for label in ("neg", "pos") for row in [row for row in TABLE if row["label"] == label][:each]]
    data = write_csv(tmp_path / "few.csv", kept)
    code, out, err = cuetune("tune", data, "--to", tmp_path / "p", "--model", folder(), *FAST)
    assert code == 0, err
    assert ("warning: no row is held out" in out + err) == (each == 2)
    assert "warning: no row to validate on" in out + err


def test_truth_values_tuned_on_json_lines_are_scored_on_csv(cuetune, tmp_path):
    learned, asked = tmp_path / "rows.jsonl", tmp_path / "rows.csv"
    learned.write_text("".join(json.dumps({**row, "label": row["label"] == "pos"}) + "\n" for row in TABLE))
    asked.write_text(csv_of([{**row, "label": str(row["label"] == "pos").upper()} for row in TABLE]))
    code, _, err = cuetune("tune", learned, "--to", tmp_path / "p", "--model", folder(), *FAST)
    assert code == 0, err
    scores = []
    for data in (learned, asked):
        code, out, err = cuetune("evaluate", tmp_path / "p", data, *MODEL, "--no-baselines", "--json")
        assert code == 0, err
        found = json.loads(out)
        assert found["rows"] == 60
        scores.append(found["methods"]["tuned"]["accuracy"])
    assert scores[0] == scores[1]


def test_options_of_tables_reach_every_verb(cuetune, prompt, tmp_path):
    bare = tmp_path / "bare.txt"
    bare.write_text("".join(f'{row["label"]}~"{row["text"]}\n' for row in TABLE))
    how = ("--delimiter", "~", "--quoting", "none", "--column-names", "label,text")
    code, out, err = cuetune("check", bare, *how, "--model", folder())
    assert code == 0, err
    assert "60 in bare.txt" in out
    code, out, err = cuetune("tune", bare, "--to", tmp_path / "p", "--model", folder(), *FAST, *how)
    assert code == 0, err
    code, out, err = cuetune("evaluate", prompt, bare, *MODEL, *how, "--no-baselines", "--json")
    assert json.loads(out)["rows"] == 60
    code, out, err = cuetune("predict", prompt, bare, "--to", tmp_path / "o.csv", *MODEL, *how)
    assert "60 answers" in out
    answers = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert [row["text"] for row in answers] == ['"' + row["text"] for row in TABLE]


def test_rows_that_were_swallowed_are_told(cuetune, tmp_path):
    data = tmp_path / "rows.tsv"
    lines = csv_of(TABLE, "\t").splitlines(keepends=True)
    lines[4] = '"' + lines[4]
    lines[9] = lines[9].replace("\t", '"\t')
    data.write_text("".join(lines))
    for words in (
        ("check", data, "--model", folder()),
        ("tune", data, "--to", tmp_path / "p", "--model", folder(), *FAST),
    ):
        code, out, err = cuetune(*words)
        assert code == 0, err
        assert "--quoting none" in out + err


def test_a_pairing_of_labels_and_words_is_printed(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", TABLE)
    code, out, err = cuetune("check", data, "--label-words", "pos=good,neg=bad", "--model", folder())
    assert code == 0, err
    assert "'neg' scored as 'bad'" in out
    assert "'pos' scored as 'good'" in out


@pytest.mark.parametrize("verb", ["worth", "search"])
def test_a_verb_that_names_skip_unreadable_has_it(cuetune, faulty, tmp_path, verb):
    more = {
        "worth": ("--sizes", "6,12", "--seeds", 1, "--steps", 2, "--no-search", "--length", 2),
        "search": ("--method-option", "steps=1", "--method-option", "candidates=2", "--method-option", "batch_size=4"),
    }[verb]
    code, _, err = cuetune(verb, faulty, "--to", tmp_path / "p", *MODEL, *KNOWN)
    assert (code, "--skip-unreadable" in err) == (2, True)
    code, out, err = cuetune(verb, faulty, "--to", tmp_path / "p", *MODEL, *KNOWN, "--skip-unreadable", *more)
    assert code == 0, err
    assert "line 3, column 'label': no label" in out + err


def test_rows_with_too_many_cells_are_counted_and_left_out(cuetune, prompt, tmp_path):
    lines = csv_of(TABLE).splitlines()
    lines[4] = "well, it is, good,pos"
    lines[9] = "only a text"
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    words = ("evaluate", prompt, path, *MODEL)
    code, _, err = cuetune(*words)
    assert code == 2
    assert (
        "2 rows cannot be used: rows.csv, row 4: 4 cells, but the header has 2 columns; rows.csv, row 9: 1 cells" in err
    )
    assert "leave them out with --skip-unreadable" in err
    code, out, err = cuetune(*words, "--skip-unreadable")
    assert code == 0, err
    assert "2 rows left out:" in out + err
    code, out, _ = cuetune("check", path, "--model", folder(), "--json")
    assert {each["what"]: each["count"] for each in json.loads(out)["findings"]}[
        "rows with other numbers of cells than the header"
    ] == 2


def test_labels_that_differ_only_in_case_are_noticed(cuetune, tmp_path):
    table = [{**row, "label": row["label"].title() if n % 4 > 1 else row["label"]} for n, row in enumerate(TABLE)]
    code, out, _ = cuetune("check", write_csv(tmp_path / "rows.csv", table), "--model", folder(), "--json")
    found = {each["what"]: each for each in json.loads(out)["findings"]}
    assert found["labels that differ only in case or spaces"]["count"] == 2

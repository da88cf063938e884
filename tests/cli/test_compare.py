"""`cuetune compare` and `cuetune worth` on the command line."""

import pytest

import tiny
from cuetune.comparison import runner as comparison
from cuetune.comparison.contenders import TEXT_CONTENDERS


@pytest.fixture
def data(tmp_path):
    return tiny.write_csv(tmp_path / "rows.csv", tiny.rows(100))


def options(tmp_path):
    return ("--to", tmp_path / "c", "--model", tiny.folder(), "--dtype", "float32", "--steps", 2, "--watts", 40)


def test_compare_prints_one_table_for_each_size_and_goes_on(cuetune, data, tmp_path):
    more = ("--methods", "zero-shot,soft", "--sizes", "8,16", "--seeds", 1, "--no-search", "--length", 3)
    code, out, err = cuetune("compare", data, *options(tmp_path), *more)
    assert code == 0, err
    assert "8 training rows" in out
    assert "16 training rows" in out
    assert "[3 of 3] soft, 16 rows, seed 0" in err
    again = cuetune("compare", data, *options(tmp_path), *more)
    assert "going on: 3 of 3 runs are there" in again[2]
    assert again[1] == out


def test_worth_answers_in_a_sentence(cuetune, data, tmp_path):
    more = ("--method", "few-shot", "--sizes", "8,16", "--seeds", 1)
    code, out, err = cuetune("worth", data, *options(tmp_path), *more)
    assert code == 0, err
    assert "few-shot" in out
    assert "linear-probe" in out
    assert (tmp_path / "c" / "worth.md").read_text().splitlines()[0][2:40] in " ".join(out.split())


@pytest.mark.parametrize("verb", ["compare", "worth"])
def test_ctrl_c_says_how_to_go_on(cuetune, data, tmp_path, monkeypatch, verb):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison.Comparison, "_do", stop)
    code, _, err = cuetune(verb, data, *options(tmp_path), "--sizes", "8,16")
    assert code == 130
    assert "The same command goes on." in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--methods", "sofft"), f"unknown method 'sofft'; choose from {next(iter(TEXT_CONTENDERS))}"),
        (("--sizes", "many"), "--sizes 'many': write whole numbers"),
        (("--sizes", "8,5000"), "only 70 rows are left to train on"),
        (("--prices", "none.toml"), "cannot be read"),
        (("--watts", "-3"), "watts -3"),
    ],
)
def test_mistakes_are_one_line(cuetune, data, tmp_path, arguments, named):
    code, _, err = cuetune("compare", data, *options(tmp_path), *arguments)
    assert code == 2
    assert named in err
    assert err.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err

"""`worth` on contenders with known learning curves: the number is the one worked out by hand."""

import json

import pytest

import tiny
from cuetune.comparison import runner as comparison
from cuetune.comparison.contenders import TEXT_CONTENDERS, Contender
from cuetune.comparison.run_result import Outcome
from cuetune.comparison.worth import worth
from cuetune.errors import CuetuneError


@pytest.fixture
def made(monkeypatch):
    """The prompt needs 20 rows fewer for every score: accuracy rises by 0.005 with each row."""

    def reaches(ahead):
        def run(job):
            accuracy = 0.4 + 0.005 * (len(job.rows.train) + ahead)
            return Outcome(scores={"accuracy": accuracy, "macro_f1": accuracy}, steps=1, best_step=1)

        return run

    monkeypatch.setattr(comparison, "settled_memory", lambda device: 0)
    monkeypatch.setitem(TEXT_CONTENDERS, "soft", Contender("made up", "words", reaches(20)))
    monkeypatch.setitem(TEXT_CONTENDERS, "linear-probe", Contender("made up", "words", reaches(0)))


def call(folder, **more):
    options = {"sizes": (60, 10, 30), "seeds": 2, "model": tiny.backbone(), "log": lambda line: None, **more}
    return worth(tiny.rows(120), folder, **options)


def test_the_answer_is_the_distance_between_the_curves(tmp_path, made):
    found = call(tmp_path / "w")
    assert found.advantage.points == pytest.approx(20, abs=0.1)
    assert found.sizes == (10, 30, 60)
    assert found.scores["soft"][0] == pytest.approx([0.55, 0.55])
    kept = json.loads((tmp_path / "w" / "worth.json").read_text())
    assert kept["points"] == pytest.approx(20, abs=0.1)
    text = (tmp_path / "w" / "worth.md").read_text()
    assert text.startswith("# soft is worth about 20 labelled rows")
    assert "| 10 | 0.550 (0.550–0.550) | 0.450 (0.450–0.450) |" in text
    assert (tmp_path / "w" / "results.json").exists()
    other_way = call(tmp_path / "v", method="linear-probe", against="soft")
    assert other_way.advantage.points == pytest.approx(-20, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"method": "zero-shot"}, "no learning curve"),
        ({"against": "soft"}, "two different methods"),
        ({"sizes": (10,)}, "two or more --sizes"),
        ({"sizes": (10, 1000)}, "rows are left to train on"),
        ({"against": "no-such"}, "unknown method 'no-such'"),
    ],
)
def test_questions_without_an_answer(tmp_path, made, arguments, named):
    with pytest.raises(CuetuneError, match=named):
        call(tmp_path / "w", **arguments)

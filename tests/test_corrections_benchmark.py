"""The benchmark of corrections runs from end to end on a tiny model; what it measures there means nothing."""

import argparse
import sys
from pathlib import Path

import cuetune
from tiny import backbone, folder, rows, write_csv

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


def test_it_draws_unseen_mistakes_and_prints_its_table(tmp_path):
    import corrections

    data = write_csv(tmp_path / "rows.csv", rows(120))
    settings = cuetune.Settings(steps=2, evaluate_every=2, batch_size=4, length=3)
    quiet = {"reporters": [], "log": lambda line: None, "baselines": False}
    tuned = cuetune.tune(data, tmp_path / "prompt", model=backbone(), settings=settings, **quiet)
    production, test = corrections.parts_of(tuned, str(data))
    assert len(production) == 120 - 24 - 8  # all but the test rows and those of two steps
    assert not {each.where for each in production} & {each.where for each in test}
    arguments = argparse.Namespace(
        prompt=str(tmp_path / "prompt"),
        data=str(data),
        model=str(folder()),
        dtype="float32",
        draws=2,
        controls=1,
        mistakes=4,
        held_out=20,
    )
    result = corrections.measure(arguments)
    assert [set(draw) for draw in result["draws"]] == [{"fix", "control"}, {"fix"}]
    assert result["draws"][0]["fix"]["corrected"] <= 4
    table = "\n".join(corrections.summary(result))
    assert "| 1 | fix | " in table
    assert "20 held-out rows" in table

"""`compare` in Python on a tiny model: every method runs, and everything that is promised is written."""

import json
import sys

import pytest

import tiny
from cuetune.comparison import compare as module
from cuetune.comparison.compare import compare, price_here
from cuetune.comparison.contenders import TEXT_CONTENDERS, instructed
from cuetune.cost.prices import Prices
from cuetune.data.task import Task
from cuetune.errors import CuetuneError

FAR = ("nearest", "lora")  # need a download or PEFT; the slow test has them


def call(folder, methods, **more):
    options = {"sizes": (8,), "seeds": 1, "steps": 2, "search": False, "length": 3, "watts": 50.0, **more}
    return compare(tiny.rows(100), folder, methods=methods, model=tiny.backbone(), log=lambda line: None, **options)


def test_every_method_is_run_and_written(tmp_path):
    methods = [name for name in TEXT_CONTENDERS if name not in FAR]
    made = call(tmp_path / "c", methods, price_per_hour=3.0)
    written = json.loads((tmp_path / "c" / "results.json").read_text())
    assert {row["method"] for row in written["rows"]} == set(methods)
    assert written["finished"]
    for row in made.rows:
        contender = TEXT_CONTENDERS[row["method"]]
        assert 0 <= row["accuracy"]["value"] <= 1
        assert row["latency"] > 0
        assert row["stored_bytes"] > 0
        assert row["peak_memory_bytes"] > 0
        assert (row["trained"] > 0) == (contender.tuned or row["method"] == "linear-probe")
        assert (row["flops"] > 0) == (row["seconds"] > 0) == (row["method"] not in ("zero-shot", "few-shot"))
        assert row["dollars"] == pytest.approx(row["seconds"] / 1200)
        assert row["kwh"] == pytest.approx(row["seconds"] * 50 / 3.6e6, rel=0.5, abs=1e-6)
    table = (tmp_path / "c" / "table.md").read_text()
    assert all(f"| {name} |" in table for name in methods)
    assert "Dollars: 3 an hour, as given." in table
    curve = next(run["curve"] for run in written["runs"] if run["method"] == "soft")
    assert [point["step"] for point in curve] == [1, 2]


def test_a_frozen_model_is_as_it_was(tmp_path):
    backbone = tiny.backbone()
    before = backbone.identity.weights_hash
    call(tmp_path / "c", ("fine-tuning",))
    assert type(backbone)(backbone.model, backbone.tokenizer).identity.weights_hash == before


def test_ctrl_c_leaves_a_table_of_what_is_there(tmp_path, monkeypatch):
    def stop(job):
        raise KeyboardInterrupt

    broken = TEXT_CONTENDERS["soft"]
    monkeypatch.setitem(TEXT_CONTENDERS, "soft", type(broken)(broken.title, broken.family, stop, tuned=True))
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path / "c", ("zero-shot", "soft"))
    table = (tmp_path / "c" / "table.md").read_text()
    assert "| zero-shot |" in table
    assert "Not finished" in table


def test_without_matplotlib_all_but_the_plots_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    lines = []
    compare(tiny.rows(60), tmp_path / "c", methods=("zero-shot",), sizes=(8,), model=tiny.backbone(), log=lines.append)
    assert "no plots: plots need matplotlib; install it with: pip install 'cuetune[plots]'." in lines
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"comparison.json", "results.json", "table.md", "runs"}


def test_bad_input_is_found_before_the_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "backbone_for_rows", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(CuetuneError, match="unknown method 'sofft'; choose from zero-shot, few-shot"):
        compare(tiny.rows(60), tmp_path / "c", methods=("sofft",), log=lambda line: None)


def test_a_processor_is_paid_by_its_electricity_and_a_rented_machine_by_the_hour():
    assert price_here(tiny.backbone(), prices=Prices(usd_per_kwh=0.3)).of(3600, 2.0) == pytest.approx(0.6)
    assert price_here(tiny.backbone(), 1.5).of(7200, 2.0) == pytest.approx(3.0)


def test_models_of_their_own_are_told_the_instruction_too():
    task = Task("Text: {text}\nLabel:", labels=("a", "b"), instruction="Say a or b.")
    assert instructed(task).template == "Say a or b.\n\nText: {text}\nLabel:"
    braces = Task("Text: {text}\nLabel:", labels=("a", "b"), instruction="Say {text}.")
    assert instructed(braces) is braces


@pytest.mark.slow
def test_methods_that_need_more(tmp_path):
    pytest.importorskip("peft")
    made = call(tmp_path / "c", FAR)
    assert {row["method"] for row in made.rows} == set(FAR)

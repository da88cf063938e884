"""`cuetune cost`: tables, formulas, JSON, a local model's shape, and mistakes as one line."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import tiny
from cuetune.cli.main import app
from cuetune.cost.planner import METHODS
from cuetune.errors import CuetuneError

runner = CliRunner()


def cost(*arguments):
    return runner.invoke(app, ["cost", *arguments])


def test_tables_name_every_method_and_the_assumptions():
    shown = cost().output
    for name in METHODS.values():
        assert shown.count(name) >= 2
    for said in ("Gemma-2B", "40% is assumed", "median list price", "10,000 tasks", "smallest GPU"):
        assert said in " ".join(shown.split())


def test_explain_prints_formulas_with_numbers_and_sources():
    shown = cost("--params", "8B", "--method", "soft,scratch", "--explain").output
    assert "6·N·20·N" in shown
    assert "6·8.03e+09·20·8.03e+09" in shown
    assert "Hoffmann et al. 2022" in shown
    assert "N = 8.03e+09  parameters of the model" in shown
    assert "LoRA" not in shown.split("symbols")[0]
    assert "k = 12  layer where a late prompt enters" in cost("--explain").output


def test_json_carries_figures_formulas_and_rates():
    said = json.loads(
        cost("--params", "2B", "--gpu", "l4", "--tasks", "1,7", "--price-per-hour", "0.5", "--json").output
    )
    assert [plan["method"] for plan in said["plans"]] == list(METHODS)
    assert said["rates"]["price_per_hour"] == 0.5
    assert said["rates"]["gpu_data"]["watts"] == 72
    for plan in said["plans"]:
        assert plan["dollars"] == pytest.approx(plan["gpu_hours"] * 0.5)
        assert set(plan["stored_bytes"]) == {"1", "7"}
        assert plan["formulas"]["dollars"]["numbers"].endswith("0.5")


def test_a_local_model_is_read_from_its_configuration():
    said = json.loads(cost("--model", str(tiny.folder()), "--method", "soft", "--length", "5", "--json").output)
    assert said["plans"][0]["trained"] == 5 * tiny.WIDTH
    assert said["plans"][0]["fits"][0] == "t4"


def test_own_prices(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"gpus": {"h100": {"usd_per_hour": 1.0}}}')
    said = json.loads(cost("--prices", str(file), "--method", "full", "--json").output)["plans"][0]
    assert said["dollars"] == pytest.approx(said["gpu_hours"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--params", "huge"], "--params 'huge'"),
        (["--params", "2B", "--model", "x"], "give one of them"),
        (["--examples", "0"], "--examples 0"),
        (["--epochs", "nan"], "--epochs"),
        (["--batch-size", "-1"], "--batch-size -1"),
        (["--utilisation", "1.5"], "--utilisation 1.5"),
        (["--price-per-hour", "inf"], "--price-per-hour"),
        (["--gpu", "abacus"], "--gpu 'abacus'"),
        (["--method", "soft,magic"], "--method 'magic'"),
        (["--tasks", "1,x"], "--tasks '1,x'"),
        (["--tasks", "0"], "--tasks 0"),
        (["--layer", "99", "--method", "late"], "--layer 99"),
        (["--prices", "nowhere.toml"], "nowhere.toml"),
        (["--model", "./nowhere"], "--model ./nowhere"),
    ],
)
def test_mistakes_are_one_line(arguments, named):
    result = cost(*arguments)
    assert isinstance(result.exception, CuetuneError), result.output
    assert named in str(result.exception)
    assert "\n" not in str(result.exception)


def test_planning_needs_no_torch():
    code = (
        "import sys; from cuetune.cli.main import app\n"
        "try: app(['cost', '--json'])\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(str('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "False"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.000537, "0.00054"),
        (0.0996, "0.1"),
        (1.0, "1"),
        (9.96, "10"),
        (1558.9, "1,600"),
        (4.19e5, "420,000"),
    ],
)
def test_figures_keep_two_digits_and_no_powers_of_ten(value, shown):
    from cuetune.cli.cost import _short

    assert _short(value) == shown


@pytest.mark.parametrize(("hours", "shown"), [(2.0, "2 h"), (0.5, "30 min"), (1 / 120, "30 s"), (1e6, "1,000,000 h")])
def test_times_have_a_unit_that_fits(hours, shown):
    from cuetune.cli.cost import _time

    assert _time(hours) == shown


def test_a_model_too_large_for_one_gpu_states_how_many():
    shown = cost("--params", "70B", "--method", "full", "--gpu", "a100-80").output
    assert "14 a100-80s" in shown

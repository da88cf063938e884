"""Prices: the table makes sense, a file overrides just what it says, and its mistakes are one line each."""

import json

import pytest

from cuetune.cost.prices import GPUS, Prices, gpu_called, read_prices
from cuetune.errors import CuetuneError


def test_every_price_says_where_it_is_from_and_to_check_it():
    for gpu in GPUS.values():
        assert "check yours" in gpu.source
        assert "20" in gpu.source  # a year
        assert gpu.usd_per_hour > 0


def test_a_file_changes_only_what_it_names(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(
        "usd_per_kwh = 0.3\n[gpus.h100]\nusd_per_hour = 2.0\n"
        "[gpus.mine]\nmemory_gib = 12\npeak_tflops = 50\nwatts = 200\nusd_per_hour = 0.1\n"
    )
    prices = read_prices(file)
    assert prices.usd_per_kwh == 0.3
    assert prices.pue == Prices().pue
    assert prices.gpu("H100").usd_per_hour == 2.0
    assert prices.gpu("h100").memory_gib == GPUS["h100"].memory_gib
    assert prices.gpu("h100").source == "from prices.toml"
    assert prices.gpu("mine").watts == 200
    assert prices.gpu("l4") == GPUS["l4"]
    same = tmp_path / "prices.json"
    same.write_text(json.dumps({"usd_per_kwh": 0.3}))
    assert read_prices(same).usd_per_kwh == 0.3


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("p.toml", "usd_per_kwh = -1", "usd_per_kwh"),
        ("p.toml", "[gpus.new]\nwatts = 3", "gpus.new.memory_gib"),
        ("p.toml", "[gpus.h100]\ncolour = 3", "gpus.h100.colour"),
        ("p.toml", "price = 3", "price"),
        ("p.toml", "gpus = 3", "one table per GPU"),
        ("p.toml", "= 3", "not valid TOML"),
        ("p.json", "{", "not valid JSON"),
        ("p.json", "[]", "expected an object"),
        ("p.yaml", "", "json or .toml"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, name, text, named):
    (tmp_path / name).write_text(text)
    with pytest.raises(CuetuneError, match=named) as caught:
        read_prices(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_gpu_are_named(tmp_path):
    with pytest.raises(CuetuneError, match="cannot be read"):
        read_prices(tmp_path / "none.json")
    with pytest.raises(CuetuneError, match="use one of t4"):
        Prices().gpu("h1000")


@pytest.mark.parametrize(
    ("device", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
    ],
)
def test_gpus_are_known_by_what_their_driver_calls_them(device, key):
    assert gpu_called(device) == GPUS[key]
    assert gpu_called("NVIDIA GeForce GTX 1080") is None

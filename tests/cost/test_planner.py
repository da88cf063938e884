"""The planner: formulas as printed give the figures as printed, and the figures behave as costs must."""

import math
import re

import pytest

from cuetune.cost import flops
from cuetune.cost.formulas import SYMBOLS
from cuetune.cost.job import Job, Rates
from cuetune.cost.planner import FROZEN, METHODS, plan, plans
from cuetune.cost.prices import GPUS, Gpu, Prices
from cuetune.cost.shapes import PUBLISHED, shape_of_size
from cuetune.errors import CuetuneError


def evaluated(text):
    """What a formula with numbers in it comes to, by Python's own arithmetic."""
    assert re.fullmatch(r"[-+*/·² ().0-9e]|ceil|[-+*/·² ().0-9eceil]+", text), text
    return eval(text.replace("·", "*").replace("²", "**2"), {"ceil": math.ceil, "__builtins__": {}})


@pytest.mark.parametrize("size", ["135M", "2B", "8B", "1.3e9"])
@pytest.mark.parametrize("method", METHODS)
def test_every_printed_formula_gives_its_printed_value(size, method):
    made = plan(shape_of_size(size), Job(epochs=2.5, words=3, length=33), Rates(gpu="l4"), method)
    for figure in made.figures.values():
        assert evaluated(figure.numbers) == pytest.approx(figure.value, rel=1e-4), figure.name
        letters = set(re.findall(r"[A-Za-z][A-Za-z_0-9]*", figure.formula)) - {"ceil"}
        assert letters <= set(SYMBOLS) | set(made.figures), figure.name


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_order_of_the_methods(size):
    """Forward is paid by all, weights' gradients only by fine-tuning, and nothing comes near training anew."""
    by = {made.method: made for made in plans(shape_of_size(size), Job(), Rates(), tasks=[1, 10_000])}
    prompted = max(by["soft"]["flops"], by["prefix"]["flops"], by["lora"]["flops"])
    assert by["late"]["flops"] < by["soft"]["flops"]
    assert prompted < by["full"]["flops"] < by["scratch"]["flops"]
    assert by["full"]["flops"] / by["soft"]["flops"] < 3
    assert by["late"]["memory_bytes"] < by["soft"]["memory_bytes"] < by["full"]["memory_bytes"]
    assert by["soft"]["task_bytes"] < by["prefix"]["task_bytes"] < by["full"]["task_bytes"]
    assert by["soft"].tasks[10_000] < by["full"].tasks[10_000] / 1000


def test_costs_grow_with_the_work():
    shape, base = shape_of_size("2B"), Job()
    for method in set(METHODS) - {"scratch"}:
        first = plan(shape, base, Rates(), method)
        twice = plan(shape, base.model_copy(update={"epochs": base.epochs * 2}), Rates(), method)
        wider = plan(shape, base.model_copy(update={"batch_size": 32}), Rates(), method)
        assert twice["steps"] == 2 * first["steps"]
        assert first["flops"] < twice["flops"] <= 2 * first["flops"]
        assert wider["activation_bytes"] == pytest.approx(2 * first["activation_bytes"], rel=0.02)
        assert wider["memory_bytes"] > first["memory_bytes"]


def test_hours_energy_and_dollars_follow_from_the_rates():
    card = Gpu(memory_gib=100, peak_tflops=100, watts=500, usd_per_hour=2)
    prices = Prices(gpus={"card": card}, pue=1.5, kg_co2_per_kwh=0.4, usd_per_kwh=0.2)
    made = plan(shape_of_size("2B"), Job(), Rates(gpu="card", utilisation=0.5, prices=prices), "full")
    hours = made["flops"] / 50e12 / 3600
    assert made["gpu_hours"] == pytest.approx(hours)
    assert made["dollars"] == pytest.approx(2 * hours)
    assert made["kwh"] == pytest.approx(hours * 0.5 * 1.5)
    assert made["kg_co2"] == pytest.approx(made["kwh"] * 0.4)
    assert made["electricity"] == pytest.approx(made["kwh"] * 0.2)
    own = Rates(gpu="card", utilisation=0.5, prices=prices, price_per_hour=0.5)
    assert plan(shape_of_size("2B"), Job(), own, "full")["dollars"] == pytest.approx(0.5 * hours)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_fits_exactly_the_gpus_with_enough_memory(method):
    made = plan(shape_of_size("8B"), Job(), Rates(gpu="a100-40"), method)
    for name, gpu in GPUS.items():
        assert (name in made.fits) == (made["memory_bytes"] <= gpu.memory_gib * 2**30)
    assert (made["gpus"] == 1) == ("a100-40" in made.fits)


def test_stored_bytes_count_a_frozen_model_once():
    shape = shape_of_size("2B")
    for method in METHODS:
        kept = plan(shape, Job(), Rates(), method, tasks=[1, 101]).tasks
        each = (kept[101] - kept[1]) / 100
        model = 2 * shape.parameters
        assert each == (4 * _trained(shape, method) if method in FROZEN else model)
        assert kept[1] - each == pytest.approx(model if method in FROZEN else 0)


def _trained(shape, method):
    numbers = {
        "soft": 20 * shape.width,
        "prefix": 20 * 2 * shape.layers * shape.kv_heads * shape.head_size,
        "late": 20 * (shape.layers - round(shape.layers * 2 / 3)) * shape.width,
        "lora": flops.lora_parameters(shape, 8),
    }
    return numbers[method]


def test_the_claims_in_the_guide():
    """Against training anew a thousand times less holds; against fine-tuning on the same rows it does not."""
    for size in ("2B", "8B", "70B"):
        by = {made.method: made for made in plans(shape_of_size(size), Job(), Rates())}
        assert by["scratch"]["kwh"] > 1000 * by["soft"]["kwh"]
        assert by["full"]["kwh"] < 2.5 * by["soft"]["kwh"]
        assert by["full"]["task_bytes"] > 1000 * by["soft"]["task_bytes"]
    tuned = plan(shape_of_size("2B"), Job(), Rates(), "soft")
    assert 100 * tuned["dollars"] < 100  # even when a hundred settings are tried


def test_unknown_methods_gpus_and_layers_are_named():
    shape = shape_of_size("2B")
    with pytest.raises(CuetuneError, match="--method 'adapter'"):
        plan(shape, Job(), Rates(), "adapter")
    with pytest.raises(CuetuneError, match="--gpu"):
        plan(shape, Job(), Rates(gpu="abacus"), "soft")
    with pytest.raises(CuetuneError, match="layers 0 to 17"):
        plan(shape, Job(layer=18), Rates(), "late")
    entering_first = plan(shape, Job(layer=0), Rates(), "late")
    assert entering_first["flops"] == plan(shape, Job(), Rates(), "soft")["flops"]

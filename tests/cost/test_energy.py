"""The energy meter: units, honesty about what was measured, and no trace on disk, on the network or on the screen."""

import os
import socket
import sys
import time
from types import SimpleNamespace

import pytest

from cuetune.cost import energy
from cuetune.cost.energy import EnergyMeter
from cuetune.errors import CuetuneError


def busy(seconds=0.2):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_given_watts_are_multiplied_with_the_seconds():
    with EnergyMeter("cpu", watts=1000) as meter:
        busy()
    assert meter.kwh == pytest.approx(meter.seconds / 3600)
    assert meter.seconds >= 0.2
    assert meter.kind == "estimated"
    assert "1000 W (as given)" in meter.note


def test_without_codecarbon_the_assumption_is_stated(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with EnergyMeter("cpu") as meter:
        busy(0.01)
    assert meter.kind == "estimated"
    assert "65 W" in meter.note
    assert meter.kwh == pytest.approx(65 * meter.seconds / 3.6e6)


def test_codecarbon_is_quiet_local_and_leaves_no_file(tmp_path, monkeypatch, capfd):
    pytest.importorskip("codecarbon")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    tried = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: tried.append(address))
    with EnergyMeter("cpu") as meter:
        busy(0.5)
    assert meter.kwh > 0
    assert meter.kind in meter.note
    assert (tried, os.listdir(tmp_path)) == ([], [])
    assert capfd.readouterr() == ("", "")


def test_an_error_inside_the_block_is_passed_on_and_still_metered():
    meter = EnergyMeter("cpu", watts=10)
    with pytest.raises(ZeroDivisionError), meter:
        1 / 0  # noqa: B018
    assert meter.kwh > 0


@pytest.mark.parametrize("step", ["start", "stop"])
def test_a_meter_that_fails_does_not_end_the_run(monkeypatch, step):
    def refuse(*_, **__):
        raise PermissionError("no rights to read the counter")

    made = SimpleNamespace(start=lambda: None, stop=lambda: None)
    setattr(made, step, refuse)
    monkeypatch.setitem(sys.modules, "codecarbon", SimpleNamespace(OfflineEmissionsTracker=lambda **_: made))
    with EnergyMeter("cpu") as meter:
        pass
    assert meter.kind == "estimated"


class CPU:
    def __init__(self, mode):
        self._mode, self._tdp = mode, 120


@pytest.mark.parametrize(
    ("device", "mode", "gpu", "kind"),
    [
        ("cpu", "intel_rapl", 0.0, "measured"),
        ("cpu", "cpu_load", 0.0, "estimated"),
        ("cpu", "constant", 0.0, "estimated"),
        ("cuda", "constant", 0.5, "measured"),
        ("cuda", "intel_rapl", 0.0, "estimated"),
    ],
)
def test_only_a_counter_on_the_working_device_counts_as_measured(device, mode, gpu, kind):
    data = SimpleNamespace(energy_consumed=1.0, gpu_energy=gpu, ram_power=10.0)
    found, note = energy._judge(SimpleNamespace(_hardware=[CPU(mode)]), data, energy.torch.device(device))
    assert found == kind
    assert note.startswith(kind)
    assert ("processor estimated" in note) == (mode in ("cpu_load", "constant"))


def test_a_processor_that_was_not_read_is_said_so():
    data = SimpleNamespace(energy_consumed=1.0, gpu_energy=0.5, ram_power=10.0)
    kind, note = energy._judge(SimpleNamespace(_hardware=[]), data, energy.torch.device("cuda"))
    assert kind == "measured"
    assert "processor not read" in note


@pytest.mark.parametrize("watts", [0, -5, float("nan"), float("inf")])
def test_watts_that_are_no_power_are_refused(watts):
    with pytest.raises(CuetuneError, match="positive"):
        EnergyMeter("cpu", watts=watts)

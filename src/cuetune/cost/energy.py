"""Energy of a run in kilowatt-hours: measured where the hardware has counters, else estimated, and it says which."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch

from cuetune.cost.prices import gpu_called
from cuetune.errors import CuetuneError

CPU_WATTS = 65.0  # a desktop processor's rated power; stated in the note wherever it is used
READ_EVERY = 5  # seconds between two readings of power
COUNTERS = ("intel_rapl", "intel_power_gadget", "windows_emi", "powermetrics")


class EnergyMeter:
    """Energy between entering and leaving a `with` block, read by codecarbon when it is installed (extra `energy`).

    device: "cpu", "cuda", "cuda:1" or a torch.device. watts: power to multiply the seconds with, instead of asking the
    hardware. country: three-letter code; codecarbon needs one, but the energy does not depend on it. Nothing is sent
    anywhere and no file is written. Afterwards:

    kwh: kilowatt-hours. seconds: wall-clock. kind: "measured" when the device that does the work has an energy
    counter, else "estimated". note: how the number came about, in one sentence.
    Raises CuetuneError for watts that are not a positive number.
    """

    def __init__(self, device: str | torch.device, *, watts: float | None = None, country: str = "USA") -> None:
        if watts is not None and not 0 < watts < float("inf"):
            raise CuetuneError(f"watts {watts}: is no power; give a positive number of watts.")
        self.device = torch.device(device)
        self.watts, self.country = watts, country
        self.kwh, self.seconds, self.kind, self.note = 0.0, 0.0, "estimated", "the block has not ended"
        self._tracker: Any = None

    def __enter__(self) -> "EnergyMeter":
        self._tracker = None if self.watts is not None else _tracker(self.country, self.device)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._started
        data = _stopped(self._tracker)
        if data is None or not data.energy_consumed > 0:
            self._multiply()
        else:
            self.kwh = float(data.energy_consumed)
            self.kind, self.note = _judge(self._tracker, data, self.device)

    def _multiply(self) -> None:
        watts, whose = (self.watts, "as given") if self.watts is not None else _rated(self.device)
        self.kwh, self.kind = watts * self.seconds / 3.6e6, "estimated"
        self.note = f"estimated: {self.seconds:.1f} s at {watts:g} W ({whose}), whatever the load was."


def _tracker(country: str, device: torch.device) -> Any:
    """A running codecarbon tracker, or None where it is missing or does not work."""
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return None
    try:
        with _silent():
            tracker = OfflineEmissionsTracker(
                country_iso_code=country,
                gpu_ids=[device.index or 0] if device.type == "cuda" else None,
                measure_power_secs=READ_EVERY,
                output_methods=[],
                allow_multiple_runs=True,
                log_level="critical",
            )
            tracker.start()
    except Exception:  # a meter must not end a run: power readings need rights that many machines do not give
        return None
    return tracker


@contextmanager
def _silent() -> Iterator[None]:
    """Without words of codecarbon, which speaks before it reads its own log level; that level is the program's."""
    logger = logging.getLogger("codecarbon")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _stopped(tracker: Any) -> Any:
    if tracker is None:
        return None
    try:
        with _silent():
            tracker.stop()
    except Exception:  # as above: the run's result is worth more than its meter
        return None
    return getattr(tracker, "final_emissions_data", None)


def _judge(tracker: Any, data: Any, device: torch.device) -> tuple[str, str]:
    """Whether this was measured, and what of it."""
    cpu = next((part for part in getattr(tracker, "_hardware", []) if type(part).__name__ == "CPU"), None)
    counted = getattr(cpu, "_mode", "") in COUNTERS
    rated = f"codecarbon's rated {getattr(cpu, '_tdp', 0) or 0:g} W times its load"
    said = "processor counted" if counted else f"processor estimated ({rated})" if cpu else "processor not read"
    memory = f"memory estimated ({data.ram_power:.0f} W)"
    if device.type == "cuda" and data.gpu_energy > 0:
        share = data.gpu_energy / data.energy_consumed
        return "measured", f"measured: GPU counted by its driver ({share:.0%} of the energy), {said}, {memory}."
    if device.type != "cuda" and counted:
        return "measured", f"measured: {said} by its own energy counter, {memory}."
    return "estimated", f"estimated: {said}, {memory}."


def _rated(device: torch.device) -> tuple[float, str]:
    """Rated power of a device in watts, and where the number is from."""
    if device.type != "cuda":
        return CPU_WATTS, "assumed for a processor; give watts for yours"
    name = torch.cuda.get_device_name(device)
    known = gpu_called(name)
    return (known.watts, f"rated power of {name}") if known else (400.0, f"assumed for {name}; give watts for yours")

"""What hardware and electricity cost: defaults with their source, and a file of the user's own that overrides them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cuetune.errors import CuetuneError
from cuetune.support.strict_json import DAMAGED, reason_of


class Gpu(BaseModel):
    """One GPU model. memory_gib as its driver reports it; peak_tflops: dense 16-bit matrix products, in 10^12 FLOP/s;
    watts: rated power; usd_per_hour: to rent one; source: of the price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_gib: float = Field(gt=0)
    peak_tflops: float = Field(gt=0)
    watts: float = Field(gt=0)
    usd_per_hour: float = Field(ge=0)
    source: str = "given by the user"


def _listed(memory: float, peak: float, watts: float, price: float, source: str) -> Gpu:
    return Gpu(memory_gib=memory, peak_tflops=peak, watts=watts, usd_per_hour=price, source=f"{source}; check yours")


# Memory, speed and power are NVIDIA's data sheets; the T4 has no bfloat16, its speed is for float16.
GPUS = {
    "t4": _listed(15.0, 65, 70, 0.35, "list price, Google Cloud, 2025"),
    "l4": _listed(22.5, 121, 72, 0.71, "list price, Google Cloud, 2025"),
    "a10": _listed(22.5, 125, 150, 0.75, "list price, Lambda, 2025"),
    "rtx-4090": _listed(24.0, 165, 450, 0.69, "list price, RunPod, 2025"),
    "a100-40": _listed(40.0, 312, 400, 1.29, "list price, Lambda, 2025"),
    "l40s": _listed(45.0, 362, 350, 1.86, "list price, Amazon Web Services, 2025"),
    "a100-80": _listed(80.0, 312, 400, 1.99, "middle of list prices of 1.49 to 2.49, early 2026"),
    "h100": _listed(79.6, 989, 700, 2.95, "median list price of 37 providers, May 2026 (AIMultiple GPU index)"),
    "h200": _listed(140.4, 989, 700, 4.00, "middle of list prices of 3.50 to 4.50, May 2026"),
    "b200": _listed(179.0, 2250, 1000, 4.99, "list price, Lambda, 2025"),
}


class Prices(BaseModel):
    """GPUs by name, and electricity.

    usd_per_kwh: price of electricity, for those who run their own machine. kg_co2_per_kwh: of the grid; the default is
    the world's average of 2024 (Ember, Global Electricity Review 2025). pue: the data centre's energy by that of its
    machines; the default is the average of a survey of data centres (Uptime Institute, 2024).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: dict[str, Gpu] = Field(default_factory=lambda: dict(GPUS))
    usd_per_kwh: float = Field(0.15, ge=0)
    kg_co2_per_kwh: float = Field(0.473, ge=0)
    pue: float = Field(1.56, ge=1)

    def gpu(self, name: str) -> Gpu:
        """One GPU by name. Raises CuetuneError for a name that is not in the table."""
        found = self.gpus.get(name.strip().lower().replace(" ", "-").replace("_", "-"))
        if found is None:
            raise CuetuneError(
                f"--gpu {name!r}: not in the table; use one of {', '.join(self.gpus)}, or add it with --prices FILE."
            )
        return found

    def by_memory(self) -> list[tuple[str, Gpu]]:
        return sorted(self.gpus.items(), key=lambda item: (item[1].memory_gib, item[1].usd_per_hour))


def gpu_called(device: str) -> Gpu | None:
    """The GPU that a driver calls e.g. "NVIDIA GeForce RTX 4090" or "NVIDIA A100-SXM4-80GB"; None for a stranger."""
    words = re.split(r"[^a-z0-9]+", device.lower())
    models = [key for key in GPUS if key.removeprefix("rtx-").split("-")[0] in words]
    return GPUS[models[-1]] if models else None


def read_prices(path: str | Path) -> Prices:
    """The defaults with what a JSON or TOML file says instead; a GPU that is known needs only the fields that differ.

    Raises CuetuneError for a file that is missing or malformed, an unknown field, or a number out of range.
    """
    path = Path(path)
    given = _parsed(path)
    gpus: dict[str, Any] = {name: gpu.model_dump() for name, gpu in GPUS.items()}
    own = given.pop("gpus", {})
    if not isinstance(own, dict) or not all(isinstance(fields, dict) for fields in own.values()):
        raise CuetuneError(f"{path}: gpus: expected one table per GPU, e.g. [gpus.h100] with usd_per_hour = 2.5.")
    for name, fields in own.items():
        gpus[name.lower()] = {**gpus.get(name.lower(), {}), "source": f"from {path.name}", **fields}
    try:
        return Prices.model_validate({**given, "gpus": gpus})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CuetuneError(f"{path}: {where}: {first['msg'].lower()}; found {first.get('input')!r}.") from error


def _parsed(path: Path) -> dict[str, Any]:
    readers = {".json": json.loads, ".toml": tomllib.loads}
    if path.suffix.lower() not in readers:
        raise CuetuneError(f"{path}: prices are read from .json or .toml files; rename or convert it.")
    try:
        found = readers[path.suffix.lower()](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CuetuneError(f"{path}: cannot be read ({error.strerror}); check --prices.") from error
    except DAMAGED as error:
        raise CuetuneError(f"{path}: is not valid {path.suffix[1:].upper()} ({reason_of(error)}).") from error
    if not isinstance(found, dict):
        raise CuetuneError(f"{path}: expected an object with gpus, usd_per_kwh, kg_co2_per_kwh or pue.")
    return found

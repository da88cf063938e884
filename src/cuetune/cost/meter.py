"""What a run costs: seconds, floating-point operations, memory, stored bytes."""

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from cuetune.backbones.base import Backbone


def matrix_parameters(backbone: Backbone) -> int:
    """Parameters of the decoder's layers: each costs one multiply-add per token. Embedding tables cost none."""
    tables = {id(module.weight) for module in backbone.model.modules() if isinstance(module, torch.nn.Embedding)}
    head = backbone.model.get_output_embeddings()
    if head is not None:
        tables.add(id(head.weight))
    return sum(parameter.numel() for parameter in backbone.model.parameters() if id(parameter) not in tables)


def weight_bytes(backbone: Backbone) -> int:
    """Bytes of a backbone's weights as they are held in memory; tied ones once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in backbone.model.parameters())


def reset_peak(device: torch.device) -> None:
    """Begin a new measurement of peak memory on `device`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform.startswith("linux"):
        with suppress(OSError):  # hidden or read-only in some containers; the peak is then that of the whole process
            Path("/proc/self/clear_refs").write_text("5")


def settled_memory(device: torch.device) -> int:
    """Bytes that are held now, after everything that an earlier run left behind has been given back."""
    gc.collect()
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None:
        trim(0)  # the loop asks glibc to keep freed memory (`compat.keep_freed_memory`)
    return _resident()


def peak_memory(device: torch.device) -> int:
    """Peak bytes since `reset_peak`: allocated on a GPU, resident in this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
    return _resident()


def _resident() -> int:
    """Bytes of this process in memory now, or where the system hides that, at most so far."""
    try:
        return int(psutil.Process().memory_info().rss)
    except (OSError, psutil.Error):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

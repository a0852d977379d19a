"""How much memory a stretch of the program takes at most, as the kernel counts it."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

_MEBIBYTE = 1024 * 1024
_KERNEL = Path("/proc/self")


def is_measurable() -> bool:
    return sys.platform == "linux" and (_KERNEL / "clear_refs").exists()


def mark() -> int:
    """Give unused memory back, forget the peak so far; the bytes that are resident now."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    (_KERNEL / "clear_refs").write_text("5")
    return _read("VmRSS")


def extra_since(before: int) -> float:
    """MiB above what :func:`mark` said, at the highest point since."""
    return max(0, _read("VmHWM") - before) / _MEBIBYTE


def _read(field: str) -> int:
    for line in (_KERNEL / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"the kernel does not tell {field}")

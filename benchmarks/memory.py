"""Memory of rows as Python allocates it, and of the process as the Linux kernel counts it."""

from __future__ import annotations

import ctypes
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KERNEL = Path("/proc/self")


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the bytes allocated in the block and still in use."""
    gc.collect()
    tracemalloc.start()

    def size() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    try:
        yield size
    finally:
        tracemalloc.stop()


def start() -> int:
    """Return free memory to the system, forget the peak, and return the resident bytes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    (KERNEL / "clear_refs").write_text("5")  # 5 resets the peak
    return _read("VmRSS")


def peak() -> int:
    """Return the highest number of resident bytes since :func:`start`."""
    return _read("VmHWM")


def is_measurable() -> bool:
    """Return True if the kernel reports the peak."""
    return (KERNEL / "clear_refs").exists()


def _read(field: str) -> int:
    for line in (KERNEL / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"the kernel does not report {field}")

"""Memory of the test process."""

from pathlib import Path

PAGE_BYTES = 4096


def memory_in_use() -> int:
    """Return the resident set size of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES

"""Debian's PostgreSQL, where it is installed: the other server that the package is checked on."""

from pathlib import Path

DEBIAN_15 = Path("/usr/lib/postgresql/15")

"""Measures the package beside plain asyncpg and other libraries, see docs/benchmarks.md."""

"""Benchmarks of Umbel beside its peers. ``python -m benchmarks run`` prints the table."""

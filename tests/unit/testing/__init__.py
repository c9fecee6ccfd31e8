"""Tools for tests, tested."""

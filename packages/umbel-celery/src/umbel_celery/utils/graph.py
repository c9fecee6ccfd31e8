"""``celery.utils.graph``: results as a graph."""

from __future__ import annotations

from umbel.app.result_graphs import DependencyGraph, GraphFormatter

__all__ = ["DependencyGraph", "GraphFormatter"]

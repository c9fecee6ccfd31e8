"""Calls as values, and how they are joined into workflows."""

# The kinds of workflows register themselves, so that a mapping from anywhere finds its kind.
from umbel.workflows import canvas as canvas

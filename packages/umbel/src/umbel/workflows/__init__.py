"""Calls as values, and how they are joined into workflows."""

"""Watching a fleet: what workers tell, who listens, and what the listener makes of it."""

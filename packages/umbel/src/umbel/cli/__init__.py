"""The commands: ``umbel worker``, ``umbel dev``, ``umbel call`` and the rest."""

"""The kinds of workflows by their names: chain, group, chord, chunks, xmap, xstarmap.

Importing this module makes all of them known to ``Signature.from_dict``.
"""

from __future__ import annotations

from umbel.workflows.chains import chain
from umbel.workflows.chords import chord
from umbel.workflows.groups import group
from umbel.workflows.joined import Workflow
from umbel.workflows.repeats import chunks, xmap, xstarmap

__all__ = ["Workflow", "chain", "chord", "chunks", "group", "xmap", "xstarmap"]

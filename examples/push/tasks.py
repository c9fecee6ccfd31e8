"""One message to many receivers, no faster than the push service takes them."""

import os
from pathlib import Path

from umbel import Umbel

app = Umbel("push")
OUTBOX = Path(os.environ.get("PUSH_OUTBOX", "pushed.txt"))
"""Stands for the push service: a line for every message it got."""


@app.task(rate_limit=os.environ.get("PUSH_RATE", "50/s"), ignore_result=False)
def push(device: str, text: str) -> str:
    """Hand one message to the service."""
    with OUTBOX.open("a", encoding="utf-8") as file:
        file.write(f"{device}\t{text}\n")
    return device

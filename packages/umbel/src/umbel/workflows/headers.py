"""How the header of a chord ended, on its way from where it is read to where its body is begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class HeaderOver(msgspec.Struct, frozen=True):
    """What reading the parts of a header came to: values for the body, or its error."""

    join_id: str
    body: Mapping[str, Any]
    values: list[Any] | None
    error: BaseException | None

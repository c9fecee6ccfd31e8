"""The fields of a stored result document as attributes of its handle.

Mixed into ``AsyncResult`` and nothing else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from umbel.wire.moments import read_moment


class StoredMetadata:
    """What is stored of a run. Each read asks the store, until the run is over."""

    __slots__ = ()

    task_name: str | None

    @abstractmethod
    def _get_meta(self) -> Mapping[str, Any]:
        """Return the document that is stored now."""

    @property
    def state(self) -> str:
        """Where the run stands; PENDING when nothing is stored under its id."""
        return str(self._get_meta()["status"])

    status = state

    @property
    def result(self) -> Any:
        """The value, the exception, or what the task told with ``update_state``."""
        return self._get_meta()["result"]

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback in the worker, as text."""
        return self._get_meta().get("traceback")

    @property
    def date_done(self) -> datetime | None:
        """When the run was over, aware."""
        return read_moment(self._get_meta().get("date_done"), "date_done of the result")

    @property
    def group_id(self) -> str | None:
        """The group that the run belongs to."""
        return self._get_meta().get("group_id")

    # The rest is stored with ``result_extended`` only.

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._get_meta().get("name") or self.task_name

    @property
    def args(self) -> Any:
        """The positional arguments."""
        return self._get_meta().get("args")

    @property
    def kwargs(self) -> Any:
        """The keyword arguments."""
        return self._get_meta().get("kwargs")

    @property
    def worker(self) -> str | None:
        """The node name of the worker."""
        return self._get_meta().get("worker")

    @property
    def retries(self) -> int | None:
        """How often it had been retried."""
        return self._get_meta().get("retries")

    @property
    def queue(self) -> str | None:
        """The routing key by which the message came."""
        return self._get_meta().get("queue")

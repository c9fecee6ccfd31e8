"""``celery.backends.base``: the classes that result backends of other packages subclass.

A setting ``result_backend`` that names such a class (by an entry point of the group
``celery.result_backends``, or as ``module:Class``) has it used behind Umbel's own port
(``umbel.app.classic_results``). Umbel's own stores are no subclasses of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from umbel.app.current import app_or_default
from umbel.app.result_trees import result_from_tuple
from umbel.errors import NoResultBackend, NotSupported, ResultTimeout
from umbel.wire.portable_errors import from_portable
from umbel.wire.result_meta import stored_exception
from umbel.wire.serializers import SERIALIZERS
from umbel_celery import states
from umbel_celery._state import get_current_task

if TYPE_CHECKING:
    from umbel.app.app import App


class BaseBackend:
    """Stores what became of tasks. Subclasses say how one document is stored and found.

    They define ``_store_result``, ``_get_task_meta_for``, ``_forget`` and, for groups,
    ``_save_group``, ``_restore_group`` and ``_delete_group``.
    """

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    TimeoutError = ResultTimeout
    subpolling_interval: float | None = None
    """Seconds between two looks for a result that somebody waits for."""
    supports_native_join = False
    supports_autoexpire = False
    persistent = True

    def __init__(
        self,
        app: App | None = None,
        serializer: str | None = None,
        max_cached_results: int | None = None,  # noqa: ARG002 - Celery's
        accept: Iterable[str] | None = None,
        expires: float | timedelta | None = None,
        expires_type: Any = None,
        url: str | None = None,
        **_: Any,
    ) -> None:
        self.app = app_or_default(app)
        settings = self.app.settings
        self.serializer = serializer or settings.result_serializer
        self._serializer = SERIALIZERS.get(self.serializer)
        self.content_type = self._serializer.content_type
        self.content_encoding = self._serializer.content_encoding
        self.accept = accept or settings.result_accept_content or settings.accept_content
        self.expires = self.prepare_expires(expires, expires_type)
        self.url = url

    def prepare_expires(self, value: Any, type: Any = None) -> Any:  # noqa: A002 - Celery's
        """Return how long results live: the setting's seconds where None is given."""
        if value is None:
            value = self.app.settings.result_expires
        if isinstance(value, timedelta):
            value = value.total_seconds()
        return type(value) if value is not None and type else value

    # --- bytes ------------------------------------------------------------------------------------

    def encode(self, data: Any) -> Any:
        """Return a value as it is stored: text for JSON, else bytes."""
        return self._encode(data)[2]

    def _encode(self, data: Any) -> tuple[str, str, Any]:
        payload = self._serializer.dumps(data)
        binary = self.content_encoding == "binary"
        return self.content_type, self.content_encoding, payload if binary else payload.decode()

    def decode(self, payload: Any) -> Any:
        """Return the value that is stored so."""
        if payload is None:
            return None
        return self._serializer.loads(payload.encode() if isinstance(payload, str) else payload)

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """Return an exception in the form that the serializer can write."""
        chosen = self._serializer if serializer is None else SERIALIZERS.get(serializer)
        return stored_exception(exc, chosen)

    def exception_to_python(self, exc: Any) -> Any:
        """Return the exception that a stored form stands for."""
        return exc if exc is None or isinstance(exc, BaseException) else from_portable(exc)

    def encode_result(self, result: Any, state: str) -> Any:
        """Return a result as it is stored: exceptions of states that have them, portable."""
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return result.as_tuple() if hasattr(result, "as_tuple") else result

    def meta_from_decoded(self, meta: Any) -> Any:
        """Return a document with its exception made anew."""
        if meta["status"] in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta["result"])
        return meta

    def decode_result(self, payload: Any) -> Any:
        """Return the document that is stored so."""
        return self.meta_from_decoded(self.decode(payload))

    def current_task_children(self, request: Any = None) -> list[Any]:
        """Return the handles of what a run has sent, as they are stored."""
        request = request or getattr(get_current_task(), "request", None)
        children = getattr(request, "children", None) if request is not None else None
        return [each.as_tuple() for each in children or ()]

    def _get_result_meta(
        self,
        result: Any,
        state: str,
        traceback: Any,
        request: Any,
        format_date: bool = True,
        encode: bool = False,  # noqa: ARG002 - Celery's
    ) -> dict[str, Any]:
        done = datetime.now(UTC) if state in self.READY_STATES else None
        return {
            "status": state,
            "result": result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": done.isoformat() if done is not None and format_date else done,
            **(
                {"group_id": request.group, "parent_id": request.parent_id}
                if request is not None and getattr(request, "group", None)
                else {}
            ),
        }

    # --- what callers ask -------------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Store what became of a task; return the result as it is stored."""
        result = self.encode_result(result, state)
        self._store_result(task_id, result, state, traceback, request=request, **kwargs)
        return result

    def get_task_meta(self, task_id: str, cache: bool = True) -> Any:  # noqa: ARG002 - Celery's
        """Return what is stored of a task; PENDING where there is nothing."""
        meta = self._get_task_meta_for(task_id)
        return meta if meta is not None else {"status": states.PENDING, "result": None}

    def get_state(self, task_id: str) -> str:
        """Return a task's state."""
        return str(self.get_task_meta(task_id)["status"])

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """Return a task's result, or exception."""
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: str) -> Any:
        """Return a task's traceback, as text."""
        return self.get_task_meta(task_id).get("traceback")

    def forget(self, task_id: str) -> None:
        """Delete what is stored of a task."""
        self._forget(task_id)

    def save_group(self, group_id: str, result: Any) -> Any:
        """Store a group's members."""
        return self._save_group(group_id, result)

    def restore_group(self, group_id: str, cache: bool = True) -> Any:  # noqa: ARG002 - Celery's
        """Return a group's handle, or None."""
        meta = self._restore_group(group_id)
        return None if meta is None else meta["result"]

    def delete_group(self, group_id: str) -> None:
        """Delete a group."""
        self._delete_group(group_id)

    def cleanup(self) -> None:
        """Delete what has expired."""

    def process_cleanup(self) -> None:
        """Called when a process ends."""

    def apply_chord(self, *_: Any, **__: Any) -> Any:
        """Refuse: Umbel counts chords itself, in stores that can."""
        raise NotSupported(f"{type(self).__name__} cannot count the header of a chord for Umbel.")

    def on_chord_part_return(self, *_: Any, **__: Any) -> None:
        """Do nothing: as ``apply_chord``."""

    # --- what subclasses define -------------------------------------------------------------------

    def _store_result(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _store_result.")

    def _get_task_meta_for(self, task_id: str) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _get_task_meta_for.")

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines no _forget.")

    def _save_group(self, group_id: str, result: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _save_group.")

    def _restore_group(self, group_id: str) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _restore_group.")

    def _delete_group(self, group_id: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} defines no _delete_group.")


class SyncBackendMixin:
    """In Celery, waiting by looking again and again; Umbel's handles wait by themselves."""


class Backend(BaseBackend, SyncBackendMixin):
    """As ``BaseBackend``."""


BaseDictBackend = Backend


class BaseKeyValueStoreBackend(Backend):
    """Stores documents under keys. Subclasses define ``get``, ``mget``, ``set``, ``delete``."""

    task_keyprefix = "celery-task-meta-"
    group_keyprefix = "celery-taskset-meta-"
    implements_incr = False

    def get(self, key: Any) -> Any:
        """Return what is stored under a key, or None."""
        raise NotImplementedError(f"{type(self).__name__} defines no get.")

    def mget(self, keys: Any) -> Any:
        """Return what is stored under these keys."""
        return [self.get(key) for key in keys]

    def set(self, key: Any, value: Any) -> Any:
        """Store something under a key."""
        raise NotImplementedError(f"{type(self).__name__} defines no set.")

    def delete(self, key: Any) -> Any:
        """Delete what is stored under a key."""
        raise NotImplementedError(f"{type(self).__name__} defines no delete.")

    def get_key_for_task(self, task_id: str, key: str = "") -> Any:
        """Return the key of a task."""
        return f"{self.task_keyprefix}{task_id}{key}"

    def get_key_for_group(self, group_id: str, key: str = "") -> Any:
        """Return the key of a group."""
        return f"{self.group_keyprefix}{group_id}{key}"

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **_: Any,
    ) -> Any:
        meta = self._get_result_meta(result, state, traceback, request)
        self.set(self.get_key_for_task(task_id), self.encode({**meta, "task_id": task_id}))
        return result

    def _get_task_meta_for(self, task_id: str) -> Any:
        found = self.get(self.get_key_for_task(task_id))
        return self.decode_result(found) if found else None

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        self.set(self.get_key_for_group(group_id), self.encode({"result": result.as_tuple()}))
        return result

    def _restore_group(self, group_id: str) -> Any:
        found = self.get(self.get_key_for_group(group_id))
        if not found:
            return None
        meta = self.decode(found)
        return {**meta, "result": result_from_tuple(meta["result"], app=self.app)}

    def _delete_group(self, group_id: str) -> None:
        self.delete(self.get_key_for_group(group_id))


KeyValueStoreBackend = BaseKeyValueStoreBackend


class DisabledBackend(BaseBackend):
    """What Celery has where no results are kept. Umbel has none then; this is for isinstance."""

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def get_task_meta(
        self,
        task_id: str,  # noqa: ARG002 - Celery's
        cache: bool = True,  # noqa: ARG002 - as above
    ) -> Mapping[str, Any]:
        """Refuse."""
        raise NoResultBackend("No result backend is configured: set result_backend.")


__all__ = [
    "Backend",
    "BaseBackend",
    "BaseDictBackend",
    "BaseKeyValueStoreBackend",
    "DisabledBackend",
    "KeyValueStoreBackend",
    "SyncBackendMixin",
    "get_current_task",
]

"""chord: calls side by side, and one for all. Users make it by name, or by ``group | task``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

from umbel.errors import UsageError
from umbel.workflows import policies
from umbel.workflows.binding import Host, R
from umbel.workflows.groups import WIDE, group
from umbel.workflows.joined import Workflow, as_signature
from umbel.workflows.planning import Sig, read_all
from umbel.workflows.signature import Signature


@Signature.register_type()
class chord(Workflow[R]):  # noqa: N801 - Celery's name
    """Calls side by side (the header), and one that gets the list of their values (the body).

    The value is the body's. Where a call of the header fails, the others go on, the body does not
    run and fails with a ChordError.
    """

    task_name = "celery.chord"

    def __init__(
        self,
        header: Any = (),
        body: Any = None,
        task: str = "celery.chord",  # noqa: ARG002 - Celery's signature
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Host | None = None,
        policy: str | None = None,
        **options: Any,
    ) -> None:
        """``header``: signatures or a group; ``args`` and ``kwargs`` are given to each of them.

        ``policy``: which ends of the header have the body run, as ``policies`` has them. Raises
        UsageError for one that is none.
        """
        if policy is not None:
            options[policies.OPTION] = policies.checked(policy)
        if not isinstance(header, Mapping):
            header = group(header, app=app)
        elif header.get("subtask_type") not in ("group", "chunks"):
            header = group(as_signature(header), app=app)
        whole = {
            "kwargs": dict(kwargs or {}),
            "header": as_signature(header),
            "body": None if body is None else as_signature(body),
        }
        super().__init__(whole, options, app)
        self["args"] = tuple(args or ())

    def _adopt(self, change: Callable[[Any], Any]) -> None:
        kwargs = self["kwargs"]
        header = kwargs.get("header")
        header = change(header) if isinstance(header, Mapping) else group(map(change, header or ()))
        body = kwargs.get("body")
        body = None if body is None else change(body)
        self["kwargs"] = {**kwargs, "header": header, "body": body}

    def _adopt_last(self, app: Host | None) -> None:
        self._adopt(lambda one: as_signature(one, app))

    def parts(self) -> Iterator[Signature[Any]]:
        """Walk header and body."""
        yield self["kwargs"]["header"]
        if self["kwargs"].get("body") is not None:
            yield self["kwargs"]["body"]

    @property
    def tasks(self) -> list[Signature[Any]]:
        """The calls of the header."""
        return cast("list[Signature[Any]]", self["kwargs"]["header"]["kwargs"]["tasks"])

    @tasks.setter
    def tasks(self, header: Any) -> None:
        self["kwargs"]["header"] = header if isinstance(header, group) else group(header)

    @property
    def body(self) -> Signature[R]:
        """What gets their values."""
        return cast("Signature[R]", self["kwargs"]["body"])

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = as_signature(body)

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body if one is given."""
        whole = self
        if body is not None:
            whole = self.clone()
            whole.body = body
        return whole.apply_async((), {}, **options)

    def members(self) -> list[Signature[Any]]:
        """Return the calls of the header."""
        return self.tasks

    def _wide(self) -> Self | None:
        header = self["kwargs"]["header"]
        policy = policies.checked(self.options.get(policies.OPTION))
        if not isinstance(header, group) or len(header) <= WIDE or policies.wanted_by(policy):
            return None
        parts = {**self, "kwargs": {**self["kwargs"], "header": header.empty()}}
        return self.of_parts(parts, self.own_app())

    def _called(self, options: Mapping[str, Any]) -> Sig:
        given = dict(options)
        # Where Celery polls for the end of a header; here the store counts.
        for name in ("interval", "max_retries"):
            given.pop(name, None)
        body = given.pop("body", None)
        if body is None and self["kwargs"].get("body") is None:
            raise UsageError("this chord has no body: chord(header, body), or chord(header)(body).")
        whole = super()._called(given)
        if body is not None:
            whole["kwargs"]["body"] = read_all(as_signature(body))
        return whole

    def run(self, header: Any, body: Any, partial_args: Sequence[Any] = (), **options: Any) -> Any:
        """Send this header and this body."""
        return chord(header, body, args=partial_args, app=self._app).apply_async(**options)

    def link(self, callback: Any) -> Any:
        """Have ``callback`` sent when the body succeeded; return the callback."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Have ``errback`` called when the header or the body failed; return the errback."""
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Say of the calls of the header whether they keep their arguments as they are."""
        self["kwargs"]["header"].set_immutable(immutable)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        header = ", ".join(map(repr, self.tasks))
        return f"chord([{header}], {self['kwargs'].get('body')!r})"

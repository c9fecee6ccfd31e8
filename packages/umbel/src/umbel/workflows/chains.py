"""chain: calls one after another. Users make it by name or with ``|``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from umbel.workflows.binding import Host, R, RunHandle
from umbel.workflows.joined import Workflow, as_signature, gathered
from umbel.workflows.signature import Signature


@Signature.register_type()
class chain(Workflow[R]):  # noqa: N801 - Celery's name
    """Calls one after another, each with the value of the one before: ``a.s() | b.s()``.

    The value is that of the last. A call that fails ends it: those after it fail with its error.
    """

    task_name = "celery.chain"

    def __init__(self, *tasks: Any, app: Host | None = None, **options: Any) -> None:
        """``tasks``: signatures, one by one or in one iterable; ``options``: those of the first."""
        super().__init__({"tasks": [as_signature(one) for one in gathered(tasks)]}, options, app)

    @property
    def tasks(self) -> list[Signature[Any]]:
        """The calls, in order."""
        return cast("list[Signature[Any]]", self["kwargs"]["tasks"])

    def set_immutable(self, immutable: bool) -> None:
        """Say of the first call whether it keeps its arguments as they are."""
        self["immutable"] = bool(immutable)

    def unchain_tasks(self) -> list[Signature[Any]]:
        """Return copies of the calls, each with the error callbacks of the chain."""
        steps = [one.clone() for one in self.tasks]
        for step, errback in itertools.product(steps, self.options.get("link_error") or ()):
            step.link_error(errback)
        return steps

    def run(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunHandle[R]:
        """Do as ``apply_async``."""
        return self.apply_async(args, kwargs, **options)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        # A position gives the call there, as in Celery; a key what the mapping has.
        return self.tasks[key] if isinstance(key, int | slice) else dict.__getitem__(self, key)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"

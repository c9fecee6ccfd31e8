"""A workflow as calls of one app: planned, each of its messages checked and routed.

Called by ``workflow_sending``, by runs that are replaced or add to their chord, by eager runs, and
by workers for what follows a run. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from umbel.app.send_plan import Call
from umbel.errors import NoResultBackend
from umbel.workflows.freezing import assign_ids
from umbel.workflows.planning import Launch, Sig, normal

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.ports import ResultBackend


def planned(app: App, sig: Sig) -> Sig:
    """Return the normal form of a workflow, every node with an id."""
    assign_ids(sig)
    return normal(sig, errbacks_in_header=app.settings.task_allow_error_cb_on_chord_header)


def counting_backend(app: App) -> ResultBackend:
    """Return where chords are counted. Raises NoResultBackend where nothing can."""
    if not app.has_result_backend:
        raise NoResultBackend(
            "a chord needs a result backend, which counts the ends of its header, and this app has "
            "none: set result_backend, such as redis://localhost or sqlite:///results.db."
        )
    backend = app.result_backend
    if not backend.counts_joins:
        raise NoResultBackend(
            f"the result backend {app.settings.result_backend} cannot count the header of a chord. "
            "Use one that can (Redis, PostgreSQL, SQLite), or a group and a task that asks for its "
            "results."
        )
    return backend


def prepared(app: App, step: Launch) -> Call:
    """Return one message of a workflow, checked and routed as a call of its task is."""
    plan = app.plan_for(step.task)
    args: Sequence[Any] = step.args
    kwargs: Mapping[str, Any] = step.kwargs
    if plan.task is not None:
        args, kwargs = plan.task.checked_call(args, kwargs)
    return plan.prepare(args, kwargs, step.options)

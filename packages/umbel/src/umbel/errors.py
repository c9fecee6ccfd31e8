"""Every exception Umbel raises on purpose.

* UmbelError
  x UsageError                     the caller can fix it; the message says how
    + ImproperlyConfigured         a setting, URL or option is wrong
      - UnknownSetting
      - QueueNotFound
      - NoResultBackend            results are asked for, and nothing keeps them
    + NotSupported                 the broker or store in use cannot do it
    + NotResting                   no such task was set aside or rests until later (a LookupError)
    + NotRegistered                no task of that name
    + AlreadyRegistered
    + TaskSignatureMismatch        wrong arguments for the task (also a TypeError)
    + UnknownOption                an option no call or task has (also a TypeError)
    + InvalidOption                an option with a value it cannot have (also a ValueError)
    + EncodeError                  a value the serializer cannot write
    + JoinRefused                  waiting for a result inside a task (also a RuntimeError)
  x WireError                      bytes that are not what they claim to be
    + DecodeError
    + ContentDisallowed            a serializer that the accept list does not name
    + UnsupportedProtocol
  x DriverError                    the world outside
    + OperationalError             the name Celery users catch
      - BrokerUnavailable          not reached before the deadline; nothing was sent
      - OutcomeUnknown             sent, not confirmed: it may or may not be there
      - Unroutable                 no queue takes it
      - BackendUnavailable         the result store cannot be reached
    + LeaseLost                    the claim ran out and somebody else may hold it
  x TaskFault                      something about one run of one task
    + TaskError                    a stored failure whose class is not known here
    + TaskInterrupted              raised inside a task that should end
      - SoftTimeLimitExceeded
      - Terminated                 revoked with ``terminate``, where no signal can be sent
    + TimeLimitExceeded
    + WorkerLostError              the executor died under the task
    + TaskRevokedError
    + MaxRetriesExceededError
    + ChordError
    + IncompleteStream
    + BackendGetMetaError
  x ResultTimeout                  ``get(timeout=...)`` ran out (also a builtin TimeoutError)
* TaskDirective                    not errors: a task raises one to say what happens next
  x Retry
  x Ignore
  x Reject
* UmbelWarning                     nothing failed, but it is probably not what was meant
  x DuplicateTaskNameWarning
  x UnknownOptionWarning
  x AlwaysEagerIgnored
"""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any


class UmbelError(Exception):
    """Base of every error Umbel raises on purpose."""


# --- the caller can fix it ------------------------------------------------------------------------


class UsageError(UmbelError):
    """The call, the setting or the command is wrong; the message says what to change."""


class ImproperlyConfigured(UsageError):
    """A setting, URL or option is wrong."""


class UnknownSetting(ImproperlyConfigured):
    """A setting nobody has heard of; the message carries the nearest known name."""


class QueueNotFound(ImproperlyConfigured, KeyError):
    """A queue that is not configured, while creating missing queues is switched off."""

    __str__ = Exception.__str__


class NoResultBackend(ImproperlyConfigured, NotImplementedError):
    """A result was asked for, but no result backend is configured."""


class NotSupported(UsageError, NotImplementedError):
    """The broker or result store in use cannot do what was asked; another one can."""


class NotResting(UsageError, LookupError):
    """No task of that id was set aside or rests until its time."""


class NotRegistered(UsageError, KeyError):
    """No task of that name is registered."""

    __str__ = Exception.__str__


class AlreadyRegistered(UsageError):
    """Two tasks claim one name."""


class TaskSignatureMismatch(UsageError, TypeError):
    """The arguments do not fit the task's signature."""


class UnknownOption(UsageError, TypeError):
    """An option that no call has; the message carries the nearest known one."""


class InvalidOption(UsageError, ValueError):
    """An option of a call has a value that it cannot have; the message says what it takes."""


class EncodeError(UsageError):
    """A value that the chosen serializer cannot write."""


class JoinRefused(UsageError, RuntimeError):
    """A task waits for another task's result, which can deadlock a pool."""


# --- bytes that are not what they claim to be -----------------------------------------------------


class WireError(UmbelError):
    """Something received cannot be understood."""


class DecodeError(WireError):
    """The bytes do not have the form their content type announces."""


class ContentDisallowed(WireError):
    """The content type is not in the accept list."""


class UnsupportedProtocol(WireError):
    """The message is not of a task protocol that Umbel reads."""


# --- the world outside ----------------------------------------------------------------------------


class DriverError(UmbelError):
    """The broker, result store or schedule store could not do what it was asked."""


class OperationalError(DriverError):
    """The broker or result store is not working now; the same call may succeed later."""


class BrokerUnavailable(OperationalError):
    """The broker was not reached before the deadline. Nothing was sent."""


class OutcomeUnknown(OperationalError):
    """The message was sent but never confirmed: it may or may not have arrived."""


class Unroutable(OperationalError):
    """The broker has no queue for the message."""


class BackendUnavailable(OperationalError):
    """The result store cannot be reached."""


class LeaseLost(DriverError):
    """The claim on a delivery ran out, and somebody else may hold it."""


# --- one run of one task --------------------------------------------------------------------------


class TaskFault(UmbelError):
    """Something about one run of one task."""


class TaskError(TaskFault):
    """A stored failure whose own class cannot be rebuilt here."""


class TaskInterrupted(TaskFault):
    """Raised inside a running task, so that it can clean up and end."""


class Terminated(TaskInterrupted):
    """The task was revoked with ``terminate``. Its executor is killed if it goes on for long."""


class SoftTimeLimitExceeded(TaskInterrupted):
    """Raised inside a task whose soft time limit has passed."""


class TimeLimitExceeded(TaskFault):
    """The hard time limit passed and the run was ended."""


class WorkerLostError(TaskFault):
    """The executor died under the task."""


class TaskRevokedError(TaskFault):
    """The task was revoked, terminated or had expired, and has no value."""


class MaxRetriesExceededError(TaskFault):
    """The task asked for one retry more than it has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args: Any = kwargs.pop("task_args", ())
        self.task_kwargs: Any = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class ChordError(TaskFault):
    """A member of a chord's header failed, so the body cannot run."""


class IncompleteStream(TaskFault):
    """The tree of results was walked before all of it was there."""


class BackendGetMetaError(TaskFault):
    """The stored result document cannot be read."""


class ResultTimeout(UmbelError, builtins.TimeoutError):
    """The result was not there in time. The task goes on."""


# --- directives -----------------------------------------------------------------------------------


class TaskDirective(Exception):
    """Raised by a task, or on its behalf, to say what happens to the message."""


class Retry(TaskDirective):
    """The task runs again later. Raised by ``Task.retry``."""

    outgoing: Any = None
    """The retry, encoded (``model.queues.Outgoing``): whoever ran the task sends it."""

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: datetime | float | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(exc, str):
            self.exc: BaseException | None = None
            self.excs: str | None = exc
        else:
            self.exc = exc
            self.excs = repr(exc) if exc is not None else None
        self.message = message
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """Return when the retry runs, for a log line."""
        if isinstance(self.when, int | float):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"


class Ignore(TaskDirective):
    """Acknowledge the message and leave the stored state as it is."""

    outgoing: Any = None
    """What takes the task's place (``Task.replace``), encoded: whoever ran the task sends it."""


class Reject(TaskDirective):
    """Refuse the message: back to the queue, or never again."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __str__(self) -> str:
        return "no reason given" if self.reason is None else str(self.reason)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


# --- warnings -------------------------------------------------------------------------------------


class UmbelWarning(UserWarning):
    """Base of every warning Umbel gives: nothing failed, but it is probably not what was meant."""


class DuplicateTaskNameWarning(UmbelWarning):
    """Two tasks claim one name, and only one of them can have it."""


class UnknownOptionWarning(UmbelWarning):
    """An option nobody knows, with a name very near to one that is known."""


class AlwaysEagerIgnored(UmbelWarning):
    """``send_task`` sends by name although ``task_always_eager`` is on: there is nothing to run."""

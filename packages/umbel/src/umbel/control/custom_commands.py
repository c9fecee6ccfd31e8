"""Commands of your own for remote control: ``@inspect_command`` and ``@control_command``.

A module that the worker imports defines them; ``umbel inspect`` and ``umbel control`` know those of
the app that ``-A`` names. They run where user code may run: in the process that imports the app
and starts executors (with ``solo``, between two tasks), one at a time. So they must be brief.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

import msgspec

from umbel.control.command_specs import BY_NAME, Argument, Spec
from umbel.errors import ImproperlyConfigured

Handler: TypeAlias = Callable[..., Any]
H = TypeVar("H", bound=Handler)


class CustomCommand(msgspec.Struct, frozen=True):
    """``handler`` is called with the worker's face (``app``, ``hostname``) and the arguments."""

    spec: Spec
    handler: Handler


class Registry:
    """The commands of this process, filled by decorators while modules are imported."""

    def __init__(self) -> None:
        self._commands: dict[str, CustomCommand] = {}

    def add(self, command: CustomCommand) -> None:
        """Keep it under its name and its other names. Raises ImproperlyConfigured."""
        for name in (command.spec.name, *command.spec.aliases):
            if name in BY_NAME:
                raise ImproperlyConfigured(
                    f"{name!r} is a command that every worker has: give yours another name"
                )
            self._commands[name] = command

    def get(self, name: str) -> CustomCommand | None:
        """Return the command of this name, or None."""
        return self._commands.get(name)

    def names(self) -> tuple[str, ...]:
        """Return every name, other names too."""
        return tuple(sorted(self._commands))

    def specs(self) -> tuple[Spec, ...]:
        """Return each command's description once."""
        return tuple({id(one): one.spec for one in self._commands.values()}.values())

    def remove(self, name: str) -> None:
        """Forget a command and its other names."""
        gone = self._commands.pop(name, None)
        self._commands = {k: v for k, v in self._commands.items() if v is not gone}


REGISTRY = Registry()


def _registered(function: H, *, inspect: bool, given: Mapping[str, Any]) -> H:
    text = given["help"] or (function.__doc__ or "").strip().partition("\n")[0]
    alias = given["alias"]
    spec = Spec(
        name=given["name"] or function.__name__,
        inspect=inspect,
        help=text or "A command of this app.",
        arguments=tuple(Argument(*each) for each in given["args"] or ()),
        variadic=given["variadic"],
        signature=given["signature"] or "",
        aliases=(alias,) if isinstance(alias, str) else tuple(alias or ()),
        timeout=given["default_timeout"],
        visible=given["visible"],
    )
    REGISTRY.add(CustomCommand(spec, function))
    return function


@overload
def inspect_command(function: H, /) -> H: ...
@overload
def inspect_command(
    *,
    args: Sequence[tuple[str, Callable[[str], Any]]] | None = None,
    signature: str | None = None,
    variadic: str | None = None,
    alias: str | Sequence[str] | None = None,
    default_timeout: float = 1.0,
    visible: bool = True,
    name: str | None = None,
    help: str | None = None,
) -> Callable[[H], H]: ...
def inspect_command(
    function: H | None = None,
    /,
    *,
    args: Sequence[tuple[str, Callable[[str], Any]]] | None = None,
    signature: str | None = None,
    variadic: str | None = None,
    alias: str | Sequence[str] | None = None,
    default_timeout: float = 1.0,
    visible: bool = True,
    name: str | None = None,
    help: str | None = None,  # noqa: A002 - Celery's
) -> H | Callable[[H], H]:
    """Let workers be asked this; what the function returns is the answer.

    ``args``: names and converters of the words that ``umbel inspect`` takes; ``variadic``: the
    argument that takes all words left; ``default_timeout``: seconds a caller waits. What cannot
    travel as JSON is answered as text; what the function raises is the answer, as an error.
    """
    given = {
        "args": args, "signature": signature, "variadic": variadic, "alias": alias,
        "default_timeout": default_timeout, "visible": visible, "name": name, "help": help,
    }  # fmt: skip
    if function is not None:
        return _registered(function, inspect=True, given=given)
    return lambda decorated: _registered(decorated, inspect=True, given=given)


@overload
def control_command(function: H, /) -> H: ...
@overload
def control_command(
    *,
    args: Sequence[tuple[str, Callable[[str], Any]]] | None = None,
    signature: str | None = None,
    variadic: str | None = None,
    alias: str | Sequence[str] | None = None,
    default_timeout: float = 1.0,
    visible: bool = True,
    name: str | None = None,
    help: str | None = None,
) -> Callable[[H], H]: ...
def control_command(
    function: H | None = None,
    /,
    *,
    args: Sequence[tuple[str, Callable[[str], Any]]] | None = None,
    signature: str | None = None,
    variadic: str | None = None,
    alias: str | Sequence[str] | None = None,
    default_timeout: float = 1.0,
    visible: bool = True,
    name: str | None = None,
    help: str | None = None,  # noqa: A002 - Celery's
) -> H | Callable[[H], H]:
    """Let workers be told this. As ``inspect_command``, for ``umbel control``."""
    given = {
        "args": args, "signature": signature, "variadic": variadic, "alias": alias,
        "default_timeout": default_timeout, "visible": visible, "name": name, "help": help,
    }  # fmt: skip
    if function is not None:
        return _registered(function, inspect=False, given=given)
    return lambda decorated: _registered(decorated, inspect=False, given=given)


class Panel:
    """Celery's oldest way to add a command: ``@Panel.register``, by the function's name."""

    @classmethod
    def register(cls, *positional: Any, **options: Any) -> Any:
        """Do as ``control_command``."""
        options.pop("type", None)
        return control_command(*positional, **options)

"""Which queue a task goes to: call, task, routes, default, in this order.

``sending`` asks for every message; what does not depend on the arguments it asks once per task. The
router is made from one ``Settings`` value and thrown away with it. It never talks to a broker.

Queues and exchanges in settings may be Umbel's, names, mappings, or kombu's objects: those are read
by their attributes, kombu is not needed.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from umbel.config.settings import Settings
from umbel.errors import ImproperlyConfigured, QueueNotFound
from umbel.model.queues import Queue

RouteOptions: TypeAlias = dict[str, Any]
_Ask: TypeAlias = Callable[..., Any]


class Router:
    """The answers for one ``Settings`` value. Any thread may ask."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.default = Queue(
            settings.task_default_queue,
            exchange=settings.task_default_exchange or "",
            routing_key=settings.task_default_routing_key,
            exchange_type=settings.task_default_exchange_type,
            max_priority=settings.task_queue_max_priority,
            arguments=_of_type(settings.task_default_queue_type),
        )
        self.queues: dict[str, Queue] = {
            queue.name: queue for queue in _listed_queues(settings, self.default)
        }
        """The queues that are configured, by name: what a worker consumes by itself."""
        self._made: dict[str, Queue] = {}
        self._configured = bool(settings.task_queues)
        if not self._configured:
            self.queues[self.default.name] = self.default
        self._routers = [_router(one) for one in _listed_routers(settings.task_routes)]
        self.depends_on_call = any(not isinstance(one, _RouteMap) for one in self._routers)
        """Whether arguments or options of a call can change its route."""

    def queue_for(self, name: str, options: Mapping[str, Any] | None = None) -> Queue:
        """Return the queue for a task of this name sent with these options."""
        return self.route(name, options or {})[0]

    def route(
        self,
        name: str,
        options: Mapping[str, Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        task: Any = None,
    ) -> tuple[Queue, RouteOptions]:
        """Return the queue, and what else the route says (``priority``, ``serializer``, ...).

        Options of the call win over the route's. A queue given with the call bypasses the routes.
        Raises QueueNotFound, ImproperlyConfigured.
        """
        found: RouteOptions = {}
        if not options.get("queue") and self._routers:
            found = self._ask(name, args, {} if kwargs is None else kwargs, options, task)
        queue = options.get("queue") or found.pop("queue", None)
        if queue is not None:
            return self._known(queue), found
        exchange = options.get("exchange") or found.get("exchange")
        routing_key = options.get("routing_key") or found.get("routing_key")
        if exchange or routing_key:
            kind = options.get("exchange_type") or found.get("exchange_type")
            return self._bound_to(exchange, routing_key, kind), found
        return self._default_queue(), found

    def named(self, name: str) -> Queue:
        """Return the queue of this name, made on the fly unless that is switched off."""
        queue = self.queues.get(name) or self._made.get(name)
        if queue is not None:
            return queue
        if not self._settings.task_create_missing_queues:
            close = difflib.get_close_matches(name, self.queues, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise QueueNotFound(
                f"There is no queue {name!r}: {hint}task_queues has {_names(self.queues)}, and "
                "task_create_missing_queues is off."
            )
        kind = self._settings.task_create_missing_queue_exchange_type
        queue = Queue(
            name,
            exchange_type=kind or self._settings.task_default_exchange_type,
            max_priority=self._settings.task_queue_max_priority,
            arguments=_of_type(self._settings.task_create_missing_queue_type),
        )
        self._made[name] = queue
        return queue

    def _known(self, queue: Any) -> Queue:
        if isinstance(queue, str):
            return self.named(queue)
        made = queue_from(queue, self._settings)
        return self.queues.get(made.name) or self._made.setdefault(made.name, made)

    def _bound_to(self, exchange: Any, routing_key: str | None, kind: str | None) -> Queue:
        """Return the configured queue that this exchange and key lead to, else make one.

        A key alone is one of the default exchange; where it leads nowhere there, the default queue
        has it, as in Celery.
        """
        name, own_kind = _exchange_of(exchange)
        usual = self.default.exchange or self.default.name
        wanted = name or usual
        key = routing_key or self._settings.task_default_routing_key or wanted
        for queue in self.queues.values():
            # A queue that names no exchange is on the default one, and reached by its own name.
            exchanges = (queue.exchange,) if queue.exchange else (queue.name, usual)
            if wanted in exchanges and _binds(queue, key):
                return queue
        if not name:
            return self._default_queue()
        if not routing_key:
            return self.named(name)
        if key not in self.queues and self._settings.task_create_missing_queues:
            self._made[key] = Queue(
                key,
                exchange=name,
                routing_key=key,
                exchange_type=kind or own_kind or self._settings.task_default_exchange_type,
                max_priority=self._settings.task_queue_max_priority,
                arguments=_of_type(self._settings.task_create_missing_queue_type),
            )
        return self.named(key)

    def _default_queue(self) -> Queue:
        return self._known(self.default.name) if self._configured else self.default

    def _ask(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        task: Any,
    ) -> RouteOptions:
        for router in self._routers:
            if isinstance(router, _RouteMap):
                answer = router.find(name)
            else:
                answer = router(name, args, kwargs, options, task=task)
            if answer is not None:
                return _as_options(answer, name)
        return {}


# --- routers --------------------------------------------------------------------------------------


class _RouteMap:
    """``task_routes`` as a mapping or list of pairs: exact names first, then patterns in order."""

    def __init__(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        self._exact: dict[str, Any] = {}
        self._patterns: list[tuple[re.Pattern[str], Any]] = []
        for pattern, route in pairs:
            _as_options(route, pattern)
            if isinstance(pattern, re.Pattern):
                self._patterns.append((pattern, route))
            elif not isinstance(pattern, str):
                raise ImproperlyConfigured(
                    f"task_routes: {pattern!r} is neither a task name, a name with *, nor a "
                    "compiled pattern."
                )
            elif "*" in pattern:
                self._patterns.append((re.compile(fnmatch.translate(pattern)), route))
            else:
                self._exact[pattern] = route

    def find(self, name: str) -> Any:
        route = self._exact.get(name)
        if route is not None:
            return route
        return next((route for pattern, route in self._patterns if pattern.match(name)), None)


def _listed_routers(routes: Any) -> list[Any]:
    if routes is None:
        return []
    if isinstance(routes, list | tuple) and not _are_pairs(routes):
        return list(routes)
    return [routes]


def _are_pairs(routes: Sequence[Any]) -> bool:
    return bool(routes) and all(
        isinstance(one, list | tuple)
        and len(one) == 2
        and isinstance(one[0], str | re.Pattern)
        and isinstance(one[1], str | Mapping)
        for one in routes
    )


def _router(given: Any) -> _RouteMap | _Ask:
    if isinstance(given, Mapping):
        return _RouteMap(list(given.items()))
    if isinstance(given, list | tuple) and _are_pairs(given):
        return _RouteMap(list(given))
    found = symbol(given, "task_routes") if isinstance(given, str) else given
    if isinstance(found, type):
        found = found()
    if isinstance(found, Mapping):
        return _RouteMap(list(found.items()))
    ask = getattr(found, "route_for_task", None)
    if ask is not None:
        return lambda name, args, kwargs, options, task=None: ask(name, args, kwargs)  # noqa: ARG005
    if not callable(found):
        raise ImproperlyConfigured(
            f"task_routes: {given!r} is not a router. A router is a mapping of task names to "
            "queues or options, a list of such pairs, a function (name, args, kwargs, options, "
            "task=None, **kw), or the dotted name of one."
        )
    router: _Ask = found
    return router


def _as_options(route: Any, name: object) -> RouteOptions:
    if isinstance(route, str):
        return {"queue": route}
    if isinstance(route, Mapping):
        return dict(route)
    if hasattr(route, "name"):
        return {"queue": route}
    raise ImproperlyConfigured(
        f"task_routes: the route of {name!r} is {route!r}; it has to be a queue's name or a "
        "mapping of options such as {'queue': 'name'}."
    )


def symbol(path: str, where: str) -> Any:
    """Return what ``package.module:attr`` or ``package.module.attr`` names.

    Raises ImproperlyConfigured saying ``where`` the path was written.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    if not module_name or not attribute:
        raise ImproperlyConfigured(
            f"{where}: {path!r} names nothing; write 'package.module.name' or "
            "'package.module:name'."
        )
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"{where}: {path!r} cannot be imported: {error}") from error
    return found


# --- queues ---------------------------------------------------------------------------------------


def _of_type(kind: str | None) -> dict[str, str]:
    """Return the arguments of a queue of this type: classic, the broker's own, needs none."""
    return {} if kind in {None, "", "classic"} else {"x-queue-type": str(kind)}


def queue_from(given: Any, settings: Settings, name: str | None = None) -> Queue:
    """Return a queue from what a user calls one: a name, a mapping, ours, or kombu's."""
    if isinstance(given, Queue):
        return given
    if isinstance(given, str):
        return Queue(given, max_priority=settings.task_queue_max_priority)
    fields = given if isinstance(given, Mapping) else _attributes(given)
    own_name = fields.get("name") or name
    if not own_name:
        raise ImproperlyConfigured(
            f"task_queues: {given!r} is not a queue. Give a name, a mapping with 'name', or a "
            "Queue object."
        )
    exchange, kind = _exchange_of(fields.get("exchange"))
    arguments = dict(fields.get("queue_arguments") or fields.get("arguments") or {})
    priority = fields.get("max_priority") or arguments.get("x-max-priority")
    return Queue(
        str(own_name),
        exchange=exchange,
        routing_key=fields.get("routing_key") or fields.get("binding_key") or None,
        exchange_type=fields.get("exchange_type") or kind or settings.task_default_exchange_type,
        max_priority=priority or settings.task_queue_max_priority,
        arguments=arguments,
    )


def _attributes(given: Any) -> Mapping[str, Any]:
    names = ("name", "exchange", "routing_key", "queue_arguments", "max_priority")
    return {name: getattr(given, name, None) for name in names}


def _exchange_of(given: Any) -> tuple[str, str | None]:
    if given is None or isinstance(given, str):
        return given or "", None
    return str(getattr(given, "name", "") or ""), getattr(given, "type", None)


def _listed_queues(settings: Settings, default: Queue) -> list[Queue]:
    given = settings.task_queues
    if not given:
        return []
    if isinstance(given, Mapping):
        queues = [queue_from(fields or {}, settings, name) for name, fields in given.items()]
    else:
        queues = [queue_from(one, settings) for one in given]
    # A queue that names no exchange follows the default ones where those are set.
    return [
        queue
        if queue.exchange or not default.exchange
        else Queue(
            queue.name,
            exchange=default.exchange,
            routing_key=queue.routing_key or default.routing_key,
            exchange_type=default.exchange_type,
            max_priority=queue.max_priority,
            arguments=queue.arguments,
        )
        for queue in queues
    ]


def _binds(queue: Queue, key: str) -> bool:
    """Tell whether a message with this routing key reaches the queue through its exchange."""
    bound = queue.routing_key or queue.name
    if queue.exchange_type == "fanout":
        return True
    if queue.exchange_type == "topic":
        return _topic(bound).match(key) is not None
    return bound == key


def _topic(binding: str) -> re.Pattern[str]:
    words = {"*": r"[^.]+", "#": r".*"}
    pattern = r"\.".join(words.get(word) or re.escape(word) for word in binding.split("."))
    # '#' stands for no word too: then the dot beside it goes with it.
    pattern = pattern.replace(r"\..*", r"(?:\..*)?").replace(r".*\.", r"(?:.*\.)?")
    return re.compile(f"{pattern}$")


def _names(queues: Mapping[str, Queue]) -> str:
    return ", ".join(sorted(queues)) or "none"

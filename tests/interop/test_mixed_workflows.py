"""What follows a run goes to either library: callbacks, errbacks and the steps of a chain.

Sent by either client, run by either worker; chains by a Celery client, since Umbel has none yet.
"""

from __future__ import annotations

import pytest

from tests.interop.mixed_fleet import LIBRARIES, Client, Notes, new_name

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def queue_of(library: str) -> str:
    return f"on-{library}"


@pytest.fixture(params=LIBRARIES, ids=lambda library: f"then-{library}")
def then(request: pytest.FixtureRequest) -> str:
    """The queue of what follows."""
    return queue_of(request.param)


@pytest.fixture
def celery_client(clients: dict[str, Client]) -> Client:
    return clients["celery"]


def test_a_callback_gets_the_result(client: Client, at: str, then: str, notes: Notes) -> None:
    name = new_name()
    links = [("swapped", (name,), then)]
    task_id = client.ask("send_linked", "add", [2, 3], at, links, [])
    assert client.ask("get", task_id) == 5
    assert notes.hear(name) == [then.removeprefix("on-"), 5]
    told = client.ask("outcome", task_id)
    (child,) = told["children"]
    assert client.ask("get", child) == then.removeprefix("on-")


def test_several_callbacks(client: Client, at: str, notes: Notes) -> None:
    name = new_name()
    links = [("swapped", (name,), queue_of(library)) for library in LIBRARIES]
    task_id = client.ask("send_linked", "add", [2, 3], at, links, [])
    assert client.ask("get", task_id) == 5
    assert sorted(notes.hear(name) for _ in links) == [["celery", 5], ["umbel", 5]]


def test_no_callback_after_a_failure(client: Client, at: str, notes: Notes) -> None:
    name, failed = new_name(), new_name()
    task_id = client.ask(
        "send_linked",
        "fail",
        ["builtin"],
        at,
        [("swapped", (name,), at)],
        [("errback_by_id", (failed,), at)],
    )
    assert client.ask("outcome", task_id)["state"] == "FAILURE"
    assert notes.hear(failed) == [at.removeprefix("on-"), task_id]
    assert notes.silent(name)


def test_an_errback_with_the_error_runs_where_it_failed(
    client: Client, at: str, then: str, notes: Notes
) -> None:
    """It takes the request, the error and the traceback: the failing worker calls it itself."""
    name = new_name()
    errbacks = [("errback_with_error", (name,), then)]
    task_id = client.ask("send_linked", "fail", ["builtin"], at, [], errbacks)
    assert client.ask("outcome", task_id)["state"] == "FAILURE"
    where, kind, args = notes.hear(f"{name}:{task_id}")
    assert (where, kind, args) == (at.removeprefix("on-"), "KeyError", ["key", "42"])


ROUTES = ["celery celery celery", "umbel umbel umbel", "umbel celery umbel", "celery umbel celery"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_chain_over_both(celery_client: Client, clients: dict[str, Client], route: str) -> None:
    """Each step runs where it was sent, and each knows its parent."""
    where = route.split()
    steps = [
        ("add_where", ([1], 10) if index == 0 else (10,), queue_of(library))
        for index, library in enumerate(where)
    ]
    ids = celery_client.ask("send_chain", steps)
    assert len(ids) == 3
    for reader in clients.values():
        assert reader.ask("get", ids[0]) == [31, *where]
        told = [reader.ask("outcome", task_id) for task_id in reversed(ids)]
        assert [one["value"] for one in told] == [[11, where[0]], [21, *where[:2]], [31, *where]]
        assert [one["children"] for one in told] == [[ids[1]], [ids[0]], []]


def test_the_steps_of_a_chain_know_their_family(celery_client: Client, at: str) -> None:
    last, first = celery_client.ask("send_chain", [("echo", (1,), at), ("request", (), at)])
    told = celery_client.ask("get", last)
    assert (told["id"], told["parent_id"], told["root_id"]) == (last, first, first)
    assert told["args"] == [[[1], {}]]


@pytest.mark.parametrize("kind", ["raises", "unknown", "expired", "hard limit", "dies"])
def test_a_chain_that_breaks(
    celery_client: Client, clients: dict[str, Client], at: str, kind: str
) -> None:
    """Who waits for the last step hears of it, whatever ended the one before.

    Celery leaves out two ends its parent process finds by itself: there the last step stays PENDING
    for ever.
    """
    queue = {"celery": "on-umbel", "umbel": "on-celery"}[at.removeprefix("on-")]
    task, args, options, error = {
        "raises": ("fail", ("builtin",), {}, "KeyError"),
        "unknown": ("no.such.task", (), {}, "NotRegistered"),
        "expired": ("who", (), {"expires": -10}, "TaskRevokedError"),
        "hard limit": ("busy", (30,), {"time_limit": 1}, "TimeLimitExceeded"),
        "dies": ("die", (), {}, "WorkerLostError"),
    }[kind]
    last, first = celery_client.ask(
        "send_chain", [(task, args, at, options), ("swapped", ("never",), queue)]
    )
    for reader in clients.values():
        assert reader.ask("outcome", first)["error"]["class"].endswith(error)
        if at == "on-celery" and kind in {"unknown", "expired"}:
            celery_client.call("who", queue=at)
            assert reader.ask("meta", last)["state"] == "PENDING"
        else:
            assert reader.ask("outcome", last)["error"]["class"].endswith(error)


@pytest.mark.parametrize("kind", ["hard limit", "dies"])
def test_errbacks_of_a_run_that_was_killed(
    client: Client, at: str, kind: str, notes: Notes
) -> None:
    """Celery's parent process calls them itself, after a hard limit twice; of ours an executor."""
    name = new_name()
    task, args, options = {
        "hard limit": ("busy", [30], {"time_limit": 1}),
        "dies": ("die", [], {}),
    }[kind]
    errbacks = [("errback_by_id", (name,), at)]
    task_id = client.ask("send_linked", task, args, at, [], errbacks, **options)
    assert client.ask("outcome", task_id)["state"] == "FAILURE"
    assert notes.hear(name) == [at.removeprefix("on-"), task_id]


MIXES = ["celery celery", "umbel umbel", "celery umbel celery umbel"]


@pytest.mark.parametrize("mix", MIXES)
def test_a_chord_over_both(client: Client, then: str, mix: str) -> None:
    """Sent by either; its header is counted by both, its body runs on either."""
    members, body = client.ask("send_chord", [queue_of(one) for one in mix.split()], then)
    values = list(range(2, 2 + len(members)))
    assert client.ask("get_all", members) == values
    assert client.ask("get", body) == values


@pytest.mark.parametrize("mix", MIXES)
def test_everything_in_everything(client: Client, mix: str) -> None:
    last = client.ask("send_nested", [queue_of(one) for one in mix.split()])
    assert client.ask("get", last) == [[3, 4], [11, 21]]


@pytest.mark.parametrize("mix", ["celery umbel", "umbel celery", "umbel umbel"])
def test_a_chord_whose_header_fails(client: Client, then: str, mix: str, notes: Notes) -> None:
    name = new_name()
    queues = [queue_of(one) for one in mix.split()]
    body = client.ask("send_broken_chord", queues, then, name)
    assert client.ask("outcome", body)["state"] == "FAILURE"
    assert notes.hear(name) == [then.removeprefix("on-"), body]

"""Arguments that are not to be shown: in messages' headers, errors and reprs."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from umbel import Secret
from umbel.app.app import App
from umbel.app.context import Context
from umbel.app.redaction import Redaction, marked_names, name_pattern
from umbel.errors import TaskSignatureMismatch
from umbel.model.shelves import Selection, Shelf
from umbel.wire import envelope
from umbel.wire.reprs import MASK
from umbel.workflows.canvas import chain

from .conftest import new_app
from .mailbox import take, take_one

HIDDEN = "hunter2"


@pytest.fixture
def login(app: App) -> Any:
    @app.task(name="proj.login")
    def login(user: str, code: Annotated[str, Secret], *, password: str = "") -> None:
        pass

    return login


def test_marked_and_named_arguments_arrive_and_are_not_shown(app: App, login: Any) -> None:
    login.delay("ann", HIDDEN, password=HIDDEN)
    sent = take_one(app)
    assert list(sent.message.args) == ["ann", HIDDEN]
    assert sent.message.kwargs == {"password": HIDDEN}
    assert sent.headers["argsrepr"] == f"('ann', {MASK})"
    assert sent.headers["kwargsrepr"] == "{'password': " + MASK + "}"


def test_a_marked_argument_given_by_name_is_not_shown(app: App, login: Any) -> None:
    login.apply_async(kwargs={"user": "ann", "code": HIDDEN}, countdown=1)
    page = app.broker.shelves().page(Shelf.DELAYED, "celery", Selection(), after=None, limit=10)
    (sent,) = [envelope.load(one.raw) for one in page.entries]
    assert HIDDEN not in sent.headers["kwargsrepr"]
    assert "'user': 'ann'" in sent.headers["kwargsrepr"]


def test_calls_in_bulk_hide_the_same(app: App, login: Any) -> None:
    login.send_many([("ann", HIDDEN), (("bob", HIDDEN), {"password": HIDDEN})])
    shown = [(one.headers["argsrepr"], one.headers["kwargsrepr"]) for one in take(app)]
    assert shown == [
        (f"('ann', {MASK})", "{}"),
        (f"('bob', {MASK})", "{'password': " + MASK + "}"),
    ]


def test_a_call_by_name_hides_what_the_settings_name(app: App) -> None:
    app.send_task("elsewhere.login", kwargs={"api_key": HIDDEN, "DB_Password": HIDDEN, "n": 1})
    shown = take_one(app).headers["kwargsrepr"]
    assert HIDDEN not in shown
    assert "'n': 1" in shown


def test_the_names_are_a_setting() -> None:
    with new_app(task_redact=["iban"]) as app:
        app.send_task("pay", kwargs={"iban": HIDDEN, "password": "shown"})
        shown = take_one(app).headers["kwargsrepr"]
    assert HIDDEN not in shown
    assert "shown" in shown


def test_the_profile_celery_hides_nothing_by_itself(celery_app: App) -> None:
    celery_app.send_task("login", kwargs={"password": "as Celery"})
    assert take_one(celery_app).headers["kwargsrepr"] == "{'password': 'as Celery'}"


def test_what_the_caller_says_is_shown_wins(app: App, login: Any) -> None:
    login.apply_async(("ann", HIDDEN), argsrepr="(mine)")
    assert take_one(app).headers["argsrepr"] == "(mine)"


def test_a_bound_task_counts_its_arguments_after_itself(app: App) -> None:
    @app.task(bind=True, name="proj.bound")
    def bound(self: Any, shown: str, token: str) -> None:
        pass

    bound.delay("a", HIDDEN)
    assert take_one(app).headers["argsrepr"] == f"('a', {MASK})"


def test_an_error_about_a_hidden_argument_does_not_show_it(login: Any) -> None:
    with pytest.raises(TaskSignatureMismatch) as caught:
        login.delay("ann", 31337)
    assert "'code' is to be" in str(caught.value)
    assert "31337" not in str(caught.value)


def test_reprs_of_signatures_and_requests_do_not_show_it(app: App, login: Any) -> None:
    call = login.s("ann", HIDDEN, password=HIDDEN)
    assert repr(call) == f"proj.login('ann', {MASK}, password={MASK})"
    assert HIDDEN not in repr(chain(call, call))
    login.delay("ann", HIDDEN)
    request = Context.from_message(take_one(app).message)
    assert request.args == ["ann", HIDDEN]
    assert HIDDEN not in repr(request)


def secret_result() -> Annotated[str, Secret()]:
    return HIDDEN


def optional(it: Annotated[str, Secret] | None = None) -> None:
    pass


def test_the_mark_is_found_wherever_it_stands() -> None:
    assert marked_names(secret_result) == {"return"}
    assert marked_names(optional) == {"it"}
    assert Redaction(None, secret_result).hides_result


def test_a_mark_that_cannot_be_evaluated_hides() -> None:
    def unknown(it: Annotated[Nowhere, Secret]) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    assert marked_names(unknown) == {"it"}


def test_a_task_without_secrets_costs_nothing(app: App) -> None:
    @app.task(name="proj.plain")
    def plain(x: int) -> None:
        pass

    assert plain.plan.redaction is None
    assert not Redaction(name_pattern(()), lambda **more: None)

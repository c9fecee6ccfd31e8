"""The tables of PostgreSQL: numbered steps, and which of them a program works with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from tests import postgres_server
from umbel.cli.main import main
from umbel.drivers import postgres
from umbel.drivers.postgres.address import read
from umbel.drivers.postgres.migrator import PostgresMigrator
from umbel.drivers.postgres.statements import Migration, migrations
from umbel.errors import ImproperlyConfigured, OperationalError

STEPS = [step.name for step in migrations()]
NEXT = len(STEPS) + 1
GROW = Migration(NEXT, "pre", "grow", "ALTER TABLE {schema}.worker ADD COLUMN shade text;")
SHRINK = Migration(NEXT + 1, "post", "shrink", "ALTER TABLE {schema}.worker DROP COLUMN shade;")
BROKEN = Migration(NEXT + 2, "pre", "broken", "ALTER TABLE {schema}.nowhere ADD COLUMN a text;")


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_server.database("schema") as url:
        yield url


def migrator(url: str, *more: Migration) -> PostgresMigrator:
    return PostgresMigrator(read(url, {}), [*migrations(), *more])


def ping(url: str, **options: str) -> str:
    broker = postgres.open(url, options).broker()
    try:
        return broker.ping()
    finally:
        broker.close()


def names(url: str, *more: Migration) -> list[tuple[str, bool]]:
    return [(step.name, step.at is not None) for step in migrator(url, *more).steps()]


def all_of(steps: list[str]) -> list[tuple[str, bool]]:
    return [(name, True) for name in steps]


def none_of(steps: list[str]) -> list[tuple[str, bool]]:
    return [(name, False) for name in steps]


def test_the_first_to_come_makes_the_tables(url: str) -> None:
    assert names(url) == none_of(STEPS)
    assert ping(url).startswith("PostgreSQL 1")
    assert names(url) == all_of(STEPS)


def test_many_that_come_first_make_them_once(url: str) -> None:
    told: list[str] = []
    threads = [threading.Thread(target=lambda: told.append(ping(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(told) == 6


def test_nobody_makes_them_where_the_url_says_so(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        ping(url, create="no")
    assert "has no tables of Umbel in the schema 'umbel'; make them with: umbel migrate" in str(
        caught.value
    )
    assert names(url) == none_of(STEPS)


def test_a_schema_of_ones_own(url: str) -> None:
    ping(url, schema="jobs")
    assert names(url) == none_of(STEPS)
    assert PostgresMigrator(read(url, {"schema": "jobs"})).steps()[0].at is not None


def test_steps_are_applied_by_phase_and_once(url: str) -> None:
    ping(url)
    later = migrator(url, GROW, SHRINK)
    assert "are of an older release" in str(later.fault())
    assert [step.name for step in later.apply(["pre"])] == ["grow"]
    assert later.fault() is None
    assert [step.name for step in later.apply(["pre", "post"])] == ["shrink"]
    assert later.apply(["pre", "post"]) == []


def test_a_step_that_fails_leaves_everything_as_it_was(url: str) -> None:
    ping(url)
    with pytest.raises(OperationalError, match=r"nothing was changed"):
        migrator(url, GROW, SHRINK, BROKEN).apply(["pre", "post"])
    assert names(url, GROW) == [*all_of(STEPS), ("grow", False)]


def test_a_newer_pre_step_leaves_this_release_at_work(url: str) -> None:
    ping(url)
    migrator(url, GROW).apply(["pre"])
    assert ping(url)


def test_a_newer_post_step_is_refused(url: str) -> None:
    ping(url)
    migrator(url, GROW, SHRINK).apply(["pre", "post"])
    with pytest.raises(ImproperlyConfigured) as caught:
        ping(url)
    assert f"a newer release (migration {NEXT + 1}, this one knows {NEXT - 1}); upgrade" in str(
        caught.value
    )


def test_older_tables_are_refused(url: str) -> None:
    ping(url)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DELETE FROM umbel.migration")
    with pytest.raises(ImproperlyConfigured, match=r"are of an older release .*umbel migrate"):
        ping(url)


# --- the command ----------------------------------------------------------------------------------


class Desk(msgspec.Struct):
    url: str
    told: pytest.CaptureFixture[str]

    def type(self, *words: str) -> tuple[int, str, str]:
        code = main(["-b", self.url, "--result-backend", self.url, *words], prog="umbel")
        said = self.told.readouterr()
        return code, said.out, said.err


@pytest.fixture
def desk(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    monkeypatch.chdir(tmp_path)
    for name in ("BROKER_URL", "RESULT_BACKEND"):
        for prefix in ("UMBEL", "CELERY"):
            # The command hands them over in the environment: taken back after the test.
            monkeypatch.setenv(f"{prefix}_{name}", url)
    return Desk(url, capsys)


def test_the_command_looks_applies_and_looks_again(desk: Desk) -> None:
    code, said, error = desk.type("migrate", "--check")
    assert code == 1
    assert "0001 pre  tables: pending" in said
    assert "are of an older release" in error
    code, said, _ = desk.type("migrate")
    assert code == 0
    assert said.count("0001 pre  tables: applied now") == 1
    code, said, _ = desk.type("migrate")
    assert (code, "nothing to apply" in said) == (0, True)
    assert desk.type("migrate", "--check")[0] == 0


def test_the_command_refuses_newer_tables(desk: Desk) -> None:
    ping(desk.url)
    migrator(desk.url, GROW).apply(["pre"])
    code, _, error = desk.type("migrate")
    assert code != 0
    assert "were changed by a newer release" in error
    assert desk.type("migrate", "--check")[0] == 0


def test_other_stores_have_nothing_to_migrate(desk: Desk) -> None:
    code, said, _ = Desk("memory://", desk.told).type("migrate")
    assert (code, said.startswith("Nothing to do")) == (0, True)

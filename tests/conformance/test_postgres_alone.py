"""What is promised of PostgreSQL alone: sessions that end, forks, words for what is wrong, cost."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests import postgres_server
from tests.redis_server import free_port
from umbel.drivers import postgres
from umbel.drivers.postgres import PostgresDriver, bus
from umbel.drivers.postgres.bus import PostgresLine
from umbel.drivers.postgres.statements import statements
from umbel.errors import EncodeError, ImproperlyConfigured, OperationalError
from umbel.model.bus import Spread, Topic
from umbel.model.delivery import Ack
from umbel.model.join import OpenJoin
from umbel.model.queues import Queue
from umbel.model.revocation import Revocation
from umbel.ports import Line
from umbel.testing.conformance.bus_suite import hear, mailbox, notice, topic
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    eventually,
    follow_up,
    new_id,
    outgoing,
    record,
    settlement,
    slot,
    station_of,
    take,
    task_ids,
)
from umbel.wire.envelope import load


@pytest.fixture
def driver(postgres_url: str) -> Iterator[PostgresDriver]:
    driver = postgres.open(postgres_url, {"application_name": f"umbel-{new_id()[:8]}"})
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def station(driver: PostgresDriver) -> Iterator[Station]:
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


@pytest.fixture
def queue() -> Queue:
    return Queue(f"alone-{new_id()[:12]}")


@pytest.fixture
def admin(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        yield admin


def end_sessions(admin: psycopg.Connection[Any], driver: PostgresDriver) -> int:
    """End every session of the driver, as a restart or a failover would; return how many."""
    name = psycopg.conninfo.conninfo_to_dict(driver.address.conninfo)["application_name"]
    rows = admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        (name,),
    ).fetchall()
    return len(rows)


# --- sessions that end ----------------------------------------------------------------------------


def test_publishing_goes_on_after_the_session_ended(
    station: Station, driver: PostgresDriver, queue: Queue, admin: psycopg.Connection[Any]
) -> None:
    publisher = driver.broker().open_publisher()
    first, second = new_id(), new_id()
    publisher.publish([outgoing(queue, first)], timeout=PATIENCE)
    assert end_sessions(admin, driver) >= 1
    eventually(lambda: end_sessions(admin, driver) == 0)
    publisher.publish([outgoing(queue, second)], timeout=PATIENCE)
    publisher.close()
    assert task_ids(take(station.consumer(queue), 2)) == [first, second]


def test_claims_outlive_their_session(
    station: Station, driver: PostgresDriver, queue: Queue, admin: psycopg.Connection[Any]
) -> None:
    station.send(queue)
    consumer = station.consumer(queue)
    (delivery,) = take(consumer, 1)
    end_sessions(admin, driver)
    eventually(lambda: end_sessions(admin, driver) == 0)
    assert consumer.exchange([settlement(delivery, Ack())], 0).lost == ()


def test_a_waiting_consumer_connects_again_and_hears(
    station: Station, driver: PostgresDriver, queue: Queue, admin: psycopg.Connection[Any]
) -> None:
    consumer = station.consumer(queue)

    def wait() -> list[str]:
        while True:
            try:
                return task_ids(take(consumer, 1))
            except OperationalError:
                continue

    waiting = InThread(wait)
    eventually(lambda: waits(admin))
    assert end_sessions(admin, driver) >= 1
    revoked = new_id()
    driver.broker().revoke([Revocation(task_id=revoked)], keep=60.0)
    ids = station.send(queue)
    assert waiting.result() == ids
    assert revoked in {each.task_id for each in consumer.revocations()}


def test_a_watcher_hears_what_was_stored_while_its_session_was_gone(
    driver: PostgresDriver, admin: psycopg.Connection[Any]
) -> None:
    backend = driver.result_backend()
    watcher = backend.open_watcher()
    first, second = new_id(), new_id()
    watcher.watch([first, second])
    end_sessions(admin, driver)
    with psycopg.connect(driver.address.conninfo, autocommit=True) as other:
        other.execute("INSERT INTO umbel.result VALUES (%s, 'SUCCESS', true, NULL, '1')", (first,))
    heard: set[str] = set()

    def look() -> bool:
        try:
            heard.update(each.task_id for each in watcher.receive(1.0))
        except OperationalError:
            return False
        return first in heard

    eventually(look)
    backend.store([record(second)])
    eventually(lambda: heard.update(e.task_id for e in watcher.receive(1.0)) or second in heard)
    watcher.close()


def waits(admin: psycopg.Connection[Any]) -> bool:
    """Tell whether anybody holds a lock that says that it waits."""
    found = admin.execute(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    return found is not None


def test_nobody_is_notified_while_nobody_waits(
    station: Station, queue: Queue, admin: psycopg.Connection[Any], driver: PostgresDriver
) -> None:
    consumer = station.consumer(queue)
    bell = postgres.broker.Bells(driver.address.schema).queue(queue.name)
    admin.execute(f"LISTEN {bell.channel}".encode())
    station.send(queue, 3)
    assert list(admin.notifies(timeout=0.0)) == []
    take(consumer, 3)
    assert not consumer.receive(1, 0.0)
    station.send(queue)
    assert [each.channel for each in admin.notifies(timeout=PATIENCE, stop_after=1)] == [
        bell.channel
    ]


# --- forks ----------------------------------------------------------------------------------------


def test_a_forked_child_leaves_the_parents_session_alone(station: Station, queue: Queue) -> None:
    station.send(queue)
    consumer = station.consumer(queue)
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(queue, new_id())], timeout=PATIENCE)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            publisher.publish([outgoing(queue, new_id())], timeout=PATIENCE)
            consumer.close()
            publisher.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    publisher.publish([outgoing(queue, new_id())], timeout=PATIENCE)
    publisher.close()
    assert len(take(consumer, 4)) == 4


# --- what is wrong, in words ----------------------------------------------------------------------


def refused(url: str, **options: str) -> str:
    with pytest.raises((OperationalError, ImproperlyConfigured)) as caught:
        postgres.open(url, options).broker().ping()
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    return said


def test_nobody_listens() -> None:
    said = refused(f"postgresql://umbel:secret@127.0.0.1:{free_port()}/umbel")
    assert re.search(
        r"cannot be reached \(Connection refused\); is the server running there\?", said
    )


def test_a_role_that_is_not_there(postgres_url: str) -> None:
    url = re.sub(r"//[^@]*@", "//nobody_at_all:secret@", postgres_url)
    assert "check the user and the password in the URL" in refused(url)


def test_a_database_that_is_not_there(postgres_url: str) -> None:
    url = postgres_url.rpartition("/")[0] + "/no_such_database"
    said = refused(url)
    assert 'database "no_such_database" does not exist' in said
    assert said.endswith("create it: createdb no_such_database")


def test_a_role_that_may_not_make_the_tables() -> None:
    with postgres_server.database("rights") as url, psycopg.connect(url, autocommit=True) as admin:
        role = f"umbel_guest_{os.getpid()}"
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        try:
            guest = re.sub(r"//[^@]*@", f"//{role}:secret@", url)
            said = refused(guest)
            assert "may not do this (permission denied for database" in said
            postgres.open(url, {}).broker().ping()
            said = refused(guest)
            assert "may not do this (permission denied for schema umbel)" in said
        finally:
            admin.execute(f"DROP ROLE {role}".encode())


def test_tls_that_the_server_does_not_speak(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as probe:
        if probe.execute("SHOW ssl").fetchone() == ("on",):
            said = refused(postgres_url, sslmode="verify-full", sslrootcert="/no/such/file")
        else:
            said = refused(postgres_url, sslmode="require")
    assert "sslmode" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shema": "x"}, "has no option 'shema'; .*did you mean 'schema'"),
        ({"schema": "Robert'); --"}, "schema is a name of small letters"),
        ({"schema": "pg_own"}, "schema is a name of small letters"),
        ({"synchronous_commit": "maybe"}, "synchronous_commit is one of on, off"),
        ({"timeout": "-1"}, "timeout is a number of seconds"),
        ({"create": "perhaps"}, "create is yes or no"),
    ],
)
def test_wrong_options(options: dict[str, str], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        postgres.open("postgresql://localhost/shop", options)


def test_the_first_host_that_answers_is_taken(postgres_url: str) -> None:
    host = re.sub(r"@([^/]*)/", rf"@127.0.0.1:{free_port()},\1/", postgres_url)
    driver = postgres.open(host, {})
    assert "target_session_attrs=read-write" in driver.address.conninfo
    assert driver.broker().ping().startswith("PostgreSQL")
    driver.broker().close()


def test_text_that_the_database_cannot_hold(station: Station) -> None:
    with pytest.raises(EncodeError, match="zero character"):
        station.send(Queue("a\0b"))


def test_commits_are_as_careful_as_the_url_says(postgres_url: str) -> None:
    driver = postgres.open(postgres_url, {"synchronous_commit": "off"})
    publisher = driver.broker().open_publisher()
    publisher.publish([outgoing(Queue("careless"), new_id())], timeout=PATIENCE)
    rows = publisher._connection.run([(b"SHOW synchronous_commit", {})])
    assert rows == [[("off",)]]
    publisher.close()


# --- what a claim costs ---------------------------------------------------------------------------


def test_a_claim_costs_the_same_however_many_tasks_have_ended(
    station: Station, queue: Queue, admin: psycopg.Connection[Any]
) -> None:
    before = pages_of_a_claim(admin, station, queue)
    consumer = station.consumer(queue)
    for _ in range(8):
        ids = station.send(queue, 1000)
        deliveries = take(consumer, 1000)
        ends = [
            settlement(each, Ack(), records=[record(task_id)])
            for each, task_id in zip(deliveries, ids, strict=True)
        ]
        assert consumer.exchange(ends, 0).lost == ()
    for table in ("ready", "claimed"):
        admin.execute(f"VACUUM umbel.{table}".encode())
    assert pages_of_a_claim(admin, station, queue) <= before + 10
    (size,) = admin.execute(
        "SELECT count(*) FROM umbel.ready WHERE queue = %s", (queue.name,)
    ).fetchone() or (None,)
    assert size == 0


def pages_of_a_claim(admin: psycopg.Connection[Any], station: Station, queue: Queue) -> int:
    """Return how many pages of the database a claim of ten looks at."""
    station.send(queue, 10)
    sql = statements("umbel")["claim_one_queue"]
    with admin.transaction(force_rollback=True):
        admin.execute(b"SET LOCAL enable_seqscan = off")
        rows = admin.execute(
            b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql,
            {"queue": queue.name, "limit": 10, "owner": -7},
        ).fetchone()
    assert rows is not None
    plan = rows[0][0]["Plan"]
    assert "Seq Scan" not in str(plan)
    assert station.broker.purge(queue.name) == 10
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


# --- joins ----------------------------------------------------------------------------------------


def test_joins_that_many_change_at_once_are_counted_right(driver: PostgresDriver) -> None:
    backend = driver.result_backend()
    first, second = new_id(), new_id()
    size = 8 * 25
    backend.join([OpenJoin(first, size), OpenJoin(second, size)])

    def fill(number: int) -> list[str]:
        told: list[str] = []
        for slot_at in range(number, size, 8):
            steps = [slot(each, slot_at, then) for each, then in ((first, a), (second, b))]
            # Half of them in the other order: nobody may wait for somebody in a circle.
            due = backend.join(steps if number % 2 else steps[::-1])
            told += [str(load(each.raw).headers["id"]) for each in due]
        return told

    a, b = (follow_up(Queue("next"), each) for each in (first, second))
    threads = [InThread(lambda number=number: fill(number)) for number in range(8)]
    told = [each for thread in threads for each in thread.result()]
    assert sorted(told) == sorted([first, second])
    for each in (first, second):
        found = backend.fetch_join(each)
        assert found is not None
        assert found.complete
        assert len(found.parts) == size


def test_a_claim_that_was_taken_away_meanwhile_fills_no_slot(
    station: Station, driver: PostgresDriver, queue: Queue, admin: psycopg.Connection[Any]
) -> None:
    station.send(queue, 2)
    consumer = station.consumer(queue)
    one, two = take(consumer, 2)
    join_id, next_id = new_id(), new_id()
    backend = driver.result_backend()
    backend.join([OpenJoin(join_id, 2)])
    admin.execute("DELETE FROM umbel.claimed WHERE id = %s", (int(one.receipt),))
    then = follow_up(queue, next_id)
    ends = [
        settlement(each, Ack(), joins=[slot(join_id, number, then)])
        for number, each in enumerate((one, two))
    ]
    assert consumer.exchange(ends, 0).lost == (one.receipt,)
    found = backend.fetch_join(join_id)
    assert found is not None
    assert len(found.parts) == 1


def test_joins_that_have_expired_are_swept_with_their_parts(
    station: Station, driver: PostgresDriver, queue: Queue, admin: psycopg.Connection[Any]
) -> None:
    backend = driver.result_backend()
    join_id = new_id()
    backend.join([OpenJoin(join_id, 2, expires=0.001), slot(join_id, 0, follow_up(queue, "x"))])

    def gone() -> bool:
        station.consumer(queue).exchange([], 1)
        rows = admin.execute(
            "SELECT (SELECT count(*) FROM umbel.join_count WHERE join_id = %(id)s) + "
            "(SELECT count(*) FROM umbel.join_part WHERE join_id = %(id)s)",
            {"id": join_id},
        ).fetchall()
        return bool(rows == [(0,)])

    eventually(gone)


# --- the bus --------------------------------------------------------------------------------------


def rows_of(admin: psycopg.Connection[Any], table: str) -> int:
    ((count,),) = admin.execute(f"SELECT count(*) FROM umbel.{table}".encode()).fetchall()
    return int(count)


@pytest.fixture
def line(driver: PostgresDriver) -> Iterator[Line]:
    line = driver.bus().open_line([mailbox(topic(Spread.ALL))])
    yield line
    line.close()


def about(line: Line) -> Topic:
    assert isinstance(line, PostgresLine)
    return line._mailboxes[0].topic


def test_a_notice_may_be_larger_than_a_notification(line: Line) -> None:
    line.listen(PATIENCE)
    text = "x" * 100_000
    line.tell([notice(about(line), text)], timeout=PATIENCE)
    assert hear(line) == [text]


def test_nothing_is_written_for_a_topic_that_nobody_listens_to(
    line: Line, admin: psycopg.Connection[Any]
) -> None:
    line.listen(PATIENCE)
    before = rows_of(admin, "notice")
    assert line.tell([notice(topic(Spread.ALL), "hello")] * 3, timeout=PATIENCE) == 0
    assert rows_of(admin, "notice") == before
    assert line.tell([notice(about(line), "hello")] * 3, timeout=PATIENCE) == 1
    assert rows_of(admin, "notice") == before + 3


def test_a_line_hears_again_after_its_session_ended(
    line: Line, driver: PostgresDriver, admin: psycopg.Connection[Any]
) -> None:
    line.listen(PATIENCE)
    end_sessions(admin, driver)
    eventually(lambda: end_sessions(admin, driver) == 0)
    other = PostgresDriver(driver.address).bus().open_line()
    other.tell([notice(about(line), "meanwhile")], timeout=PATIENCE)
    other.close()
    assert hear(line) == ["meanwhile"]


def test_a_line_whose_mailbox_is_gone_takes_a_new_one(
    line: Line, admin: psycopg.Connection[Any]
) -> None:
    assert isinstance(line, PostgresLine)
    line.listen(PATIENCE)
    admin.execute("TRUNCATE umbel.mailbox, umbel.notice")  # as a crash of the server does
    line._sign_at = 0.0
    line.listen(PATIENCE)
    assert line.tell([notice(about(line), "here again")], timeout=PATIENCE) == 1
    assert hear(line) == ["here again"]


def test_who_gives_no_sign_is_told_nothing_and_swept(
    line: Line, driver: PostgresDriver, admin: psycopg.Connection[Any]
) -> None:
    line.listen(PATIENCE)
    line.tell([notice(about(line), "never heard")], timeout=PATIENCE)
    name = about(line).name
    admin.execute("UPDATE umbel.mailbox SET until = now() WHERE topic = %s", (name,))
    speaker = driver.bus().open_line([mailbox(topic(Spread.ALL))])
    assert speaker.tell([notice(about(line), "hello")], timeout=PATIENCE) == 0
    speaker.listen(PATIENCE)
    speaker.close()
    ((left,),) = admin.execute(
        "SELECT (SELECT count(*) FROM umbel.mailbox WHERE topic = %s) + (SELECT count(*) FROM "
        "umbel.notice AS n WHERE NOT EXISTS (SELECT FROM umbel.mailbox AS m WHERE m.id = "
        "n.mailbox))",
        (name,),
    ).fetchall()
    assert left == 0


def test_who_does_not_come_for_its_notices_is_told_no_more(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "MOST_WAITING", 3)
    line.listen(PATIENCE)
    reached = [line.tell([notice(about(line), str(n))], timeout=PATIENCE) for n in range(6)]
    assert reached == [1, 1, 1, 1, 0, 0]
    assert hear(line, 4) == ["0", "1", "2", "3"]
    assert line.tell([notice(about(line), "again")], timeout=PATIENCE) == 1


def test_what_cannot_be_read_is_left_out(
    line: Line, admin: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    line.listen(PATIENCE)
    admin.execute(
        "INSERT INTO umbel.notice (mailbox, key, raw) SELECT id, '', 'nonsense'::bytea "
        "FROM umbel.mailbox WHERE topic = %s",
        (about(line).name,),
    )
    line.tell([notice(about(line), "sense")], timeout=PATIENCE)
    assert hear(line) == ["sense"]
    assert "cannot be read" in caplog.text

"""From the words after ``umbel worker`` to ``WorkerOptions``."""

from __future__ import annotations

import os

import click
import msgspec
import pytest

from umbel.cli.invocation import Invocation
from umbel.cli.main import umbel
from umbel.cli.parameters import settings_words
from umbel.cli.work_command import worker_options
from umbel.worker.worker_options import POOLS, WorkerOptions


def parse(words: str, *, profile: str = "umbel", app_object: object = None) -> WorkerOptions:
    """Do everything the command does but run the worker."""
    served = Invocation(app=app_object, profile=profile)
    with umbel.make_context("umbel", words.split(), obj=served) as ctx:
        name, command, rest = umbel.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        with command.make_context(name, rest, parent=ctx) as inner:
            values = dict(inner.params)
            overrides = settings_words(values.pop("words"), inner)
            return worker_options(served, overrides, values)


def refusal(words: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        parse(words)
    return caught.value.format_message()


def test_what_is_not_given_is_none():
    assert parse("worker -A proj") == WorkerOptions(app="proj")


@pytest.mark.parametrize(
    "words",
    [
        "worker -A proj",
        "-A proj worker",
        "--app proj worker",
        "--app=proj worker",
        "worker --app=proj",
        "-A other worker -A proj",
    ],
)
def test_the_app_before_the_command_or_after_it(words):
    assert parse(words).app == "proj"


def test_all_common_options_in_both_places():
    wanted = WorkerOptions(
        app="proj",
        broker="redis://b",
        result_backend="redis://r",
        workdir="/tmp",
        no_color=True,
        quiet=True,
    )
    common = "-A proj -b redis://b --result-backend redis://r --config c --workdir /tmp -C -q"
    assert parse(f"{common} worker") == wanted
    assert parse(f"worker {common}") == wanted
    for prefix in ("UMBEL", "CELERY"):
        assert os.environ[f"{prefix}_CONFIG_MODULE"] == "c"
        assert os.environ[f"{prefix}_BROKER_URL"] == "redis://b"
        assert os.environ[f"{prefix}_RESULT_BACKEND"] == "redis://r"


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("-l info", "loglevel", "INFO"),
        ("--loglevel=Debug", "loglevel", "DEBUG"),
        ("-c 4", "concurrency", 4),
        ("--concurrency=4", "concurrency", 4),
        ("-c 0", "concurrency", None),
        ("-c auto", "concurrency", None),
        ("-P threads", "pool", "threads"),
        ("--pool=EVENTLET", "pool", "eventlet"),
        ("-P processes", "pool", "prefork"),
        ("-Q a,b", "queues", ("a", "b")),
        ("--queues a", "queues", ("a",)),
        ("-X a,b", "exclude_queues", ("a", "b")),
        ("-n w1@%h", "hostname", "w1@%h"),
        ("-I a.b,c", "include", ("a.b", "c")),
        ("-E", "task_events", True),
        ("--task-events", "task_events", True),
        ("--events", "task_events", True),
        ("--heartbeat-interval 5", "heartbeat_interval", 5.0),
        ("--without-heartbeat", "without_heartbeat", True),
        ("-B", "beat", True),
        ("-O fair", "optimization", "fair"),
        ("--prefetch-multiplier 1", "prefetch_multiplier", 1),
        ("--time-limit 1.5", "time_limit", 1.5),
        ("--soft-time-limit 1", "soft_time_limit", 1.0),
        ("--max-tasks-per-child 7", "max_tasks_per_child", 7),
        ("--max-memory-per-child 1000", "max_memory_per_child", 1000),
        ("--processes 2", "processes", 2),
        ("--shutdown-timeout 10", "shutdown_timeout", 10.0),
        ("--purge", "purge", True),
        ("--discard", "purge", True),
        ("-f x.log", "logfile", "x.log"),
        ("--logfile=x.log", "logfile", "x.log"),
        ("--http :9100", "http", ":9100"),
        ("--pidfile x.pid", "pidfile", "x.pid"),
        ("--uid nobody", "uid", "nobody"),
        ("--gid nogroup", "gid", "nogroup"),
        ("--umask 027", "umask", 0o27),
        ("--disable-prefetch", "overrides", {"worker_disable_prefetch": "true"}),
        ("--pool-start-method fork", "overrides", {"worker_pool_start_method": "fork"}),
        ("a.b=1 c=x=y", "overrides", {"a.b": "1", "c": "x=y"}),
        ("-- worker.prefetch_multiplier=1", "overrides", {"worker.prefetch_multiplier": "1"}),
    ],
)
def test_every_option_and_its_spellings(words, field, value):
    assert parse(f"worker -A p {words}") == WorkerOptions(app="p", **{field: value})


def test_every_field_of_the_options_can_be_given():
    covered = {
        *("app", "app_object", "broker", "result_backend", "workdir", "no_color", "quiet"),
        *(mark[1] for mark in test_every_option_and_its_spellings.pytestmark[0].args[1]),
    }
    assert covered == set(WorkerOptions.__struct_fields__)


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool(pool):
    assert parse(f"worker -A p -P {pool}").pool == pool


@pytest.mark.parametrize("prefix", ["UMBEL", "CELERY"])
@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("CONCURRENCY", "3", "concurrency", 3),
        ("QUEUES", "a,b", "queues", ("a", "b")),
        ("LOGLEVEL", "info", "loglevel", "INFO"),
        ("HOSTNAME", "w@%h", "hostname", "w@%h"),
        ("MAX_TASKS_PER_CHILD", "5", "max_tasks_per_child", 5),
        ("TASK_EVENTS", "1", "task_events", True),
        ("POOL", "solo", "pool", "solo"),
    ],
)
def test_the_environment_gives_options(monkeypatch, prefix, name, text, field, value):
    monkeypatch.setenv(f"{prefix}_WORKER_{name}", text)
    assert getattr(parse("worker -A p"), field) == value


def test_the_command_line_beats_the_environment(monkeypatch):
    monkeypatch.setenv("CELERY_WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("UMBEL_APP", "env")
    assert parse("worker -c 5").concurrency == 5
    assert parse("worker").app == "env"
    assert parse("worker -A typed").app == "typed"
    assert parse("-A typed worker").app == "typed"


def test_unprefixed_names_count_for_the_celery_command_only(monkeypatch):
    monkeypatch.setenv("APP", "web")
    assert parse("worker", profile="celery").app == "web"
    assert "Which app?" in refusal("worker")


def test_a_program_that_runs_its_own_worker_needs_no_app_option():
    mine = object()
    assert parse("worker", app_object=mine).app_object is mine
    named = parse("worker -A p", app_object=mine)
    assert (named.app, named.app_object) == ("p", None)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("worker", "Which app? Say where it is: umbel worker -A tasks"),
        ("worker -A p -c x", "'x' is neither a number nor auto"),
        ("worker -A p -c -1", "-1 is less than nothing"),
        ("worker -A p -P preefork", "Did you mean prefork?"),
        ("worker -A p -l inf", "Did you mean INFO?"),
        ("worker -A p -Q ,", "give at least one name"),
        ("worker -A p --umask 9", "'9' is no octal number"),
        ("worker -A p word", "'word' is not expected here"),
        ("worker -A p --time-limit -1", "-1.0 is not in the range"),
        ("worker -A p --scheduler x", "Schedules rest in Umbel's own store"),
        ("worker -A p --autoscale 10,1", "does not change its size yet"),
        ("worker -A p -D", "use systemd"),
        ("worker -A p --executable x", "the Python it runs on"),
        ("worker -A p --concurency 3", "--concurrency"),
        ("worker -A p --pool-start-method spawn", "executors are forked, always from a process"),
        ("worker -A p --pool-start-method fokr", "Did you mean fork?"),
    ],
)
def test_refusals_teach(words, part):
    assert part in refusal(words)


def test_an_error_from_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("CELERY_WORKER_CONCURRENCY", "many")
    assert "CELERY_WORKER_CONCURRENCY" in refusal("worker -A p")


def test_a_directory_that_is_not_there_is_refused():
    assert "cannot change to /no/such" in refusal("worker -A p --workdir /no/such")


def test_options_that_have_no_meaning_here_are_accepted():
    words = "worker -A p --without-gossip --without-mingle -S revoked.db --skip-checks"
    assert parse(words) == WorkerOptions(app="p")


def test_the_options_are_values():
    options = parse("worker -A p -Q a x.y=1")
    copied = msgspec.msgpack.decode(msgspec.msgpack.encode(options), type=WorkerOptions)
    assert copied == options

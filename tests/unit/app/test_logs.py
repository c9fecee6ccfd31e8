"""Where log lines go: hijacked or left alone, files, signals, redirected streams."""

from __future__ import annotations

import functools
import io
import logging
import sys
from contextlib import contextmanager

import msgspec
import pytest

from umbel.app import logs, signals
from umbel.app.log_records import TASK, LoggingProxy, TaskFilter
from umbel.app.logs import expand_node_format, log_plan, redirect_standard_streams, setup_logging
from umbel.config.settings import defaults
from umbel.errors import ImproperlyConfigured


@contextmanager
def fresh_logging():
    """Loggers and streams as in a fresh process, and put back afterwards."""
    watched = [logging.root, *map(logging.getLogger, (TASK, "celery", "umbel"))]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in watched]
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    for one in watched:
        one.handlers[:] = []
    try:
        yield
    finally:
        logs._installed.clear()
        sys.stdout, sys.stderr = streams
        logging.captureWarnings(False)
        for one, handlers, level, propagate in before:
            one.handlers[:] = handlers
            one.setLevel(level)
            one.propagate = propagate


def isolated(test):
    """Run the test itself in fresh_logging: pytest changes both between a fixture and its test."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        with fresh_logging():
            test(*args, **kwargs)

    return run


def plan(profile="celery", settings=None, **more):
    chosen = msgspec.structs.replace(defaults(profile), **(settings or {}))
    return log_plan(chosen, node="w1@host.example.com", **more)


def test_default_levels_of_the_profiles():
    assert plan("celery").level == logging.WARNING
    assert plan("umbel").level == logging.INFO
    assert plan("umbel", loglevel="debug").level == logging.DEBUG


def test_a_wrong_level_is_a_configuration_error():
    with pytest.raises(ImproperlyConfigured, match="'loud' is no log level"):
        plan(loglevel="loud")


@isolated
def test_celery_line_format():
    setup_logging(plan(loglevel="INFO"))
    logging.getLogger("celery.worker").info("ready.")
    line = sys.stderr.getvalue()
    assert line.endswith(": INFO/MainProcess] ready.\n")
    assert line.startswith("[20")


@isolated
def test_task_loggers_have_their_own_format():
    setup_logging(plan(loglevel="INFO"))
    logs.get_task_logger("tests.proj.tasks").info("hello")
    assert sys.stderr.getvalue().endswith("INFO/MainProcess] ???[???]: hello\n")
    assert sys.stderr.getvalue().count("hello") == 1


@isolated
def test_hijack_replaces_the_roots_handlers():
    mine = logging.StreamHandler(io.StringIO())
    logging.root.addHandler(mine)
    setup_logging(plan("celery"))
    assert mine not in logging.root.handlers


@isolated
def test_otherwise_they_are_left_alone_and_only_get_the_task_fields():
    mine = logging.StreamHandler(io.StringIO())
    mine.setFormatter(logging.Formatter("%(task_id)s %(message)s"))
    logging.root.addHandler(mine)
    setup_logging(plan("umbel"))
    assert logging.root.handlers == [mine]
    logs.get_task_logger("tests.proj.alone").warning("hi")
    assert mine.stream.getvalue() == "??? hi\n"


@isolated
def test_without_handlers_umbel_adds_one():
    setup_logging(plan("umbel"))
    assert len(logging.root.handlers) == 1


@isolated
def test_setting_up_twice_does_not_double_lines():
    setup_logging(plan())
    setup_logging(plan())
    logging.getLogger("celery").warning("once")
    assert sys.stderr.getvalue().count("once") == 1


@isolated
def test_a_setup_logging_receiver_does_it_all():
    told = {}

    def receiver(**kwargs):
        told.update(kwargs)

    signals.setup_logging.connect(receiver)
    try:
        assert setup_logging(plan(loglevel="INFO", logfile="x.log")) is False
    finally:
        signals.setup_logging.disconnect(receiver)
    assert logging.root.handlers == []
    assert told["loglevel"] == logging.INFO
    assert told["logfile"] == "x.log"
    assert "format" in told
    assert "colorize" in told


@isolated
def test_after_setup_signals_carry_the_loggers():
    seen = []

    def receiver(logger, **kwargs):
        seen.append(logger.name)
        logger.addHandler(logging.NullHandler())

    signals.after_setup_logger.connect(receiver)
    signals.after_setup_task_logger.connect(receiver)
    try:
        assert setup_logging(plan()) is True
    finally:
        signals.after_setup_logger.disconnect(receiver)
        signals.after_setup_task_logger.disconnect(receiver)
    assert seen == ["root", "celery.task"]
    added = [one for one in logging.root.handlers if isinstance(one, logging.NullHandler)]
    assert any(isinstance(one, TaskFilter) for one in added[0].filters)


@isolated
def test_a_log_file_is_written_and_has_no_color(tmp_path):
    where = str(tmp_path / "%n-%i.log")
    setup_logging(plan(logfile=where, settings={"worker_log_color": None}))
    logging.getLogger("celery").error("to the file")
    text = (tmp_path / "w1-0.log").read_text()
    assert "to the file" in text
    assert "\x1b" not in text
    assert sys.stderr.getvalue() == ""


@isolated
def test_a_log_file_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(ImproperlyConfigured, match="cannot be opened: No such file"):
        setup_logging(plan(logfile=str(tmp_path / "no" / "such.log")))


@isolated
def test_a_forked_process_writes_its_own_name_and_file(tmp_path):
    chosen = plan(logfile=str(tmp_path / "w%I.log"))
    setup_logging(chosen)
    logs.rename_process(chosen, "ForkPoolWorker-2", 2)
    logging.getLogger("celery").error("from the child")
    assert "ERROR/ForkPoolWorker-2] from the child" in (tmp_path / "w-2.log").read_text()


@isolated
def test_a_forked_process_on_standard_error_only_changes_its_name():
    chosen = plan()
    setup_logging(chosen)
    logs.rename_process(chosen, "ForkPoolWorker-1", 1)
    logging.getLogger("celery").error("x")
    assert "ERROR/ForkPoolWorker-1] x" in sys.stderr.getvalue()


@isolated
def test_redirected_streams_become_warnings():
    chosen = plan("celery", loglevel="INFO")
    setup_logging(chosen)
    stream = sys.stderr
    redirect_standard_streams(chosen)
    redirect_standard_streams(chosen)
    assert isinstance(sys.stdout, LoggingProxy)
    print("printed")
    assert stream.getvalue().endswith("WARNING/MainProcess] printed\n")
    assert stream.getvalue().count("printed") == 1


@isolated
def test_profile_umbel_does_not_redirect():
    redirect_standard_streams(plan("umbel"))
    assert not isinstance(sys.stdout, LoggingProxy)


@isolated
def test_colors_follow_the_setting_the_option_and_the_environment(monkeypatch):
    assert plan(settings={"worker_log_color": True}).color is True
    assert plan(settings={"worker_log_color": True}, no_color=True).color is False
    monkeypatch.setenv("NO_COLOR", "1")
    assert plan().color is False


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%n", "w1"),
        ("%h", "foo.example.com"),
        ("%d", "example.com"),
        ("%p", "w1@foo.example.com"),
        ("%i", "3"),
        ("%I", "-3"),
        ("%%n%x%", "%n%x%"),
        ("/var/log/%n%I.log", "/var/log/w1-3.log"),
    ],
)
def test_node_formats(pattern, text):
    assert expand_node_format(pattern, "w1@foo.example.com", 3) == text


def test_in_the_main_process_the_dashed_index_is_nothing():
    assert expand_node_format("w%I%i", "w1@host") == "w0"

"""Formatters, filters and the file-like logger."""

from __future__ import annotations

import io
import logging
import sys
from types import SimpleNamespace

import pytest

from umbel.app.context import current
from umbel.app.log_records import (
    TASK,
    ColorFormatter,
    LoggingProxy,
    TaskFilter,
    TaskFormatter,
    get_logger,
    get_task_logger,
    level_number,
)


def record(level: int = logging.INFO, **more) -> logging.LogRecord:
    made = logging.LogRecord("x", level, __file__, 1, "message", (), None)
    made.__dict__.update(more)
    return made


@pytest.fixture
def in_task():
    running = SimpleNamespace(
        task=SimpleNamespace(name="tasks.add"), request=SimpleNamespace(id="id-1")
    )
    token = current.set(running)
    yield
    current.reset(token)


def test_outside_a_task_the_fields_are_there_all_the_same():
    assert (
        TaskFormatter("%(task_name)s[%(task_id)s]: %(message)s", use_color=False).format(record())
        == "???[???]: message"
    )


def test_inside_a_task_its_id_and_name_are_told(in_task):
    made = record()
    assert TaskFilter().filter(made)
    assert (made.task_id, made.task_name) == ("id-1", "tasks.add")


def test_a_record_that_brings_an_id_keeps_it(in_task):
    made = record(task_id="mine")
    TaskFilter().filter(made)
    assert (made.task_id, made.task_name) == ("mine", "???")


def test_levels_have_colors_and_info_has_none():
    formatter = ColorFormatter("%(message)s")
    assert formatter.format(record(logging.ERROR)) == "\x1b[31mmessage\x1b[0m"
    assert formatter.format(record()) == "message"


def test_the_process_is_called_what_it_is():
    formatter = ColorFormatter("%(processName)s", use_color=False, process_name="ForkPoolWorker-1")
    assert formatter.format(record()) == "ForkPoolWorker-1"


def test_task_loggers_hang_below_the_task_logger():
    logger = get_task_logger("tests.some.tasks")
    assert logger.parent is logging.getLogger(TASK)
    assert get_task_logger("tests.some.tasks") is logger


@pytest.mark.parametrize("name", ["celery", "celery.task"])
def test_the_workers_own_names_are_refused(name):
    with pytest.raises(RuntimeError, match="worker's own"):
        get_task_logger(name)


def test_plain_loggers_hang_below_the_base():
    assert get_logger("tests_unrelated").parent is logging.getLogger("celery")
    assert get_logger("celery").parent is logging.root


@pytest.mark.parametrize(
    ("given", "number"),
    [(None, 30), ("info", 20), ("INFO", 20), ("FATAL", 50), (10, 10), ("10", 10), (" debug ", 10)],
)
def test_levels_by_name_and_number(given, number):
    assert level_number(given) == number


def test_a_wrong_level_names_the_right_ones():
    with pytest.raises(ValueError, match="no log level; there are DEBUG"):
        level_number("loud")


@pytest.fixture
def captured():
    logger = logging.Logger("captured")
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    return logger, stream


def test_print_becomes_one_line_for_each_line(captured):
    logger, stream = captured
    print("one\ntwo\n\n", file=LoggingProxy(logger, "WARNING"))
    assert stream.getvalue() == "one\ntwo\n"


def test_bytes_and_percent_signs_are_taken_as_they_are(captured):
    logger, stream = captured
    proxy = LoggingProxy(logger)
    assert proxy.write(b"100%s") == 5
    proxy.writelines(["a", "b"])
    assert stream.getvalue() == "100%s\na\nb\n"


def test_a_handler_that_prints_does_not_begin_a_circle(captured, monkeypatch):
    logger, _ = captured
    proxy = LoggingProxy(logger)
    errors = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", errors)

    class Prints(logging.Handler):
        def emit(self, record):
            print("inner", file=proxy)

    logger.addHandler(Prints())
    print("outer", file=proxy)
    assert errors.getvalue().strip() == "inner"


def test_the_proxy_is_a_file_without_terminal(captured):
    proxy = LoggingProxy(captured[0])
    assert not proxy.isatty()
    assert proxy.writable()
    assert not proxy.readable()
    assert not proxy.seekable()
    proxy.flush()
    proxy.close()
    assert proxy.write("late") == 0

"""The tutorial's programs, as they were written, started as a person would start them.

The files are those in ``examples/tutorial``. Only what a reader would fill in is filled in: the
address of the Redis server, the password or none, and the id of the task in ``result.py``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.e2e.processes import Program, RedisServer

TUTORIAL = Path(__file__).resolve().parents[2] / "examples" / "tutorial"
ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

pytestmark = [pytest.mark.slow, pytest.mark.redis]
with_and_without_password = pytest.mark.parametrize(
    "redis_server", ["123456", None], indirect=True, ids=["password", "no-password"]
)


class Tutorial:
    """A directory with the tutorial's files, as a reader has them."""

    def __init__(self, home: Path, made: Installation, server: RedisServer) -> None:
        self.home = home
        self.made = made
        for file in TUTORIAL.glob("*.py"):
            shutil.copy(file, home)
        self.change("celery_app_task.py", ":123456@127.0.0.1:6379", server.url(0)[8:-2])

    def change(self, name: str, old: str, new: str) -> None:
        file = self.home / name
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def python(self, name: str) -> str:
        """Run one of the files to its end; return what it printed."""
        told = self.made.run("python", name, cwd=self.home)
        assert told.returncode == 0, told.stdout + told.stderr
        assert told.stderr == ""
        return told.stdout.strip()

    def add_task(self) -> str:
        task_id = self.python("add_task.py")
        assert re.match(ID, task_id)
        return task_id

    def result(self, task_id: str) -> str:
        """Run ``result.py`` with this id filled in."""
        file = self.home / "result.py"
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r'id="[^"]*"', f'id="{task_id}"', text), encoding="utf-8")
        return self.python("result.py")

    def start(self, *words: str) -> Program:
        path = str(self.made.bin / words[0])
        return Program([path, *words[1:]], cwd=self.home, env=self.made.environment())


@pytest.fixture
def tutorial(tmp_path: Path, installation: Installation, redis_server: RedisServer) -> Tutorial:
    return Tutorial(tmp_path, installation, redis_server)


def check_round(tutorial: Tutorial, worker: Program, *, log: bool) -> None:
    """A task sent before the worker was there, and one sent while it runs."""
    worker.wait_for(r"\[tasks\]\s+\. celery_app_task\.add")
    task_id = tutorial.add_task()
    if log:
        told = worker.wait_for(rf"Task celery_app_task\.add\[{task_id}\] succeeded in [\d.e-]+s: 9")
        assert f"Task celery_app_task.add[{task_id}] received" in told
    assert wait_for_result(tutorial, task_id) == "9"


def wait_for_result(tutorial: Tutorial, task_id: str) -> str:
    """Run ``result.py`` again until the task is not pending, as a reader would."""
    for _ in range(50):
        told = tutorial.result(task_id)
        if told != "任务等待中被执行":
            return told
    raise AssertionError(f"{task_id} stays pending")


@with_and_without_password
def test_tasks_are_sent_run_and_asked_for(tutorial):
    before = tutorial.add_task()
    assert tutorial.result(before) == "任务等待中被执行"
    with tutorial.start("celery", "worker", "-A", "celery_app_task", "-l", "info") as worker:
        worker.wait_for("succeeded in")
        assert tutorial.result(before) == "9"
        check_round(tutorial, worker, log=True)
        banner = worker.output
        assert ".> app:         test" in banner
        assert "123456" not in banner
        assert worker.end() == 0


def test_run_py_without_arguments(tutorial):
    with tutorial.start("python", "run.py") as worker:
        check_round(tutorial, worker, log=False)
        assert worker.end() == 0


def test_run_py_with_a_log_level(tutorial):
    tutorial.change("run.py", "cel.worker_main()\n", "pass\n")
    tutorial.change("run.py", "# cel.worker_main(argv", "cel.worker_main(argv")
    with tutorial.start("python", "run.py") as worker:
        check_round(tutorial, worker, log=True)
        assert worker.end() == 0


@pytest.mark.parametrize(
    "words",
    [
        "celery worker -A celery_app_task -l info -P eventlet",
        "celery -A celery_app_task worker -l info",
        "python -m celery -A celery_app_task worker --loglevel=INFO",
        "umbel worker -A celery_app_task:cel -l info",
    ],
)
def test_other_ways_to_start_the_worker(tutorial, words):
    with tutorial.start(*words.split()) as worker:
        check_round(tutorial, worker, log=True)
        assert worker.end() == 0


def test_every_state_that_result_py_asks_for(tutorial):
    with (tutorial.home / "celery_app_task.py").open("a") as file:
        file.write(
            "\n@cel.task\ndef broken():\n    raise ValueError('no')\n"
            "\n@cel.task(bind=True)\ndef again(self):\n    raise self.retry(countdown=600)\n"
            "\n@cel.task(track_started=True)\ndef long():\n"
            "    import os, time\n    open('began', 'w').close()\n"
            "    while not os.path.exists('go-on'):\n        time.sleep(0.01)\n"
        )
    call = "import celery_app_task as t; print(t.{}.delay().id)"
    python = str(tutorial.made.python)

    def send(name: str) -> str:
        told = tutorial.made.run(python, "-c", call.format(name), cwd=tutorial.home)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    assert tutorial.result("never-heard-of") == "任务等待中被执行"
    words = "celery worker -A celery_app_task -l info -c 2"
    with tutorial.start(*words.split()) as worker:
        broken, again, long = send("broken"), send("again"), send("long")
        told = worker.wait_for(rf"broken\[{broken}\] raised unexpected: ValueError")
        worker.wait_for(rf"again\[{again}\] retry: Retry in 600s")
        assert "ValueError: no" in told
        assert wait_for_result(tutorial, broken) == "执行失败"
        assert wait_for_result(tutorial, again) == "任务异常后正在重试"
        assert wait_for_result(tutorial, long) == "任务已经开始被执行"
        (tutorial.home / "go-on").touch()
        worker.wait_for(rf"long\[{long}\] succeeded")


def test_forget_deletes_the_result(tutorial):
    with tutorial.start("celery", "worker", "-A", "celery_app_task", "-l", "info") as worker:
        task_id = tutorial.add_task()
        worker.wait_for("succeeded in")
        assert wait_for_result(tutorial, task_id) == "9"
        tutorial.change("result.py", "# result.forget()", "async_.forget()")
        assert tutorial.result(task_id) == "9"
        assert tutorial.result(task_id) == "任务等待中被执行"

"""The commands as a person types them, on the embedded store, with a worker and without one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.e2e.processes import Program

pytestmark = pytest.mark.slow

TASKS = """\
from umbel import Umbel

app = Umbel("shop")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
async def greet(name: str = "you") -> str:
    return f"hello {name}"


@app.task
def broken() -> None:
    raise ValueError("no such luck")
"""


class Project:
    """A directory with ``tasks.py``, and the commands typed in it."""

    def __init__(self, home: Path, made: Installation) -> None:
        self.home = home
        self.made = made
        self.write(TASKS)

    def write(self, text: str) -> None:
        (self.home / "tasks.py").write_text(text)

    def umbel(self, words: str, **env: str) -> tuple[int, str, str]:
        told = self.made.run("umbel", *words.split(), cwd=self.home, env=env)
        return told.returncode, told.stdout, told.stderr

    def start(self, words: str) -> Program:
        command = [str(self.made.bin / "umbel"), *words.split()]
        return Program(command, cwd=self.home, env=self.made.environment())


@pytest.fixture
def project(tmp_path: Path, installation: Installation) -> Project:
    return Project(tmp_path, installation)


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory, installation: Installation):
    """A project with a worker."""
    made = Project(tmp_path_factory.mktemp("project"), installation)
    with made.start("worker -A tasks -c 1 -l info -n w1@here") as worker:
        worker.wait_for("Connected to")
        yield made


def test_call_and_wait(working):
    assert working.umbel("call tasks.add 2 3 --wait -q --timeout 20") == (0, "5\n", "")
    assert working.umbel("call -A tasks tasks.add x=2 y=3 -w -q")[1] == "5\n"
    assert working.umbel("call tasks.add -a [2,3] -w -q -A tasks")[1] == "5\n"
    assert working.umbel('-A tasks call tasks.add -k {"x":2,"y":3} -w -q')[1] == "5\n"
    assert working.umbel("call tasks.greet Ann -w -q")[1] == "hello Ann\n"


def test_call_then_result(working):
    code, task_id, err = working.umbel("call tasks.add 2 3")
    assert (code, err) == (0, "")
    assert working.umbel(f"result -A tasks {task_id}") == (0, "5\n", "")
    document = json.loads(working.umbel(f"result -A tasks --json {task_id}")[1])
    assert (document["state"], document["result"]) == ("SUCCESS", 5)


def test_a_failed_task(working):
    code, out, err = working.umbel("call tasks.broken --wait --timeout 20")
    assert (code, out) == (1, "")
    assert "FAILURE: ValueError: no such luck" in err
    task_id = err.split()[0]
    code, out, _ = working.umbel(f"result -A tasks --traceback {task_id}")
    assert code == 0
    assert out.rstrip().endswith("ValueError: no such luck")


def test_status(working):
    code, out, _ = working.umbel("status -A tasks")
    assert (code, out) == (0, "w1@here: OK\n\n1 node online.\n")
    (node,) = json.loads(working.umbel("status -A tasks --json")[1]).items()
    assert node[0] == "w1@here"
    assert node[1]["ok"] == "pong"
    assert (node[1]["pool"], node[1]["concurrency"]) == ("prefork", 1)
    assert node[1]["queues"] == ["celery"]
    assert working.umbel("status -A tasks -d other@here")[0] == 69


def test_the_doctor_finds_nothing_wrong(working):
    code, out, _ = working.umbel("doctor -A tasks")
    assert code == 0
    assert "fail" not in out.replace("0 failed", "")
    assert "ok   workers: w1@here" in out
    assert "ok   tasks: 3: tasks.add, tasks.broken, tasks.greet" in out


# --- without a worker -----------------------------------------------------------------------------


def test_nobody_is_there(project):
    code, out, err = project.umbel("status -A tasks")
    assert (code, out) == (69, "")
    assert "No worker is alive on this broker" in err
    assert project.umbel("status -A tasks -j")[:2] == (69, "{}\n")


def test_a_result_that_does_not_come(project):
    code, _, err = project.umbel("result -A tasks some-id --timeout 0.1")
    assert code == 1
    assert "No result after 0.1 s: the state of some-id is PENDING" in err
    assert project.umbel("result -A tasks some-id --no-wait")[:2] == (1, "PENDING\n")


def test_wrong_arguments_are_refused_at_the_call(project):
    code, _, err = project.umbel("call tasks.add 1")
    assert code == 1
    assert "missing a required argument: 'y'" in err
    assert "add(x: int, y: int) -> int" in err
    code, _, err = project.umbel("call tasks.add -a 2")
    assert (code, "must be a list" in err) == (2, True)
    code, _, err = project.umbel("call tasks.add -a [2")
    assert (code, "not JSON" in err) == (2, True)


def test_an_unknown_task_is_sent_by_name_with_a_note(project):
    code, out, err = project.umbel("call -A tasks tasks.ad 1 2")
    assert code == 0
    assert len(out.strip()) == 36
    assert "knows no task 'tasks.ad'. Did you mean tasks.add" in err


def test_purge_asks_first(project):
    for _ in range(3):
        project.umbel("call tasks.add 1 2")
    project.umbel("call tasks.add 1 2 --countdown 600")
    made = project.made

    def purge(*words: str, answer: str = "") -> tuple[int, str, str]:
        import subprocess

        told = subprocess.run(
            [str(made.bin / "umbel"), "purge", "-A", "tasks", *words],
            cwd=project.home,
            env=made.environment(),
            input=answer,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return told.returncode, told.stdout, told.stderr

    code, out, err = purge(answer="n\n")
    assert code == 1
    assert "celery: 3 ready, 1 for later" in out
    assert "Stopped" in err
    assert purge("-Q", "other", "-f")[1] == "Purged 0 messages from 1 queue.\n"
    code, _, err = purge("-X", "celry")
    assert code == 2
    assert "Did you mean celery?" in err
    assert purge("-X", "celery")[0] == 2
    assert "Purged 4 messages from 1 queue." in purge(answer="y\n")[1]
    assert purge("-f")[1] == "Purged 0 messages from 1 queue.\n"


def test_report(project):
    code, out, _ = project.umbel("report -A tasks -b redis://:secret@127.0.0.1:1/0")
    assert code == 0
    assert "umbel:0.1.0" in out
    assert "shop (profile umbel)" in out
    assert "secret" not in out


@pytest.mark.parametrize(
    ("text", "level", "words"),
    [
        ("import no_such_module\n", "fail", "No module named 'no_such_module'"),
        ("x = 1\n", "fail", "has no app"),
        (
            TASKS.replace('Umbel("shop")', "Umbel(task_time_limit='soon')"),
            "fail",
            "task_time_limit",
        ),
        (TASKS + "\nif __name__ == '__main__':\n    add.delay(1, 2)\n", "warn", "__main__"),
        ("from umbel import Umbel\napp = Umbel()\n", "warn", "the app has none"),
        (TASKS.replace('"shop"', '"shop", include=["nope"]'), "fail", "nope"),
        (TASKS + "\n@app.task(name='tasks.add')\ndef other(): ...\n", "fail", "Two tasks claim"),
        (
            TASKS.replace('"shop"', '"shop", profile="celery", broker="sqlite:///x"'),
            "warn",
            "no result backend",
        ),
        (TASKS.replace('"shop"', '"shop", task_always_eager=True'), "warn", "task_always_eager"),
    ],
)
def test_the_doctor_says_what_is_wrong(project, text, level, words):
    project.write(text)
    code, out, _ = project.umbel("doctor -A tasks --json")
    findings = json.loads(out)["findings"]
    assert any(
        one["level"] == level and words in one["subject"] + one["detail"] for one in findings
    ), out
    assert code == (1 if level == "fail" else 0)
    assert all(one["advice"] for one in findings if one["level"] == "fail")


def test_the_doctor_tells_what_celery_only_warns_of(project):
    text = TASKS.replace('"shop"', '"shop", profile="celery", broker="sqlite:///x.sqlite3"')
    project.write(text + "\n@app.task(name='tasks.add')\ndef other(): ...\n")
    code, out, err = project.umbel("doctor -A tasks")
    assert (code, err) == (0, "")
    assert "warn task names: Two tasks claim the name 'tasks.add'" in out


def test_the_doctor_tells_what_cannot_be_reached(project):
    code, out, _ = project.umbel("doctor -A tasks -b redis://127.0.0.1:1/0")
    assert code == 1
    assert "fail broker: redis://127.0.0.1:1/0" in out


def test_a_worker_without_an_app_that_can_be_found(project):
    code, out, err = project.umbel("worker -A taks")
    assert code in {1, 2}
    assert out == ""
    assert err.startswith("Error: -A taks: there is no module 'taks'")
    assert "Did you mean tasks?" in err


def test_a_worker_in_another_directory(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    words = f"worker -A tasks --workdir {project.home} --pidfile w.pid -f %n.log -n w2"
    command = [str(project.made.bin / "umbel"), *words.split()]
    with Program(command, cwd=elsewhere, env=project.made.environment()) as worker:
        worker.wait_for(r"\[tasks\]")
        assert project.umbel("call tasks.add 2 3 -w -q --timeout 20")[1] == "5\n"
        assert (project.home / "w.pid").read_text().strip() == str(worker.pid)
        assert worker.end() == 0
    assert "succeeded in" in (project.home / "w2.log").read_text()
    assert not (project.home / "w.pid").exists()
    assert list(elsewhere.iterdir()) == []


# --- dev ------------------------------------------------------------------------------------------


def test_dev_follows_changes(project):
    with project.start("dev tasks.py -c 1") as dev:
        dev.wait_for("Connected to")
        assert project.umbel("call tasks.add 2 3 -w -q --timeout 20")[1] == "5\n"
        project.write(TASKS.replace("x + y", "x * y"))
        dev.wait_for(r"\[dev\] tasks\.py modified: starting anew")
        dev.wait_for("Connected to", count=2)
        assert project.umbel("call tasks.add 2 3 -w -q --timeout 20")[1] == "6\n"

        project.write("def broken(:\n")
        dev.wait_for("SyntaxError")
        dev.wait_for(r"\[dev\] the worker ended with status \d; the next change")
        project.write(TASKS)
        dev.wait_for("Connected to", count=3)
        assert project.umbel("call tasks.add 2 3 -w -q --timeout 20")[1] == "5\n"

        dev.signal(signal.SIGINT)
        assert dev.wait() == 0
        assert "[dev] stopped" in dev.output
    assert project.umbel("status -A tasks")[0] == 69


def test_dev_without_a_file(project):
    code, _, err = project.umbel("dev taks.py")
    assert code == 2
    assert "There is no file taks.py. Did you mean tasks.py?" in err
    assert "The file comes first" in project.umbel("dev -c 1 tasks.py")[2]

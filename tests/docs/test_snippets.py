"""Every page does what it says: its files, commands and sessions are tried, in their order."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.docs.desk import Desk, matches
from tests.docs.pages import DOCS, Command, blocks, commands
from tests.e2e.conftest import needed
from tests.e2e.processes import RedisServer
from umbel.cli.main import umbel

RUN = ("python", "pycon", "console")
OTHERS = ("", "ini", "dockerfile", "yaml", "text", "toml")
"""Languages of blocks that only show something; files among them are written all the same."""
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if "design" not in page.parts and page.name not in ("settings.md", "configuration.md")
)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        needed("redis-server")
    with RedisServer() as server:
        yield server


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_does_what_it_says(page, tmp_path, request):
    text = page.read_text(encoding="utf-8")
    found = [one for one in blocks(text) if one.not_run is None]
    if not any(one.language in RUN for one in found):
        return
    replaced = {}
    if any("localhost:6379" in one.text for one in found):
        server = request.getfixturevalue("redis_server")
        replaced = {"localhost:6379": f"localhost:{server.port}"}
    with Desk(_name(page), tmp_path, replaced) as desk:
        for block in found:
            desk.take(block)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_blocks_say_what_they_are(page):
    for block in blocks(page.read_text(encoding="utf-8")):
        assert block.language in (*RUN, *OTHERS, "stop"), f"line {block.line}: {block.language}"
        if block.not_run is not None:
            assert len(block.not_run) > 10, f"line {block.line}: say why it is not run"


def test_commands_in_files_for_service_managers_can_be_started():
    text = (DOCS / "howto" / "running-a-worker.md").read_text(encoding="utf-8")
    files = {one.language: one.text for one in blocks(text) if one.language in OTHERS}
    unit = re.search(r"^ExecStart=\S+/umbel worker (.+)$", files["ini"], re.MULTILINE)
    image = re.search(r"^CMD (.+)$", files["dockerfile"], re.MULTILINE)
    assert unit is not None
    assert image is not None
    program, command, *words = json.loads(image[1])
    assert (program, command) == ("umbel", "worker")
    worker = umbel.get_command(click.Context(umbel), "worker")
    assert worker is not None
    for options in (unit[1].split(), words):
        with worker.make_context("worker", options) as context:
            assert context.params["concurrency"] > 0


def test_commands_are_told_from_what_they_print():
    text = "$ echo one\none\n$ true\n$ cat <<END\n> two\n> END\ntwo\n"
    assert commands(text) == [
        Command("echo one", "one\n"),
        Command("true", None),
        Command("cat <<END\ntwo\nEND", "two\n"),
    ]


def test_what_differs_from_run_to_run_is_left_open():
    told = "Task a.b[c58c9450-df22-40a9-b02a-01252a7b0833] succeeded in 0.1s: 5\n...\nend\n"
    printed = "Task a.b[00000000-df22-40a9-b02a-01252a7b0833] succeeded in 1e-05s: 5\nx\nend\n"
    assert matches(told, printed)
    assert not matches(told, printed.replace(": 5", ": 6"))

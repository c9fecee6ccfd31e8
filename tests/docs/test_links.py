"""Links between the pages lead somewhere, and nothing tells of the machine it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

PAGES = sorted(
    [
        *DOCS.rglob("*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("packages/*/README.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_MACHINE = re.compile(r"(?<![\w.~/-])(?:/home/\w|/root/|/Users/\w|[A-Za-z]:[\\/]\w)")
"""Paths that exist on the machine of whoever wrote them: homes, and drives with a letter."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {_anchor(one) for one in headings}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page):
    wrong = []
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_page_names_a_path_of_one_machine(page):
    assert not _MACHINE.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", ["in /home/me/x", "`/root/x`", "(/Users/me)", "C:\\code", "D:/code", '"/home/me"']
)
def test_what_counts_as_such_a_path(path):
    assert _MACHINE.search(path)


@pytest.mark.parametrize(
    "text", ["/path/to/home/x", "redis://host", "sqlite:////x", "a:b", "~/root/x"]
)
def test_what_does_not(text):
    assert not _MACHINE.search(text)


def test_every_page_is_reached_from_the_index():
    seen, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.is_relative_to(DOCS):
            continue
        seen.add(page)
        text = page.read_text(encoding="utf-8")
        todo += [
            (page.parent / link.partition("#")[0]).resolve()
            for link in _LINK.findall(_CODE.sub("", text))
            if "://" not in link and not link.startswith("#")
        ]
    missing = {page for page in DOCS.rglob("*.md") if "design" not in page.parts} - seen
    assert not missing

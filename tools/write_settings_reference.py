"""Write docs/reference/settings.md from the settings themselves.

    python tools/write_settings_reference.py           # write the page
    python tools/write_settings_reference.py --check   # status 1 when the page is out of date

Name, type, defaults and sentence of a setting stand at its field in ``umbel.config``; a comment
``# --- Group ---`` before the first field of a group names the group.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from umbel.config.celery_names import OLD_NAMES
from umbel.config.converting import WRITTEN_TYPES
from umbel.config.settings import NAMES, OWN_NAMES, UMBEL_DEFAULTS, Settings, defaults

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"
GROUP = re.compile(r"    # --- (.+) ---")

INTRODUCTION = """\
# Settings

<!-- Written by tools/write_settings_reference.py. Change the sentence at the setting's field. -->

{count} settings: every setting of Celery 5.7 by its name of today, and Umbel's own (marked
**new**). How to set them, and what wins when two places disagree, is told in
[Configuration](../howto/configuration.md).

* **Default** is the default of the profile `celery`, which behaves as Celery does. Where the
  profile `umbel` differs, its default stands below it in bold.
* **seconds** are numbers, or `timedelta` objects in Python code.
* **Old name** is the name before Celery 4, still accepted.
* Every setting can be given by an environment variable: `UMBEL_` and the name in capitals, such as
  `UMBEL_WORKER_CONCURRENCY=4`.

## Where the profile `umbel` differs

| Setting | `umbel` | `celery` |
|---|---|---|
{differences}

In the profile `umbel`, results rest where messages do unless `result_backend` is set: a program
that sets `broker_url="redis://…"` and nothing else has its results in the same Redis.
"""

TYPES = {
    "bool": "bool",
    "int": "int",
    "float": "float",
    "Seconds": "seconds",
    "Octal": "file mode",
    "str": "str",
    "bytes": "bytes",
    "int | str": "int or str",
    "Sequence[str]": "list of str",
    "Mapping[str, Any]": "mapping",
    "Any": "any",
}


class Field(NamedTuple):
    """One setting as it stands in the source."""

    group: str
    name: str
    sentence: str


def fields() -> Iterator[Field]:
    """Return every setting in the order of the groups."""
    classes = [cls for cls in Settings.__mro__ if issubclass(cls, msgspec.Struct)]
    for cls in reversed(classes[:-1]):
        source = inspect.getsource(cls)
        groups = {
            number: match[1]
            for number, line in enumerate(source.splitlines(), 1)
            if (match := GROUP.fullmatch(line))
        }
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        for field, sentence in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign):
                group = groups[max(number for number in groups if number < field.lineno)]
                yield Field(group, ast.unparse(field.target), text_of(field, sentence))


def text_of(field: ast.AnnAssign, node: ast.stmt) -> str:
    """Return the sentence below a field. Raises SystemExit when there is none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).replace("``", "`").split())
    raise SystemExit(f"The setting {ast.unparse(field.target)} has no sentence below it.")


def shown(value: Any) -> str:
    """Return a default as it stands in a table."""
    return f"`{value!r}`".replace("|", "\\|")


def shown_type(name: str) -> str:
    """Return what a setting takes, in words."""
    kind, optional, _ = WRITTEN_TYPES[name].partition(" | None")
    return TYPES[kind] + (" or None" if optional else "")


def row(field: Field) -> str:
    """Return the line of one setting."""
    name = field.name
    default = shown(getattr(defaults("celery"), name))
    if name in UMBEL_DEFAULTS:
        default += f"<br>**{shown(UMBEL_DEFAULTS[name])}**"
    mark = " **new**" if name in OWN_NAMES else ""
    old = f"`{OLD_NAMES[name]}`" if name in OLD_NAMES else ""
    sentence = field.sentence.replace("|", "\\|")
    return f"| `{name}`{mark} | {shown_type(name)} | {default} | {sentence} | {old} |"


def page() -> str:
    """Return the whole page."""
    celery = defaults("celery")
    differences = "\n".join(
        f"| `{name}` | {shown(value)} | {shown(getattr(celery, name))} |"
        for name, value in UMBEL_DEFAULTS.items()
    )
    lines = [INTRODUCTION.format(count=len(NAMES), differences=differences)]
    group = ""
    for field in fields():
        if field.group != group:
            group = field.group
            lines.append(f"## {group}\n\n| Setting | Takes | Default | Meaning | Old name |")
            lines[-1] += "\n|---|---|---|---|---|"
        lines.append(row(field))
    text = "\n".join(lines) + "\n"
    return re.sub(r"(\|)\n## ", r"\1\n\n## ", text)


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        current = PAGE.read_text() if PAGE.exists() else ""
        if current != text:
            print(f"{PAGE} is out of date: run python {Path(__file__).name}", file=sys.stderr)
        return int(current != text)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Puts ``umbel_celery.pth`` at the root of the installation, where Python reads it at its start.

Everything else is in pyproject.toml; setuptools has no word there for a file at that place.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

PTH = "umbel_celery.pth"


class BuildWithPth(build_py):
    """Builds the wheel's content, and the ``.pth`` file beside it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file(PTH, os.path.join(self.build_lib, PTH))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, os.path.join(self.build_lib, PTH)]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), PTH]


class EditableWithPth(editable_wheel):
    """Adds the ``.pth`` file to the wheel of an editable installation once that is written."""

    def run(self) -> None:
        super().run()
        for name in os.listdir(self.dist_dir):
            if name.startswith("umbel_celery-") and name.endswith(".whl"):
                _add_to_wheel(os.path.join(self.dist_dir, name))


def _add_to_wheel(wheel: str) -> None:
    with open(PTH, "rb") as file:
        content = file.read()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(wheel) as archive:
        entries: list[tuple[Any, bytes]] = [(one, archive.read(one)) for one in archive.infolist()]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PTH, content)
        for entry, data in entries:
            if entry.filename.endswith(".dist-info/RECORD"):
                line = f"{PTH},sha256={digest},{len(content)}\n"
                archive.writestr(entry, data + line.encode())
            else:
                archive.writestr(entry, data)


setup(cmdclass={"build_py": BuildWithPth, "editable_wheel": EditableWithPth})

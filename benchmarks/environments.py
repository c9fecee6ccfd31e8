"""Virtual environments of the peers: one each, made on first use from a pinned requirement file.

The harness itself, Umbel and the bare loop run on the interpreter that runs the harness; every
rival lives in ``benchmarks/.venvs/<name>`` so that no two have to agree on a version.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENVS = HERE / ".venvs"


def python_of(environment: str | None) -> Path:
    """Return the interpreter of an environment, made now if it is missing or out of date.

    None is the harness's own. Raises RuntimeError with pip's last lines when installing fails.
    """
    if environment is None:
        return Path(sys.executable)
    requirements = HERE / "peers" / environment / "requirements.txt"
    home = VENVS / environment
    stamp = home / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"benchmarks: making the environment of {environment}", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        _install(home, requirements)
        stamp.write_text(wanted)
    return home / "bin" / "python"


def _install(home: Path, requirements: Path) -> None:
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "-r", str(requirements)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise RuntimeError(f"benchmarks: could not install {requirements}:\n{last}")

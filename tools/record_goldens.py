"""Record what real Celery puts on the wire, for the tests in tests/wire.

Run it with a Python that has Celery 5.7 with its redis, yaml and msgpack extras, and with
``redis-server`` on the path:

    python tools/record_goldens.py tests/wire/goldens

It starts a private Redis, sends every kind of message, lets a real worker produce every kind of
result document, and writes one JSON file for each: the bytes as they were in Redis (``raw`` as
text where they are ASCII, else ``base64``), the key they were under, and the versions. Only
tracebacks are shortened to their ends. Ids and times are fixed wherever Celery lets the caller
choose them, so that the tests can compare field by field.

The tests name the values that were sent; ``goldens_app`` and ``tests/wire/calls.py`` go together.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date  # noqa: F401 - for the expressions in REPRS
from decimal import Decimal  # noqa: F401
from pathlib import Path
from uuid import UUID  # noqa: F401

import celery
import kombu
import redis

import goldens_app


class Recorder:
    """Writes the files, and knows the Redis they come from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = redis.Redis.from_url(goldens_app.URL)

    def write(self, name: str, **content: object) -> None:
        content["versions"] = {"celery": celery.__version__, "kombu": kombu.__version__}
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    def drain(self) -> list[dict[str, str]]:
        """Take every message out of every list, oldest first."""
        found = []
        for key in sorted(self.redis.keys("*")):
            if self.redis.type(key) != b"list":
                continue
            while (raw := self.redis.rpop(key)) is not None:
                found.append({"key": key.decode(), **_bytes(raw)})
        return found

    def messages(self, calls: Iterator[tuple[str, Callable[[], object]]]) -> None:
        for name, send in calls:
            self.redis.flushdb()
            send()
            self.write(f"messages/{name}", messages=self.drain())

    def reprs(self) -> None:
        rows = []
        for source in goldens_app.REPRS:
            value = eval(source, {**globals()})
            wrapped = isinstance(value, dict)
            task = goldens_app.app.send_task
            task("goldens.any", (value,) if wrapped else value, serializer="pickle")
            headers = json.loads(self.drain()[0]["raw"])["headers"]
            rows.append({"source": source, "wrapped": wrapped, "argsrepr": headers["argsrepr"]})
        self.write("reprs", rows=rows)

    def worker_results(self, prefix: str) -> None:
        for name, send in goldens_app.worker_results():
            if prefix == "extended_" and name not in goldens_app.EXTENDED:
                continue
            self.redis.flushdb()
            listener = self.redis.pubsub()
            listener.psubscribe("celery-task-meta-*")
            listener.get_message(timeout=5)
            send()
            documents = self._documents(listener)
            self.write(f"results/{prefix}{name}", documents=documents, parked=self._parked())
            listener.close()

    def _documents(self, listener: redis.client.PubSub) -> list[dict[str, str]]:
        """Collect what is published until nothing has been for a while."""
        found: list[dict[str, str]] = []
        patience = 8.0
        while True:
            message = listener.get_message(ignore_subscribe_messages=True, timeout=patience)
            if message is None:
                return found
            document = _TRACEBACK.sub(_shortened, message["data"])
            found.append({"key": message["channel"].decode(), **_bytes(document)})
            patience = 1.2

    def _parked(self) -> list[dict[str, str]]:
        found = []
        for key in sorted(self.redis.keys("parked*")):
            while (raw := self.redis.rpop(key)) is not None:
                found.append({"key": key.decode(), **_bytes(raw)})
        return found

    def direct_results(self, prefix: str) -> None:
        key = f"celery-task-meta-{goldens_app.ID}"
        for name, store in goldens_app.direct_results():
            if name != "success" and not prefix.endswith(("pickle", "yaml", "msgpack")):
                continue
            self.redis.flushdb()
            store()
            document = {"key": key, **_bytes(self.redis.get(key))}
            self.write(f"results/{prefix}_{name}", documents=[document], parked=[])


_TRACEBACK = re.compile(rb'"traceback": ("(?:[^"\\]|\\.)*")')


def _shortened(found: re.Match[bytes]) -> bytes:
    """Keep the first and the last line of a traceback: the rest is other people's source."""
    lines = json.loads(found[1]).splitlines()
    return b'"traceback": ' + json.dumps(f"{lines[0]}\n{lines[-1]}\n").encode()


def _bytes(raw: bytes) -> dict[str, str]:
    if raw.isascii() and b"\x00" not in raw:
        return {"raw": raw.decode("ascii")}
    return {"base64": base64.b64encode(raw).decode("ascii")}


@contextmanager
def private_redis() -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        sys.exit("redis-server is not on the path")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [server, "--port", str(port), "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        url = f"redis://127.0.0.1:{port}/0"
        try:
            while process.poll() is None:
                try:
                    redis.Redis.from_url(url).ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait()


@contextmanager
def worker(conf: dict[str, object]) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "goldens_app", "worker"]
    command += ["-P", "prefork", "-c", "1", "-n", "goldens@host", "-l", "WARNING"]
    command += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    environment = {**os.environ, "GOLDENS_CONF": json.dumps(conf)}
    environment["C_FORCE_ROOT"] = "1"  # it accepts pickle, from nobody but us
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not goldens_app.app.control.ping(timeout=1):
            pass
        yield
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        return 2
    folder = Path(sys.argv[1]).resolve()
    if "GOLDENS_REDIS" in os.environ:
        record(Recorder(folder), sys.argv[2])
        sys.stdout.flush()
        os._exit(0)  # or each forgotten AsyncResult complains on the way out
    with private_redis() as url:
        os.environ["GOLDENS_REDIS"] = url
        goldens_app.app.conf.update(broker_url=url)
        again(folder, "messages", {})
        again(folder, "old_messages", {"task_protocol": 1})
        again(folder, "berlin_messages", {"timezone": "Europe/Berlin"})
        for name, conf in goldens_app.DIRECT.items():
            again(folder, name, conf)
        for prefix, conf in (("worker", {}), ("extended", {"result_extended": True})):
            with worker(conf):
                again(folder, prefix, conf)
    return 0


def again(folder: Path, part: str, conf: dict[str, object]) -> None:
    """Record one part in a process of its own: a Celery app keeps the settings it began with."""
    environment = {**os.environ, "GOLDENS_CONF": json.dumps(conf)}
    subprocess.run([sys.executable, __file__, str(folder), part], env=environment, check=True)


def record(recorder: Recorder, part: str) -> None:
    if part == "messages":
        recorder.messages(goldens_app.messages())
        recorder.write("messages/hybrid", messages=[{"key": "celery", "raw": goldens_app.hybrid()}])
        recorder.reprs()
    elif part == "berlin_messages":
        recorder.messages(goldens_app.berlin_messages())
    elif part == "old_messages":
        recorder.messages(goldens_app.old_messages())
    elif part in goldens_app.DIRECT:
        recorder.direct_results(part)
    else:
        recorder.worker_results(f"{part}_")


if __name__ == "__main__":
    sys.exit(main())

"""A RabbitMQ node of a test's own, which it may stop, kill, starve and start again.

It takes some seconds to start, so tests share one and use queues with random names.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.rabbitmq_broker import missing
from tests.redis_server import free_port

PATIENCE = 90.0
_PACKAGED = Path("/usr/lib/rabbitmq/bin")
"""Where Debian keeps the real programs; those in PATH insist on the system's own node."""


class RabbitNode:
    """Listens on a free port of 127.0.0.1, and with TLS on another; keeps its data over restarts.

    Skips the test where there is no ``rabbitmq-server``; fails there with ``CI=true``.
    """

    def __init__(self) -> None:
        self._server, self._ctl = _program("rabbitmq-server"), _program("rabbitmqctl")
        self.port, self.tls_port = free_port(), free_port()
        self.name = f"umbel-{secrets.token_hex(4)}@localhost"
        self._home = tempfile.TemporaryDirectory(
            prefix="umbel-rabbitmq-", ignore_cleanup_errors=True
        )
        home = Path(self._home.name)
        self._pid_file = home / "pid"
        self._log = home / "output"
        self.certificate = home / "certificate.pem"
        self._env = {
            **{key: each for key, each in os.environ.items() if not key.startswith("RABBITMQ_")},
            "HOME": str(home),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(self._pid_file),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(home / "node"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "environment"),
        }
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}"]
        if self._make_certificate(home):
            lines += [
                f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {self.certificate}",
                f"ssl_options.certfile = {self.certificate}",
                f"ssl_options.keyfile = {home / 'key.pem'}",
                "ssl_options.verify = verify_none",
                "ssl_options.fail_if_no_peer_cert = false",
            ]
        (home / "node.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def _make_certificate(self, home: Path) -> bool:
        openssl = shutil.which("openssl")
        if openssl is None:
            return False
        command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-keyout", str(home / "key.pem"), "-out", str(self.certificate)]
        command += ["-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(command, check=True, capture_output=True)
        return True

    def url(self, port: int | None = None) -> str:
        """Return the address of its one virtual host; ``port`` of a proxy before it."""
        return f"amqp://guest:guest@127.0.0.1:{port or self.port}//"

    def tls_url(self) -> str:
        """Return the address of the TLS listener; skips where no certificate could be made."""
        if not self.certificate.exists():
            missing("openssl is not in PATH")
        return f"amqps://guest:guest@localhost:{self.tls_port}//"

    def start(self) -> RabbitNode:
        """Start it and return once it has loaded its data and accepts connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._server],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
            if self._answers():
                return self
            time.sleep(0.05)  # the node tells nobody when it begins to listen
        raise AssertionError(f"RabbitMQ does not answer:\n{self._log.read_text(encoding='utf-8')}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def stop(self) -> None:
        """Have it end in order (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(int(self._pid_file.read_text(encoding="ascii")), number)
        self._process.wait(PATIENCE)

    def ctl(self, *words: str) -> str:
        """Run one command of ``rabbitmqctl`` on this node and return what it says."""
        done = subprocess.run(
            [self._ctl, "--quiet", "--node", self.name, *words],
            env=self._env,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"rabbitmqctl {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def starve(self) -> None:
        """Raise the alarm of its memory: from now on it takes no messages."""
        self.ctl("set_vm_memory_high_watermark", "0.00001")

    def feed(self) -> None:
        """End the alarm."""
        self.ctl("set_vm_memory_high_watermark", "0.4")

    def close(self) -> None:
        """End it and remove its files."""
        if self._process is not None:
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    self.kill()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
        self._home.cleanup()


def _program(name: str) -> str:
    packaged = _PACKAGED / name
    if packaged.exists():
        return str(packaged)
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not in PATH")
    return found

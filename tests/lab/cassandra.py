"""A real Cassandra for tests, one node: fetched with Maven (64 MB), started on free loopback ports, stopped by its process."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from lab.janusgraph import fetched
from support.ports import free_ports

RECIPE = Path(__file__).with_name("cassandra")
READY_SECONDS = 90.0
_EXPORTS = (
    "java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp", "java.sql/java.sql", "jdk.attach/sun.tools.attach", "jdk.unsupported/sun.misc",
)  # fmt: skip
_OPENS = (
    "java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect",
    "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader", "java.base/jdk.internal.math", "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch", "java.compiler/javax.tools", "jdk.management/com.sun.management.internal",
)  # fmt: skip
_OPTIONS = (
    "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djdk.attach.allowAttachSelf=true",
    "-Dcassandra-foreground=yes", "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=100",
    "-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.skip_sync=true", "-Djna.nosys=true",
)  # fmt: skip


class Cassandra:
    """One node: stopped and started again it keeps its ports and its folder.

    Raises:
        LookupError: it cannot be fetched.
    """

    def __init__(self, folder: Path) -> None:
        self._libraries = fetched(RECIPE / "pom.xml", "cassandra")
        self._folder = folder
        folder.mkdir(parents=True)
        storage, self.port = free_ports(2)
        text = (RECIPE / "cassandra.yaml").read_text()
        for name, value in (("STORAGE_PORT", storage), ("NATIVE_PORT", self.port), ("FOLDER", folder / "data")):
            text = text.replace(name, str(value))
        (folder / "cassandra.yaml").write_text(text)
        shutil.copy(RECIPE / "logback.xml", folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        [agent] = self._libraries.glob("jamm-*.jar")
        command = ["java", *_OPTIONS, f"-javaagent:{agent}"]
        for option, names in (("--add-exports", _EXPORTS), ("--add-opens", _OPENS)):
            for name in names:
                command += [option, f"{name}=ALL-UNNAMED"]
        command += [
            f"-Dcassandra.config=file://{self._folder / 'cassandra.yaml'}",
            f"-Dcassandra.storagedir={self._folder / 'data'}",
            f"-Dlogback.configurationFile=file://{self._folder / 'logback.xml'}",
        ]
        command += ["-cp", f"{self._libraries}/*", "org.apache.cassandra.service.CassandraDaemon"]
        log = self._folder / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Cassandra did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5):
                return True
        except OSError:
            return False

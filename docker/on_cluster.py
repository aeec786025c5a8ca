"""Run one chemprop-hpo command on the Ray cluster of docker-compose.yml.

Whoever starts work on a Ray cluster must be on one of its nodes. So this joins the cluster as a
node without CPUs, on which no trial runs, and leaves it when the command has ended. Commands
that only read or write the study are run as they are.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ON_RAY = (["sweep"], ["resume"], ["ensembles"], ["registry", "candidate"])
ATTEMPTS = 3
JOIN_WITHIN_S = 90.0
LEAVE_WITHIN_S = 20.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RUNS = "Ray runtime started."
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments are, and return its exit code."""
    if not trains(arguments):
        os.execvp("chemprop-hpo", ["chemprop-hpo", *arguments])
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with joined(os.environ["RAY_HEAD"]):
        return run(["chemprop-hpo", *with_services(arguments)])


def trains(arguments: Sequence[str]) -> bool:
    """Whether a command trains models, which happens on the cluster."""
    if "--help" in arguments or any(part.startswith("--ensemble") for part in arguments):
        return False  # an ensemble that is registered was trained before
    return list(arguments[:1]) in ON_RAY or list(arguments[:2]) in ON_RAY


def with_services(arguments: Sequence[str]) -> list[str]:
    """Return a command line that names the services, for a sweep; later a study knows them."""
    if arguments[0] != "sweep":
        return list(arguments)
    services = {
        "ray.address": os.environ["RAY_HEAD"],
        "mlflow.tracking_uri": os.environ["MLFLOW_URL"],
        "promotion.ledger": os.environ["LEDGER_URL"],
    }
    given = {argument.partition("=")[0] for argument in arguments}
    return [*arguments, *(f"{key}={v}" for key, v in services.items() if key not in given)]


@contextmanager
def joined(head: str) -> Iterator[None]:
    """Be a node of the cluster while entered."""
    with tempfile.TemporaryDirectory(prefix="ray-node-") as folder:
        node = join(head, Path(folder, "log"))
        try:
            yield
        finally:
            leave(node)


def join(head: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a node; Ray allows 30 s for that, which do not always suffice at once."""
    for _ in range(ATTEMPTS):
        node = start(head, log)
        try:
            if has_joined(node, log):
                return node
        except BaseException:
            leave(node)
            raise
        leave(node)
    said = log.read_text(errors="replace")
    raise SystemExit(f"{said}error: cannot join the Ray cluster at {head}; is ray-head up?")


def start(head: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a node without CPUs, in a session of its own: Ctrl-C is for the sweep."""
    command = ["ray", "start", f"--address={head}", "--num-cpus=0", "--include-log-monitor=false"]
    command += ["--block"]
    without = {name: value for name, value in os.environ.items() if name != "PGPASSWORD"}
    with log.open("wb") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env=without
        )


def has_joined(node: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait until the node says that it runs, or has failed."""
    deadline = time.monotonic() + JOIN_WITHIN_S
    while node.poll() is None and time.monotonic() < deadline:
        if RUNS in COLOURS.sub("", log.read_text(errors="replace")):
            return True
        time.sleep(0.2)
    return False


def leave(node: subprocess.Popen[bytes]) -> None:
    """End the node in order, or at least end it."""
    node.terminate()
    try:
        node.wait(LEAVE_WITHIN_S)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def run(command: Sequence[str]) -> int:
    """Run a command, pass signals on to it, and return its exit code."""
    process = subprocess.Popen(command)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: process.send_signal(number))
    code = process.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

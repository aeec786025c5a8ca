"""Read docker-compose.yml as Compose reads it, and say how to run its services on this machine."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
# What listens within the file: each host and port that another service may name.
LISTENS = {"postgres": 5432, "s3": 8333, "mlflow": 5000, "dashboard": 8080, "ray-head": 6379}


class MissingVariableError(Exception):
    """A variable that has no default is not set, so that Compose refuses the whole file."""


def read_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with its variables put in.

    Raises
    ------
    MissingVariableError
        As Compose refuses the file, with its message.
    """
    read: dict[str, Any] = _interpolated(yaml.safe_load(COMPOSE_FILE.read_text()), variables)
    return read


def references() -> dict[str, tuple[str | None, str]]:
    """Return each variable of the file: ``-`` and its default, or ``?`` and its message."""
    found = _REFERENCE.finditer(COMPOSE_FILE.read_text())
    return {match["name"]: (match["kind"], match["rest"]) for match in found}


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _looked_up(match, variables), value)
    if isinstance(value, dict):
        return {key: _interpolated(item, variables) for key, item in value.items()}
    return [_interpolated(item, variables) for item in value] if isinstance(value, list) else value


def _looked_up(match: re.Match[str], variables: Mapping[str, str]) -> str:
    value = variables.get(match["name"], "")
    if not value and match["kind"] == "?":
        raise MissingVariableError(f"{match['name']}: {match['rest']}")
    return value or (match["rest"] or "")


@dataclass(frozen=True)
class Local:
    """The services of the file on this machine: 127.0.0.1 in place of each host's name."""

    services: Mapping[str, Any]
    ports: Mapping[str, int]

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Local:
        """Read the file, and find a free port for each that listens."""
        return cls(read_compose(variables)["services"], _free_ports())

    def command(self, service: str) -> list[str]:
        """Return what the container runs: entry point and command, the image's where not given."""
        asked = self.services[service]
        entry = asked.get("entrypoint") or ["chemprop-hpo"]  # as the Dockerfile has it
        return [self._own(service, part) for part in [*entry, *asked.get("command", [])]]

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment that the file gives to a service."""
        given = self.services[service].get("environment", {})
        return {name: self._here(str(value)) for name, value in given.items()}

    def health(self, service: str) -> list[str]:
        """Return the command that asks a service whether it is well."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        if kind != "CMD":
            raise ValueError(f"{service}: a health check of kind {kind} is not understood here")
        return [self._own(service, part) for part in command]

    def _own(self, service: str, text: str) -> str:
        """Put in the service's own port, and let it listen to this machine only."""
        text = self._here(text.replace("0.0.0.0", "127.0.0.1"))
        if service not in LISTENS or text.startswith("--allowed-hosts="):
            return text
        return re.sub(rf"(?<![\d.]){LISTENS[service]}(?!\d)", str(self.ports[service]), text)

    def _here(self, text: str) -> str:
        if text.startswith("--allowed-hosts="):  # names that clients call it by, here as there
            return text
        for service, port in LISTENS.items():
            host = rf"(?<![\w-]){service}:{port}(?!\d)"
            text = re.sub(host, f"127.0.0.1:{self.ports[service]}", text)
        return text.replace("/opt/chemprop-hpo/docker/", f"{ROOT}/docker/")


def _free_ports() -> dict[str, int]:
    taken = {service: socket.create_server(("127.0.0.1", 0)) for service in LISTENS}
    ports = {service: held.getsockname()[1] for service, held in taken.items()}
    for held in taken.values():
        held.close()
    return ports

"""docker-compose.yml, the Dockerfile and what lies beside them, as far as no Docker is needed."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.stack.compose import COMPOSE_FILE, LISTENS, MissingVariableError, read_compose
from tests.stack.compose import references as references_of_file

ROOT = COMPOSE_FILE.parent
REFERENCES = references_of_file()
SECRETS = {name: "x" for name, (kind, _) in REFERENCES.items() if kind == "?"}
FILE = read_compose(SECRETS)
SERVICES = FILE["services"]
OWN_IMAGE = "chemprop-hpo:local"
STAY = sorted(name for name, service in SERVICES.items() if service["restart"] == "unless-stopped")


def test_it_is_a_compose_file_by_the_schema_of_the_specification() -> None:
    # check-jsonschema carries the schema of github.com/compose-spec/compose-spec.
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, COMPOSE_FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_is_our_own_or_of_one_version(service: str) -> None:
    asked = SERVICES[service]
    if asked["image"] == OWN_IMAGE:
        return
    tag = asked["image"].partition(":")[2].partition("-")[0]
    assert len(Version(tag).release) >= 2


def test_one_service_builds_our_image_before_the_others_start() -> None:
    # Several builds of one image at the same time end in "already exists".
    assert [name for name, asked in SERVICES.items() if "build" in asked] == ["prepare"]
    assert SERVICES["prepare"]["image"] == OWN_IMAGE


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_published_beyond_this_machine(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
        assert int(port.rsplit(":", 1)[1]) == LISTENS[service]
    assert "network_mode" not in SERVICES[service]


@pytest.mark.parametrize("service", STAY)
def test_what_stays_up_says_how_it_is(service: str) -> None:
    health = SERVICES[service]["healthcheck"]
    assert health["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} < set(health)


@pytest.mark.parametrize("service", SERVICES)
def test_nobody_waits_for_what_cannot_come(service: str) -> None:
    for name, wait in SERVICES[service].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[name]
        else:
            assert wait["condition"] == "service_completed_successfully"
            assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("missing", SECRETS)
def test_without_one_of_the_secrets_nothing_starts(missing: str) -> None:
    for value in ({}, {missing: ""}):
        given = {name: "x" for name in SECRETS if name != missing} | value
        with pytest.raises(MissingVariableError, match=rf"set {missing} in \.env"):
            read_compose(given)


def test_no_secret_has_a_default_and_none_is_written_in_the_file() -> None:
    secret = re.compile("PASSWORD|TOKEN|KEY|SECRET")
    assert {name for name in REFERENCES if secret.search(name)} == set(SECRETS)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not secret.search(name) or value == "x"
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value))


def test_each_secret_reaches_only_those_who_need_it() -> None:
    told = {
        secret: {
            name
            for name, service in read_compose({**SECRETS, secret: "told"})["services"].items()
            if "told" in map(str, service.get("environment", {}).values())
        }
        for secret in SECRETS
    }
    assert told == {
        "POSTGRES_PASSWORD": {"postgres", "prepare"},
        "STUDIES_PASSWORD": {"prepare", "dashboard", "hpo"},
        "MLFLOW_PASSWORD": {"prepare", "mlflow"},
        "S3_ACCESS_KEY": {"s3", "prepare", "mlflow"},
        "S3_SECRET_KEY": {"s3", "prepare", "mlflow"},
        "RAY_TOKEN": {"ray-head", "ray-worker", "hpo"},
    }


def test_the_example_of_env_names_every_variable_and_gives_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    said = [line.removeprefix("# ") for line in lines]
    values = dict(line.split("=", 1) for line in said if re.fullmatch(r"[A-Z\d_]+=\S*", line))
    assert set(values) == set(REFERENCES)
    for name, (kind, default) in REFERENCES.items():
        assert values[name] == ("" if kind == "?" else default)
        assert (f"{name}=" in lines) == (kind == "?")


def test_the_documented_way_to_env_gives_each_secret_a_value_of_its_own(tmp_path: Path) -> None:
    documentation = (ROOT / "docs/services.md").read_text()
    (script,) = re.findall(r"```bash\n(umask.*?)```", documentation, re.DOTALL)
    shutil.copy(ROOT / ".env.example", tmp_path)
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    values = dict(line.split("=") for line in lines if line and line[0] != "#")
    assert set(values) == set(SECRETS)
    assert all(re.fullmatch(r"[\da-f]{48}", value) for value in values.values())
    assert len(set(values.values())) == len(SECRETS)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    read_compose(values)


def test_only_mlflow_finds_the_store_of_artifacts() -> None:
    inside = {name for name, service in SERVICES.items() if "objects" in service["networks"]}
    assert inside == {"s3", "prepare", "mlflow"}
    assert SERVICES["s3"]["networks"] == ["objects"]
    assert FILE["networks"]["objects"] == {"internal": True}


def test_what_must_last_lies_in_a_named_volume() -> None:
    named = {name for name, service in SERVICES.items() for v in _volumes(service, named=True)}
    used = {v for service in SERVICES.values() for v in _volumes(service, named=True)}
    assert used == set(FILE["volumes"])
    assert named == {"postgres", "s3", "ray-head", "ray-worker", "hpo"}


def test_the_file_of_secrets_is_in_no_container() -> None:
    volumes = SERVICES["hpo"]["volumes"]
    assert ".:/srv/hpo/project:ro" in volumes
    assert "/dev/null:/srv/hpo/project/.env:ro" in volumes
    assert not _is_sent(".env")
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in ignored


def test_all_that_works_on_a_study_works_in_one_folder() -> None:
    for service in ("ray-head", "ray-worker", "hpo"):
        assert "work:/srv/hpo" in SERVICES[service]["volumes"]
    assert "WORKDIR /srv/hpo" in DOCKERFILE


DOCKERFILE = (ROOT / "Dockerfile").read_text()
COPIED = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_about_the_services_names_each_image_and_port(service: str) -> None:
    page = (ROOT / "docs/services.md").read_text()
    (row,) = [line for line in page.splitlines() if re.match(rf"\| [^|]*`{service}`", line)]
    image = SERVICES[service]["image"]
    assert ("the project's own" if image == OWN_IMAGE else f"`{image}`") in row
    for port in SERVICES[service].get("ports", []):
        assert f"http://{port.rpartition(':')[0]}" in row


def test_the_image_begins_with_one_python_that_the_package_supports() -> None:
    (tag,) = re.findall(r"^ARG PYTHON_IMAGE=python:(\S+)-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert Version("3.11") <= Version(tag) < Version("3.13")
    assert len(Version(tag).release) == 3
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def test_the_image_does_not_run_as_root_and_installs_what_was_tested() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users == ["10001"]
    assert "--constraint constraints.txt" in DOCKERFILE
    assert DOCKERFILE.index("USER 10001") < DOCKERFILE.index("ENTRYPOINT")


def test_all_that_the_image_copies_is_there_and_is_sent_and_nothing_else(tmp_path: Path) -> None:
    copied = {name.rstrip("/") for line in COPIED for name in line.split()}
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert not _is_sent(".git/config")
    assert not _is_sent("data/assay.csv")
    assert _is_sent("hpo/cli.py")


def test_the_package_can_be_built_of_what_the_image_copies(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in {name for line in COPIED for name in line.split()} - {"docker/"}:
        if (ROOT / name).is_dir():
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*build, "--wheel-dir", tmp_path, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("chemprop_hpo-*.whl"))) == 1


def _volumes(service: Any, *, named: bool) -> list[str]:
    sources = [volume.partition(":")[0] for volume in service.get("volumes", [])]
    return [s for s in sources if re.fullmatch(r"[\w-]+", s)] if named else sources


def _is_sent(path: str) -> bool:
    """Whether a file reaches the builder: the last line of .dockerignore that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        if line and line[0] != "#" and any(fnmatch.fnmatch(head, pattern) for head in heads):
            sent = line[0] == "!"
    return sent

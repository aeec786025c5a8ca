from __future__ import annotations

import pytest

from chemprop_hpo.configs.schema import StudyConfig, SweepConfig
from chemprop_hpo.configs.secrets import (
    has_masked,
    mask_mapping,
    mask_text,
    mask_url,
    same_place,
)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql+psycopg://me:hunter2@host:5432/db",
            "postgresql+psycopg://me:***@host:5432/db",
        ),
        ("postgresql://me:p@ss/w:ord@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:hunter2@host/db", "postgresql://:***@host/db"),
        ("https://me:hunter2@mlflow.org/x", "https://me:***@mlflow.org/x"),
        (
            "postgresql://host/db?user=me&password=hunter2",
            "postgresql://host/db?user=me&password=***",
        ),
        ("postgresql://me:${oc.env:PW}@host/db", "postgresql://me:${oc.env:PW}@host/db"),
        ("postgresql://me:${oc.env:PW,hunter2}@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hunter2${oc.env:PW}@host/db", "postgresql://me:***@host/db"),
        ("${oc.env:URL,postgresql://me:hunter2@h/d}", "${oc.env:URL,postgresql://me:***@h/d}"),
        ("postgresql://me:hunter2@${oc.env:HOST}/db", "postgresql://me:***@${oc.env:HOST}/db"),
    ],
)
def test_a_password_in_a_url_is_masked_and_nothing_else(url, masked):
    assert mask_url(url) == masked
    assert mask_url(masked) == masked


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///studies.db",
        "sqlite:////abs/with:colon@sign.db",
        "postgresql://host/db",
        "postgresql://me@host/db",
        "http://127.0.0.1:8080",
        "CC(=O)[O-]",
        "",
    ],
)
def test_text_without_a_password_is_left_alone(url):
    assert mask_url(url) == url
    assert not has_masked(url)


def test_a_masked_password_is_recognised():
    assert has_masked("postgresql://me:***@host/db")
    assert has_masked("postgresql://host/db?password=***")
    assert not has_masked("postgresql://me:stars@host/db")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql://me:${oc.env:PW}@host/db", True),
        ("postgresql://me:***@host/db", "postgresql://me:${oc.env:PW}@host/db", True),
        ("postgresql://me:***@host/db", "postgresql://me:***@other/db", False),
        ("postgresql://host/db?password=***", "postgresql://host/db?password=x", True),
        ("sqlite:///a.db", "sqlite:///b.db", False),
    ],
)
def test_a_place_is_the_same_however_its_password_is_written(one, other, same):
    assert same_place(one, other) is same


def test_a_mapping_is_masked_however_deep():
    values = {"a": [{"url": "x://u:hunter2@h"}], "n": 3, "t": ("y://u:hunter2@h", None)}
    assert mask_mapping(values) == {
        "a": [{"url": "x://u:***@h"}],
        "n": 3,
        "t": ["y://u:***@h", None],
    }


def test_masking_a_message_keeps_its_words():
    text = "cannot reach postgresql://me:hunter2@host/db: refused by x@y, nor z://u:pw@h"
    masked = "cannot reach postgresql://me:***@host/db: refused by x@y, nor z://u:***@h"
    assert mask_text(text) == masked


def test_the_repr_of_a_configuration_shows_no_password():
    study = StudyConfig(storage="postgresql://me:hunter2@host/db")
    config = SweepConfig.model_validate({"data": {"target_cols": ["y"]}, "study": study})
    assert study.storage.count("hunter2") == 1
    assert "hunter2" not in repr(config) + str(config) + repr(study) + str(study)

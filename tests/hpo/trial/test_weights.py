"""Files of a study: whose they are, and which of them stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from chemprop_hpo.configs.errors import UsageError
from chemprop_hpo.hpo.trial.weights import claim_folder, keep_only, refuse_foreign
from chemprop_hpo.storage.trials import FoldersInUse


def trial_folder(study: Path, name: str) -> Path:
    folder = study / "trials" / name
    folder.mkdir(parents=True)
    (folder / "best.pt").write_bytes(b"")
    (folder / "epoch_00003.ckpt").write_bytes(b"")
    return folder


def test_a_folder_of_another_study_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    claim_folder(tmp_path, "esol", 1.0, "sqlite:///one.db")
    claim_folder(tmp_path, "esol", 1.0, "sqlite:///moved.db")
    kept = trial_folder(tmp_path, "00000")
    with pytest.raises(UsageError, match=r"another study, 'esol' in sqlite:///one\.db"):
        claim_folder(tmp_path, "esol", 2.0, "sqlite:///two.db")
    with pytest.raises(UsageError, match="remove that folder"):
        refuse_foreign(tmp_path, "esol", None)
    assert (kept / "best.pt").exists()


def test_the_best_keep_weights_the_unfinished_all_and_the_others_nothing(tmp_path: Path) -> None:
    for name in ("00000", "00001", "00002"):
        trial_folder(tmp_path, name)
    used = FoldersInUse(frozenset({"trials/00000"}), frozenset({"trials/00001"}))
    keep_only(tmp_path, lambda: used)
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    assert left == [
        "trials/00000/best.pt",
        "trials/00001/best.pt",
        "trials/00001/epoch_00003.ckpt",
    ]

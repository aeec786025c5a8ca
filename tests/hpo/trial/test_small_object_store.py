"""Data that Ray's object store has no room for, on the real Ray."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.sweep import start_sweep
from tests.hpo import scripted
from tests.hpo.test_contract import trials_in

STORE = 80 * 2**20
"""About the least that Ray takes."""


def _train(
    spec: Any, fold: Fold, on_epoch: Callable[..., bool], resume_from: Path | None = None
) -> Any:
    assert fold.nbytes > STORE
    for packed in fold.graphs.values():
        assert packed.batch(np.arange(len(packed))).V.isfinite().all()  # reads every atom
    return scripted.scripted_train(spec, fold, on_epoch, resume_from)


@pytest.mark.timeout(300)
def test_data_larger_than_rays_object_store_train_from_files_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray, "init", partial(ray.init, object_store_memory=STORE))
    (tmp_path / "large").mkdir()
    loaded = scripted.sweep_of(
        tmp_path,
        [scripted.GOOD, scripted.EARLY],
        data={"file": str(scripted.table(tmp_path / "large", rows=1000))},
        resources={"max_concurrent_trials": 2},
    )
    result = start_sweep(loaded, observers=(), train=_train)
    assert "Ray's object store holds 84 MB: they are kept in files on the disk" in caplog.text
    assert result.reason == "finished"
    assert [trial.state.name for trial in trials_in(tmp_path)] == ["COMPLETE", "COMPLETE"]

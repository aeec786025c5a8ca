"""Where trials run: the study's folder must be seen by every node."""

from __future__ import annotations

from pathlib import Path

import pytest

from chemprop_hpo.configs.errors import ResourceError
from chemprop_hpo.hpo.trial import cluster


def node(name: str) -> dict[str, object]:
    return {"Alive": True, "NodeName": name, "NodeID": name, "Resources": {"CPU": 2.0}}


def test_nodes_that_do_not_see_the_studys_folder_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.nodes", lambda: [node("near"), node("far")])
    monkeypatch.setattr(cluster, "_sees", lambda node_id, token: node_id == "near")
    with pytest.raises(ResourceError, match="is not seen by far; set study.folder"):
        cluster.require_shared_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("nbytes", "says_so"), [(79_000_000, False), (200_000_000, True)])
def test_data_that_no_object_store_holds_are_said_to_lie_on_the_disk(
    nbytes: int,
    says_so: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stores = [node(name) for name in ("near", "far")]
    for one, size in zip(stores, (5e9, 8e7), strict=True):
        one["Resources"] = {"CPU": 2.0, "object_store_memory": size}
    monkeypatch.setattr("ray.nodes", lambda: [*stores, {"Alive": False}])
    cluster.warn_where_disk_is_memory(nbytes)
    assert ("the data take 200 MB and Ray's object store holds 80 MB" in caplog.text) == says_so


def test_a_closed_port_is_no_cluster_and_does_not_wait() -> None:
    with pytest.raises(ResourceError, match=r"no Ray cluster at 127\.0\.0\.1:1 .*ray start --head"):
        cluster._join("127.0.0.1:1")


def test_rays_client_is_refused_with_what_to_do() -> None:
    with pytest.raises(ResourceError, match="ray.address=auto"):
        cluster._join("ray://127.0.0.1:10001")

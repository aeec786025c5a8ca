"""A candidate whose model goes to a bucket."""

from __future__ import annotations

import pytest

from chemprop_hpo.configs.errors import TrackingError
from tests.hpo.promotion.made_registry import Place, aliases
from tests.hpo.tracking import conftest, test_bucket

free_port, refused = conftest.free_port, test_bucket.refused


def test_a_bucket_without_permission_is_named_and_the_same_command_goes_on(
    place: Place, refused: test_bucket.Bucket
) -> None:
    there = place.config.mlflow.model_copy(update={"artifact_location": refused.location})
    place.config = place.config.model_copy(update={"mlflow": there})
    with pytest.raises(TrackingError, match="cannot be used: .*AccessDenied") as caught:
        place.candidate()
    assert "\n" not in str(caught.value)
    assert (place.registry().versions(), aliases(place)) == ([], {})
    refused.allow()
    assert place.candidate().version == "1"
    (version,) = place.registry().versions()
    assert place.registry().record(version).metrics["test_rmse"] == 0.6
    assert "record.json" in refused.objects()

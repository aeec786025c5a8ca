from __future__ import annotations

import pytest
from mlflow import MlflowClient

from chemprop_hpo.configs.schema import MlflowConfig
from chemprop_hpo.hpo.tracking.metric_names import accepted_names
from chemprop_hpo.hpo.tracking.server import experiment_id


def test_names_that_look_alike_stay_apart_in_any_order() -> None:
    names = ["r2/A>B", "r2/A<B", "r2/A_B", "r2/c"]
    shown = accepted_names(names)
    assert len(set(shown.values())) == 4
    assert (shown["r2/A_B"], shown["r2/c"]) == ("r2/A_B", "r2/c")
    assert accepted_names(reversed(names)) == shown


@pytest.mark.parametrize(
    "name",
    ["IC50 (nM), 50%", "../up", "..up", "/root", "a//b", "a/./b", "end/", "", "µM·h", "x" * 400],
)
def test_any_column_name_becomes_one_that_mlflow_takes(
    name: str, uri: str, client: MlflowClient
) -> None:
    experiment = experiment_id(client, MlflowConfig(tracking_uri=uri))
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, accepted_names([name])[name], 1.0)
    assert len(client.get_run(run).data.metrics) == 1

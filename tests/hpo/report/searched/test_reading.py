"""What a report is told of the search: parameters, trials, the top, and what lies beyond ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter
from chemprop_hpo.hpo.report.searched.reading import read_search
from chemprop_hpo.hpo.search import importance
from tests.hpo.ensembles.scenes import config_of

SPACE: dict[str, Any] = {
    "max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.45, "step": 0.1},
    "depth": {"type": "randint", "low": 2, "high": 6},
    "batch_size": {"type": "choice", "choices": [16, 64]},
    "ffn_type": {"type": "choice", "choices": ["regression", "mixture_of_experts"]},
    "n_experts": {
        "type": "randint",
        "low": 2,
        "high": 8,
        "condition": "ffn_type == 'mixture_of_experts'",
    },
    "hidden_dim": {"type": "fixed", "value": 300},
    "num_layers": {"type": "choice", "choices": [1]},
}
DISTRIBUTIONS = {
    "max_lr": FloatDistribution(1e-4, 1e-1, log=True),
    "depth": IntDistribution(2, 6),
    "ffn_type": CategoricalDistribution(("regression", "mixture_of_experts")),
    "n_experts": IntDistribution(2, 8),
}


@pytest.fixture(autouse=True)
def few_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "SHUFFLES", 2)


def study_of(n: int, direction: str = "minimize") -> optuna.Study:
    """Return a study of ``n`` complete trials, the best in the middle, and one stopped."""
    study = optuna.create_study(direction=direction)
    for i in range(n + 1):
        params = {"max_lr": 1e-4 * 1000 ** (i / n), "depth": 2 + i % 5}
        params |= {"ffn_type": "mixture_of_experts", "n_experts": 3} if i % 2 else {}
        study.add_trial(
            create_trial(
                params=params | {"ffn_type": params.get("ffn_type", "regression")},
                distributions={k: DISTRIBUTIONS[k] for k in (*params, "ffn_type")},
                value=abs(i / n - 0.5) * (1 if direction == "minimize" else -1),
                state=TrialState.COMPLETE if i < n else TrialState.PRUNED,
            )
        )
    return study


def read(folder: Path, n: int, direction: str = "minimize", **sections: Any) -> Search:
    config = config_of(folder, **{"search_space": SPACE, **sections})
    found = read_search(study_of(n, direction), config)
    assert found is not None
    return found


def by_name(search: Search) -> dict[str, SearchedParameter]:
    return {parameter.name: parameter for parameter in search.parameters}


def test_what_has_one_value_only_was_not_searched(tmp_path: Path) -> None:
    assert set(by_name(read(tmp_path, 4))) == set(SPACE) - {"hidden_dim", "num_layers"}


def test_ranges_and_lists_are_those_of_the_configuration(tmp_path: Path) -> None:
    found = by_name(read(tmp_path, 4))
    assert (found["max_lr"].ends, found["max_lr"].log) == ((1e-4, 1e-1), True)
    assert (found["dropout"].ends, found["dropout"].step) == ((0.0, 0.4), 0.1)
    assert (found["depth"].ends, found["depth"].step, found["depth"].log) == ((2, 6), 1, False)
    assert found["batch_size"].choices == (16, 64)
    assert found["n_experts"].condition == "ffn_type == 'mixture_of_experts'"


def test_what_lies_beyond_an_end_is_known_from_the_field(tmp_path: Path) -> None:
    beyond = {n: (p.can_be_lower, p.can_be_higher) for n, p in by_name(read(tmp_path, 4)).items()}
    assert beyond["max_lr"] == (True, True)
    assert beyond["dropout"] == (False, True)
    assert beyond["n_experts"] == (False, True)
    assert beyond["batch_size"] == (True, True)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_trials_stand_by_their_value_with_the_top_first(tmp_path: Path, direction: str) -> None:
    found = read(tmp_path, 30, direction)
    assert len(found.trials) == 30
    assert found.trials[0].number == 15
    assert [trial.top for trial in found.trials] == [True] * 5 + [False] * 25
    assert found.stopped == 1
    assert "n_experts" in found.trials[0].parameters


def test_importances_put_the_parameters_in_order(tmp_path: Path) -> None:
    found = read(tmp_path, 30)
    shares = [p.importance for p in found.parameters if p.importance is not None]
    assert found.parameters[0].name == "max_lr"
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0)
    assert by_name(found)["dropout"].importance is None  # no trial had it
    assert not found.reason


def test_few_trials_are_shown_without_importances(tmp_path: Path) -> None:
    found = read(tmp_path, 4)
    assert [p.importance for p in found.parameters] == [None] * 6
    assert [p.name for p in found.parameters] == [n for n in SPACE if n in by_name(found)]
    assert "4 complete trials" in found.reason


def test_a_study_without_complete_trials_or_without_a_space_has_no_search(tmp_path: Path) -> None:
    config = config_of(tmp_path, search_space=SPACE)
    assert read_search(optuna.create_study(), config) is None
    fixed = config_of(tmp_path, search_space={"hidden_dim": SPACE["hidden_dim"]})
    assert read_search(study_of(4), fixed) is None

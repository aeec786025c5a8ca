"""A made-up limit of memory: what runs out of it teaches the sampler, and stops no sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Study
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from chemprop_hpo.configs.schema import SamplerConfig, SweepConfig
from chemprop_hpo.hpo.chemistry.training.train import EpochReport, TrainingSpec
from chemprop_hpo.hpo.search.sampler import build_sampler
from chemprop_hpo.hpo.search.space import Space
from chemprop_hpo.hpo.sweep import start_sweep
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_study
from chemprop_hpo.storage.trials import best_trials
from tests.hpo import scripted

LIMIT = 1200 * 128 * 3
LEARNT_AFTER = 15
TRIALS = 45
SEEDS = range(5)

SEARCHED = {
    "depth": {"type": "randint", "low": 2, "high": 6},
    "message_hidden_dim": {"type": "randint", "low": 300, "high": 2400, "step": 100},
    "batch_size": {"type": "choice", "choices": [32, 64, 128, 256]},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.4},
}
SPACE = Space.of(
    SweepConfig.model_validate(
        {"data": {"file": "x.csv", "target_cols": ["y"]}, "search_space": SEARCHED}
    )
)


def fits(params: dict[str, Any]) -> bool:
    return params["message_hidden_dim"] * params["batch_size"] * params["depth"] <= LIMIT


def loss_of(params: dict[str, Any]) -> float:
    """Return a loss that is better for wider models: the best lie at the limit."""
    return 1 - params["message_hidden_dim"] / 4800 + params["dropout"]


# --------------------------------------------------------------------------- the study alone

Ending = Callable[[Study, Trial], None]


def violated(study: Study, trial: Trial) -> None:
    trial.set_constraint("memory", 1.0)
    study.tell(trial, state=TrialState.PRUNED)


def pruned(study: Study, trial: Trial) -> None:
    study.tell(trial, state=TrialState.PRUNED)


def failed(study: Study, trial: Trial) -> None:
    study.tell(trial, state=TrialState.FAIL)


def study_of(
    sampler: BaseSampler, ending: Ending, *, n: int, epochs: int = 0, prunes: bool = True
) -> Study:
    """Return a study whose trials run out of memory after some epochs, or at once."""
    study = optuna.create_study(sampler=sampler)
    for _ in range(n):
        trial = study.ask()
        params = SPACE.suggest(trial)
        for epoch in range(1, 1 + (3 if fits(params) else epochs)):
            trial.report(loss_of(params), epoch)
        if not fits(params):
            ending(study, trial)
        elif prunes and trial.number % 9:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, loss_of(params))
    return study


def share_out_of_memory(kind: str, ending: Ending, seed: int, epochs: int) -> float:
    """Return how many of the later trials run out of memory."""
    sampler = build_sampler(SamplerConfig(type=kind), seed, SPACE)
    study = study_of(sampler, ending, n=TRIALS, epochs=epochs)
    return float(np.mean([not fits(trial.params) for trial in study.trials[LEARNT_AFTER:]]))


def mean_share(kind: str, ending: Ending, epochs: int = 0) -> float:
    return float(np.mean([share_out_of_memory(kind, ending, seed, epochs) for seed in SEEDS]))


@pytest.mark.parametrize("epochs", [0, 5], ids=["at the first epoch", "at the sixth"])
def test_tpe_avoids_what_runs_out_of_memory(epochs: int) -> None:
    assert mean_share("tpe", violated, epochs) < mean_share("random", violated) / 2


def test_a_failure_would_teach_it_less() -> None:
    assert mean_share("tpe", failed) > 2 * mean_share("tpe", violated)


def test_without_the_constraint_a_trial_that_got_far_would_be_taken_for_a_good_one() -> None:
    assert mean_share("tpe", pruned, epochs=5) > 3 * mean_share("tpe", violated, epochs=5)


# --------------------------------------------------------------------------- a whole sweep


def train_within_limit(
    spec: TrainingSpec,
    fold: Any,
    on_epoch: Callable[[EpochReport, Any], bool],
    resume_from: Path | None = None,
) -> EpochReport:
    """Train two epochs where the model fits; a wider one is better."""
    model, batch_size = spec.model, spec.optimization.batch_size
    if model.message_hidden_dim * batch_size * model.depth > LIMIT:
        raise MemoryError("12 GiB asked for")
    loss = loss_of({"message_hidden_dim": model.message_hidden_dim, "dropout": model.dropout})
    for epoch in (1, 2):
        end: dict[str, Any] = {"stop_reason": "max_t", "final": {}} if epoch == 2 else {}
        figures = {"val_loss": loss}
        curve = (loss,) * epoch
        report = EpochReport(epoch, loss, loss, 1, figures, figures, curve, 0.01, **end)
        on_epoch(report, scripted.Scripted(report))
    return report


def test_a_sweep_goes_on_after_each_trial_that_runs_out_of_memory_and_learns_as_above(
    tmp_path: Path,
) -> None:
    loaded = scripted.sweep_of(
        tmp_path,
        [],
        search_space=SEARCHED,
        num_samples=30,
        scheduler={"type": "none", "max_t": 2, "grace_period": 1},
        seed=3,
    )
    result = start_sweep(loaded, train=train_within_limit)
    with open_database(loaded.config.study.storage, create=False) as db:
        study = open_study(db, "scripted")
        trials = study.get_trials()
        best = best_trials(study, 1)[0]
    assert result.counts["COMPLETE"] + result.counts["PRUNED"] == len(trials) == 30
    ends = {(fits(t.params), t.state.name, t.user_attrs["stop_reason"]) for t in trials}
    assert ends == {(True, "COMPLETE", "max_t"), (False, "PRUNED", "oom")}
    oom = [trial for trial in trials if not fits(trial.params)]
    assert all(trial.constraints == {"memory": 1.0} for trial in oom)
    assert all(trial.user_attrs["error"] == "12 GiB asked for" for trial in oom)
    assert fits(dict(best.params))
    alone = study_of(build_sampler(SamplerConfig(), 3, SPACE), violated, n=30, prunes=False)
    assert [trial.params for trial in trials] == [trial.params for trial in alone.trials]

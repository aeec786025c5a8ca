"""The candidate becomes the champion, or is told why not."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pandas as pd
import pytest

from chemprop_hpo.configs.errors import (
    TrackingError,
    UsageError,
)
from chemprop_hpo.hpo.promotion.adopting import adopt_moved
from chemprop_hpo.hpo.promotion.candidate import register_candidate
from chemprop_hpo.hpo.promotion.registered.model_run import ModelRun
from chemprop_hpo.hpo.promotion.registered.registry import Registry
from chemprop_hpo.storage.ledger import Ledger
from tests.hpo.promotion.made_registry import (
    GOOD,
    LABELS,
    Place,
    aliases,
    config_of,
    promoted,
    write_record,
    write_said,
)


def test_the_first_candidate_becomes_champion(place: Place) -> None:
    place.candidate()
    done = promoted(place)
    assert (done.moved, done.champion, done.gain) == (True, None, None)
    assert aliases(place) == {"champion": "1"}


def test_a_dry_run_moves_nothing(place: Place) -> None:
    place.candidate()
    done = promoted(place, dry_run=True)
    assert (done.decision.allowed, done.moved) == (True, False)
    assert aliases(place) == {"candidate": "1"}


def test_a_better_candidate_replaces_the_champion_and_says_how_probable_it_is(place: Place) -> None:
    for error in (0.6, 0.5):
        place.candidate(error)
        done = promoted(place)
    assert aliases(place) == {"champion": "2"}
    assert done.gain is not None
    assert (done.gain.probability, done.gain.rows) == (1.0, len(LABELS))
    assert done.gain.gain.value == pytest.approx(0.1)
    with place.ledger() as ledger:
        move = ledger.history(place.registry().model, "champion")[-1]
    assert (move.expected, move.version, move.kind) == ("1", "2", "promote")
    assert "test_rmse 0.5 is" in move.reason
    assert move.decision["allowed"] is True


def test_a_candidate_that_is_hardly_better_is_blocked_with_figure_and_bound(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    place.candidate(0.597)
    done = promoted(place)
    assert not done.moved
    (rule,) = done.decision.blocked
    assert "better than the champion's 0.6" in rule.text
    assert "at least 1 %" in rule.text
    assert aliases(place) == {"champion": "1", "candidate": "2"}


def test_a_dirty_tree_blocks_unless_that_is_allowed(place: Place) -> None:
    place.candidate(provenance={"dirty": True})
    assert [rule.name for rule in promoted(place).decision.blocked] == ["git_tree"]
    place.config = config_of(place.uri, allow_dirty=True)
    assert promoted(place).moved


def test_without_a_candidate_it_says_how_to_get_one(place: Place) -> None:
    with pytest.raises(UsageError, match=r"there is no candidate of .*'alkanes'; register one"):
        promoted(place)


def test_the_champion_is_not_promoted_again(place: Place) -> None:
    place.candidate()
    promoted(place)
    registry = place.registry()
    registry.set_alias("candidate", "1")  # a hand does so
    with place.ledger() as ledger:
        adopt_moved(registry, ledger, "by hand")
    with pytest.raises(UsageError, match="version 1 of 'alkanes' is the champion already"):
        promoted(place)


def test_test_rows_in_another_order_are_the_same_rows(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    predictor = place.predictor(0.5)
    table = pd.read_csv(predictor.parent / "test_predictions.csv")
    table.iloc[::-1].to_csv(predictor.parent / "test_predictions.csv", index=False)
    write_record(predictor, metrics={**GOOD, "test_rmse": 0.5, "test_mae": 0.5})
    with place.ledger() as ledger:
        register_candidate(place.registry(), ledger, place.config, predictor)
    gain = promoted(place).gain
    assert gain is not None
    assert gain.gain.value == pytest.approx(0.1)


def test_another_candidate_that_comes_meanwhile_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.candidate()
    write = Registry.set_alias

    def and_another_comes(registry: Registry, alias: str, version: str | None) -> None:
        write(registry, alias, version)
        if alias == "champion":
            monkeypatch.undo()
            place.candidate(0.5)

    monkeypatch.setattr(Registry, "set_alias", and_another_comes)
    monkeypatch.setattr(Ledger, "held", contextlib.nullcontext)  # as where a lock was lost
    assert promoted(place).moved
    assert aliases(place) == {"champion": "1", "candidate": "2"}


def test_a_server_that_goes_away_between_the_two_moves_does_not_hide_the_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.candidate()
    write = Registry.set_alias

    def and_away(registry: Registry, alias: str, version: str | None) -> None:
        if alias == "candidate":
            raise TrackingError("the server is away")
        write(registry, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", and_away)
        done = promoted(place)
    assert done.moved
    assert done.undone == (
        "version 1 is still the candidate as well, until another comes: the server is away"
    )
    assert aliases(place) == {"champion": "1", "candidate": "1"}
    assert place.candidate(0.5).replaced == "1"
    assert promoted(place).undone is None


def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_is_told_why(
    place: Place,
) -> None:
    place.candidate()
    ready = place.folder / "ready"
    ready.mkdir()
    command = [sys.executable, "-m", "tests.hpo.promotion.racing_promoter", place.uri, str(ready)]
    racers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    said = sorted(racer.communicate(timeout=300)[0].strip() for racer in racers)
    assert said[0] == "moved: True"
    assert said[1].startswith("refused: 'champion' of 'alkanes' is version 1 by now, promoted by")
    assert aliases(place) == {"champion": "1"}
    with place.ledger() as ledger:
        assert [m.state for m in ledger.history(place.registry().model, "champion")] == ["done"]


def test_a_model_that_is_registered_and_no_longer_eligible_does_not_become_candidate(
    place: Place,
) -> None:
    predictor = place.predictor()
    strict = config_of(place.uri, max_generalisation_gap=1e-9)
    for config in (place.config, strict):
        with place.ledger() as ledger:
            made = register_candidate(place.registry(), ledger, config, predictor)
        place.candidate(0.5)
    assert (made.version, made.decision.allowed) == (None, False)
    assert aliases(place)["candidate"] == "3"


def test_a_predictor_of_another_study_is_refused(place: Place) -> None:
    predictor = place.predictor()
    other = place.config.model_copy(
        update={"study": place.config.study.model_copy(update={"name": "other"})}
    )
    with (
        place.ledger() as ledger,
        pytest.raises(UsageError, match="made of study 'alkanes', not of"),
    ):
        register_candidate(place.registry(), ledger, other, predictor)


def test_a_run_that_a_kill_left_open_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = place.predictor()
    with monkeypatch.context() as patch, place.ledger() as ledger:
        patch.setattr(ModelRun, "log", _interrupted)
        patch.setattr(ModelRun, "__exit__", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            register_candidate(place.registry(), ledger, place.config, predictor)
    with place.ledger() as ledger:
        made = register_candidate(place.registry(), ledger, place.config, predictor)
    client = place.registry().client
    (experiment,) = [e for e in client.search_experiments() if e.name == "chemprop_hpo"]
    runs = client.search_runs([experiment.experiment_id])
    states = {run.info.run_id == made.run_id: run.info.status for run in runs}
    assert states == {True: "FINISHED", False: "KILLED"}


def test_other_targets_block_with_a_rule_and_not_with_an_error(place: Place) -> None:
    place.candidate()
    promoted(place)
    targets = [{"name": "oxygens", "transform": "none", "label_std": 2.0, "tested": True}]
    record = json.loads((place.predictor().parent / "records.json").read_text())["combined"]
    predictor = place.folder / f"ensembles_{place.made}" / "combined"
    table = pd.read_csv(predictor.parent / "test_predictions.csv")
    table.columns = [name.replace("carbons", "oxygens") for name in table.columns]
    table.to_csv(predictor.parent / "test_predictions.csv", index=False)
    write_record(predictor, targets=targets, metrics=record["metrics"])
    with place.ledger() as ledger:
        register_candidate(place.registry(), ledger, place.config, predictor)
    assert "same_targets" in [rule.name for rule in promoted(place).decision.blocked]


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_a_later_predictor_said_of_other_rows_is_not_compared(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    predictor = place.predictor(0.5)
    write_said(predictor.parent, LABELS[::-1])
    table = pd.read_csv(predictor.parent / "test_predictions.csv").iloc[1:]
    table.to_csv(predictor.parent / "test_predictions.csv", index=False)
    write_record(predictor)
    with place.ledger() as ledger:
        register_candidate(place.registry(), ledger, place.config, predictor)
    assert promoted(place, dry_run=True).gain is None

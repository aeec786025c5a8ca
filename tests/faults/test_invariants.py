"""Each invariant can fail: a healthy study, and what is said when one thing in it is amiss."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import create_engine, text

from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.ownership import Driver, claim_slot, continue_trial
from chemprop_hpo.storage.studies import StudyRecord, open_or_create_study
from tests.faults.integrity import integrity_violations
from tests.faults.invariants import (
    Witness,
    failures,
    violations_at_the_end,
    violations_in_flight,
)
from tests.faults.remains import file_violations
from tests.faults.snapshots import Link, Snapshot, read_snapshot

CURVE = {1: 0.9, 2: 0.7, 3: 0.7, 4: 0.6}


def link(number: int, state: str, slot: int, epochs: range, **attributes: Any) -> Link:
    best = {epoch: CURVE[epoch] for epoch in epochs}
    last = max(best, default=0)
    attributes = {
        "slot": slot,
        "seed": slot,
        "bracket": 0,
        "checkpoint": f"trials/{slot:05d}",
        "epochs": last,
        "metrics": {"val_loss": 0.6},
        "driver": "dead",
        **attributes,
    }
    value = CURVE[last] if state == "COMPLETE" else None
    return Link(number, state, value, {"depth": slot}, best, attributes, f"text of {number}")


def healthy() -> Snapshot:
    """Three slots: one trial at once, one continued twice, one pruned."""
    links = (
        link(0, "COMPLETE", 0, range(1, 5), stop_reason="max_t"),
        link(1, "FAIL", 1, range(1, 3), stop_reason="orphaned", continued_by=3),
        link(2, "PRUNED", 2, range(1, 3), stop_reason="asha"),
        link(3, "FAIL", 1, range(2, 4), stop_reason="interrupted", continues=1, continued_by=4),
        link(4, "COMPLETE", 1, range(4, 5), stop_reason="max_t", continues=3),
    )
    return Snapshot(3, 4, links, (0, 1, 2), ((1, 3), (3, 4)))


def changed(number: int, **fields: Any) -> Callable[[Snapshot], Snapshot]:
    def change(study: Snapshot) -> Snapshot:
        links = [replace(one, **fields) if one.number == number else one for one in study.links]
        return replace(study, links=tuple(links))

    return change


def said(number: int, **attributes: Any) -> Callable[[Snapshot], Snapshot]:
    def change(study: Snapshot) -> Snapshot:
        before = dict(study.links[number].attributes)
        return changed(number, attributes=before | attributes)(study)

    return change


def without(*numbers: int) -> Callable[[Snapshot], Snapshot]:
    return lambda study: replace(
        study, links=tuple(one for one in study.links if one.number not in numbers)
    )


def with_link(new: Link) -> Callable[[Snapshot], Snapshot]:
    return lambda study: replace(study, links=(*study.links, new))


def with_fields(**fields: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda study: replace(study, **fields)


def test_a_healthy_study_violates_nothing() -> None:
    assert violations_at_the_end(healthy()) == []
    assert failures(healthy()) == []


CASES = [
    (changed(2, state="RUNNING"), "trial 2 is RUNNING although the sweep is over"),
    (changed(4, state="WAITING"), "trial 4 is WAITING although the sweep is over"),
    (with_fields(live=frozenset(["d1"])), "driver d1 lives"),
    (without(2), r"numbered \[0, 1, 3, 4\]"),
    (without(2), "slot 2 of the budget is used by no trial"),
    (said(2, slot=0), "slot 0 is used by 2 chains"),
    (said(2, slot=None), "1 chains of trials have no slot"),
    (said(2, slot=7), "slot 7 is beyond the budget"),
    (with_fields(slots=(0, 1)), r"slots \[0, 1\] are claimed of a budget of 3"),
    (with_fields(slots=(0, 1, 2, 3)), "are claimed of a budget of 3"),
    (
        with_link(link(5, "COMPLETE", 1, range(1, 5), stop_reason="max_t", continues=1)),
        "trial 1 has 2 successors",
    ),
    (
        with_link(link(5, "COMPLETE", 1, range(1, 5), stop_reason="max_t", continues=9)),
        "continues trial 9, which does not exist",
    ),
    (said(4, continues=None), "the table says that 4 continues 3, successors say otherwise"),
    (said(1, continued_by=None), "the table says that 3 continues 1, continued trials say"),
    (with_fields(continued=((1, 3),)), "successors say that 4 continues 3, the table does not"),
    (with_fields(continued=((1, 3), (3, 4), (3, 4))), "holds a pair twice"),
    (changed(1, state="COMPLETE"), "trial 1 is COMPLETE .* and was continued"),
    (said(1, stop_reason="error"), r"trial 1 is FAIL \(error\) and was continued"),
    (said(4, continued_by=5), "trial 4 is continued by trial 5, which is not there"),
    (
        with_link(link(5, "FAIL", 1, range(1, 2), stop_reason="orphaned")),
        r"trial 5 failed \(orphaned\) and was not continued",
    ),
    (said(3, seed=8), "trial 3 continues trial 1 with seed 8 instead of 1"),
    (said(4, slot=2), "trial 4 continues trial 3 with slot 2 instead of 1"),
    (said(3, bracket=1), "with bracket 1 instead of 0"),
    (changed(3, params={"depth": 9}), "with params {'depth': 9} instead of {'depth': 1}"),
    (changed(3, params={"width": 9}), "with params {'width': 9} instead of {'depth': 1}"),
    (changed(3, best={4: 0.6}), "trial 3 begins at epoch 4 where 2 is known"),
    (changed(4, best={2: 0.7, 4: 0.6}), None),
    (changed(3, best={2: 0.7}), r"chain of trial 4 has no epochs \[3\]"),
    (changed(3, best={2: 0.7, 3: 0.65}), None),
    (changed(3, best={2: 0.7000000000000001}), "trial 3 reports 0.7000000000000001 in epoch 2"),
    (changed(2, best={}), "trial 2 is PRUNED without an epoch"),
    (changed(0, best=CURVE | {5: 0.6}), "trial 0 has epoch 5 of at most 4"),
    (changed(0, value=0.61), "trial 0 has the value 0.61, its epochs end at 0.6"),
    (
        changed(0, best={1: 0.9, 2: 0.7}, value=0.7),
        r"trial 0 is complete \(max_t\) after epoch 2 of 4",
    ),
    (said(2, metrics={}), "trial 2 is PRUNED without metrics"),
    (said(2, epochs=3), "trial 2 counts 3 epochs, not 2"),
]


@pytest.mark.parametrize(("change", "line"), CASES, ids=[str(line) for _, line in CASES])
def test_what_is_amiss_at_the_end_is_said(
    change: Callable[[Snapshot], Snapshot], line: str | None
) -> None:
    found = violations_at_the_end(change(healthy()))
    if line is None:
        assert found == []
    else:
        assert any(re.search(line, one) for one in found), found


def test_a_trial_that_was_given_up_counts_and_is_a_failure() -> None:
    last = link(5, "FAIL", 3, range(1, 2), stop_reason="orphaned", error="given up: it died")
    study = replace(with_link(last)(healthy()), num_samples=4, slots=(0, 1, 2, 3))
    assert violations_at_the_end(study) == []
    assert failures(study) == ["trial 5 failed for good (orphaned): given up: it died"]


def test_a_successor_that_was_withdrawn_is_no_link() -> None:
    withdrawn = link(5, "FAIL", 1, range(0), continues=1, error="withdrawn: it was not needed")
    study = with_link(withdrawn)(healthy())
    assert violations_at_the_end(study) == []
    assert failures(study) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda study: study, None),
        (changed(2, text="another"), "trial 2 was finished and changed from text of 2 to another"),
        (changed(2, state="RUNNING", text="another"), "trial 2 was finished and changed"),
        (without(4), "trial 4 is lost"),
        (with_link(link(5, "RUNNING", 3, range(0))), None),
    ],
)
def test_a_witness_sees_what_is_lost_or_changed(
    change: Callable[[Snapshot], Snapshot], line: str | None
) -> None:
    witness = Witness()
    assert witness.see(healthy()) == []
    found = witness.see(change(healthy()))
    assert len(found) == (line is not None)
    assert all(one.startswith(str(line)) for one in found)


def test_a_witness_lets_a_running_trial_change() -> None:
    witness = Witness()
    running = changed(2, state="RUNNING", text="before")(healthy())
    assert witness.see(running) == []
    assert witness.see(changed(2, text="after")(running)) == []
    assert witness.see(changed(2, text="after that")(healthy())) == []


def test_a_running_trial_of_a_dead_driver_is_noticed_once_another_is_at_work() -> None:
    orphan = changed(2, state="RUNNING")(healthy())
    assert violations_in_flight(orphan) == []  # the next driver has not begun yet
    mine = link(5, "RUNNING", 1, range(0), driver="alive")
    at_work = replace(with_link(mine)(orphan), live=frozenset(["alive"]))
    assert violations_in_flight(at_work) == ["trial 2 is running without a live driver"]


# ----------------------------------------------------------------------------- reading

RECORD = StudyRecord(
    config={"num_samples": 1, "scheduler": {"max_t": 2}},
    metric="val_loss",
    mode="min",
    space={},
    space_hash="",
    data={},
    seed=0,
    folder="studies/small",
)


def test_a_study_is_read_as_the_database_has_it(ready_url: str) -> None:
    with open_database(ready_url) as db:
        study, _ = open_or_create_study(db, "small", RECORD)
        driver = Driver.register(db, study)
        assert claim_slot(db, driver.study_id, driver.id, 1) == 0
        study.enqueue_trial({"lr": 0.1}, {"slot": 0, "driver": driver.id})
        trial = study.ask()
        trial.suggest_float("lr", 0, 1)
        trial.report(0.1 + 0.2, 1)
        continue_trial(db, study, study.trials[0], driver.id, "interrupted")
        now = read_snapshot(ready_url, "small")
        assert now is not None
        assert [(one.number, one.state) for one in now.links] == [(0, "FAIL"), (1, "WAITING")]
        assert now.links[0].best == {1: 0.30000000000000004}
        assert now.links[0].params == {"lr": 0.1}
        assert "0.30000000000000004" in now.links[0].text
        assert now.continued == ((0, 1),)
        assert now.slots == (0,)
        assert now.live == {driver.id}
        driver.leave()
    assert integrity_violations(ready_url) == []


def test_a_database_that_is_not_there_gives_no_snapshot(tmp_path: Path) -> None:
    assert read_snapshot(f"sqlite:///{tmp_path}/none.db", "small") is None


def test_a_damaged_file_fails_its_integrity_check(ready_sqlite_url: str) -> None:
    path = Path(ready_sqlite_url.removeprefix("sqlite:///"))
    content = bytearray(path.read_bytes())
    draw = random.Random(0)
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = draw.randbytes(200)
    path.write_bytes(content)
    assert integrity_violations(ready_sqlite_url) != []


def test_a_row_without_its_parent_fails_the_integrity_check(ready_sqlite_url: str) -> None:
    engine = create_engine(ready_sqlite_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO trial_params (trial_id, param_name) VALUES (99, 'depth')")
        )
    engine.dispose()
    (line,) = integrity_violations(ready_sqlite_url)
    assert "without its parent" in line


def test_an_index_with_doubles_fails_the_integrity_check(ready_postgres_url: str) -> None:
    """Made by force: an index is told to be valid over rows that it forbids."""
    engine = create_engine(ready_postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE pairs (id int)",
            "INSERT INTO pairs VALUES (1), (1)",
            "CREATE INDEX pairs_id ON pairs (id)",
            "UPDATE pg_index SET indisunique = true WHERE indexrelid = 'pairs_id'::regclass",
        ):
            connection.execute(text(statement))
    engine.dispose()
    (line,) = integrity_violations(ready_postgres_url)
    assert "duplicated" in line


def test_files_that_are_missing_or_left_are_noticed(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / "trials" / f"{number:05d}").mkdir(parents=True)
        (tmp_path / "trials" / f"{number:05d}" / "best.pt").touch()
    study = healthy()
    assert file_violations(tmp_path, study, 2) == []
    (tmp_path / "trials" / "00001" / ".best.pt.1-2.tmp").touch()
    (tmp_path / "trials" / "00002").mkdir()
    (tmp_path / "trials" / "00000" / "best.pt").unlink()
    assert file_violations(tmp_path, study, 2) == [
        "trials/00000 is among the best 2 and has no weights",
        "trials/00002 is left although nobody needs it",
        "trials/00001/.best.pt.1-2.tmp is left of a finished trial",
    ]


def test_the_study_of_no_trials_is_optunas_own() -> None:
    """The words that a state is told by are those of the installed Optuna."""
    names = {state.name for state in optuna.trial.TrialState}
    assert names == {"RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"}

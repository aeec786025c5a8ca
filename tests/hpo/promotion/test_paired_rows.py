"""How probable it is that a candidate is better, and why that is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.hpo.promotion.candidate import register_candidate
from chemprop_hpo.hpo.promotion.paired_rows import Paired, gain_over
from chemprop_hpo.hpo.promotion.records import JudgedTarget, ModelRecord
from chemprop_hpo.hpo.promotion.registered.registry import Version
from chemprop_hpo.hpo.promotion.registered.test_rows import read_said, said_molecules
from tests.hpo.promotion.made_records import TARGETS, record
from tests.hpo.promotion.made_registry import GOOD, Place, config_of, promoted, write_record

NAN = np.nan
SMILES = ["CCO", "CCN", "CCC", "CCF"]
A = [1.0, 2.0, 3.0, 4.0]
B = [10.0, 100.0, 1000.0, 1.0]


@dataclass
class Artifacts:
    """A registry that has only what models said of their test rows."""

    folder: Path

    def keep(self, number: str, smiles: Sequence[str] = SMILES, **columns: Sequence[float]) -> None:
        pd.DataFrame({"smiles": smiles, **columns}).to_csv(self.path(number), index=False)

    def path(self, number: str) -> Path:
        return self.folder / f"said_{number}.csv"

    @contextmanager
    def artifact(self, version: Version, name: str) -> Iterator[Path | None]:
        assert name == "test_predictions.csv"
        path = self.path(version.number)
        yield path if path.exists() else None


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


def compared(
    artifacts: Artifacts, champion: ModelRecord, candidate: ModelRecord | None = None
) -> Paired:
    sides = (candidate or champion, version("2")), (champion, version("1"))
    (ours, second), (theirs, first) = sides
    return gain_over(artifacts, (second, ours), (first, theirs))  # type: ignore[arg-type]  # a stand-in


def version(number: str) -> Version:
    return Version(number, "r", datetime(2026, 1, 1, tzinfo=UTC), (), {})


def keep_several(artifacts: Artifacts, **of_candidate: Sequence[float]) -> None:
    """Keep predictions in which the champion is off by 2 in a and by a decade in b."""
    champion = {"a_mean": [y + 2 for y in A], "b_mean": [y * 10 for y in B]}
    artifacts.keep("1", a=A, b=B, **champion)
    artifacts.keep("2", a=A, b=B, **{**champion, **of_candidate})


# ------------------------------------------------------------------ what is compared


def test_several_targets_are_compared_in_transformed_units_and_scaled(artifacts: Artifacts) -> None:
    keep_several(artifacts, a_mean=[y + 1 for y in A], b_mean=B)
    paired = compared(artifacts, record("several"))
    assert paired.gain is not None
    # Of a (2 - 1) / 2, of b one decade / 0.5, and their mean.
    assert paired.gain.gain.value == pytest.approx((0.5 + 2.0) / 2)
    assert (paired.probability, paired.gain.rows, paired.note) == (1.0, 4, "")


def test_a_target_without_test_labels_needs_no_scale(artifacts: Artifacts) -> None:
    first, second = TARGETS["several"]
    champion = record("several", targets=(first, replace(second, label_std=None, tested=False)))
    keep_several(artifacts, a_mean=[y + 1 for y in A])
    paired = compared(artifacts, champion)
    assert paired.gain is not None
    assert paired.gain.gain.value == pytest.approx(0.5)


def test_classes_are_compared_by_their_areas(artifacts: Artifacts) -> None:
    classes = [0.0, 1.0, 0.0, 1.0]
    artifacts.keep("1", active=classes, active_mean=[0.9, 0.1, 0.8, 0.2])
    artifacts.keep("2", active=classes, active_mean=[0.1, 0.9, 0.2, 0.8])
    paired = compared(artifacts, record("classes"))
    assert paired.gain is not None
    assert (paired.gain.gain.value, paired.probability) == (1.0, 1.0)


def test_molecules_that_are_written_in_another_way_are_the_same(artifacts: Artifacts) -> None:
    artifacts.keep("1", y=A, y_mean=[y + 2 for y in A])
    artifacts.keep("2", ["OCC", "NCC", "C(C)C", "FCC"], y=A, y_mean=[y + 1 for y in A])
    assert compared(artifacts, record()).probability == 1.0


def test_molecules_that_were_measured_again_are_drawn_with_all_their_rows(
    artifacts: Artifacts,
) -> None:
    # The candidate is nearer by 2 for three molecules, and farther by 2 for the fourth.
    said = [y + 1 for y in A]
    champion, ours = [y + 3 for y in A], [*said[:3], A[3] + 5]
    once, found = (
        _compared_when_measured(artifacts, n, champion=champion, candidate=ours) for n in (1, 5)
    )
    assert found.gain is not None
    assert once.gain is not None
    assert (once.gain.rows, found.gain.rows) == (4, 20)
    assert found.probability == once.probability
    assert (found.gain.gain.low, found.gain.gain.high) == pytest.approx(
        (once.gain.gain.low, once.gain.gain.high)
    )


def _compared_when_measured(
    artifacts: Artifacts, times: int, *, champion: list[float], candidate: list[float]
) -> Paired:
    for number, mean in (("1", champion), ("2", candidate)):
        artifacts.keep(number, SMILES * times, y=A * times, y_mean=mean * times)
    return compared(artifacts, record())


def test_a_single_target_is_compared_in_its_own_units_whatever_its_transform(
    artifacts: Artifacts,
) -> None:
    for number, error in (("1", 2.0), ("2", 1.0)):
        artifacts.keep(number, y=A, y_mean=[y + error for y in A])
    candidate = record(targets=(JudgedTarget("y", transform="log10", label_std=2.0),))
    paired = compared(artifacts, record(), candidate)
    assert paired.gain is not None
    assert paired.gain.gain.value == pytest.approx(1.0)


# ------------------------------------------------------------------ what does not count


@pytest.mark.parametrize("spoilt", [-1.0, -2.0, np.inf, NAN])
def test_a_prediction_that_is_not_finite_is_left_out_and_told(
    artifacts: Artifacts, spoilt: float
) -> None:
    first, second = TARGETS["several"]
    champion = record("several", targets=(first, replace(second, transform="log10p1")))
    keep_several(artifacts, a_mean=[y + 1 for y in A], b_mean=[spoilt, *B[1:]])
    paired = compared(artifacts, champion)
    assert paired.gain is not None
    assert np.isfinite(paired.gain.gain.value)
    assert paired.gain.rows == 4
    assert paired.note == "1 test row left out, where one of the two predicts no finite number"


def test_a_prediction_of_infinity_in_original_units_is_left_out(artifacts: Artifacts) -> None:
    artifacts.keep("1", y=A, y_mean=[y + 2 for y in A])
    artifacts.keep("2", y=A, y_mean=[np.inf, np.inf, 3.0, 4.0])
    paired = compared(artifacts, record())
    assert paired.gain is not None
    assert (paired.gain.rows, paired.probability) == (2, 1.0)
    assert paired.note.startswith("2 test rows left out")


# ------------------------------------------------------------------ what is not known, and why


@pytest.mark.parametrize("std", [None, NAN, 0.0])
def test_without_a_scale_there_is_no_probability(artifacts: Artifacts, std: float | None) -> None:
    first, second = TARGETS["several"]
    keep_several(artifacts)
    paired = compared(artifacts, record("several", targets=(first, replace(second, label_std=std))))
    assert paired == Paired(
        None, "the standard deviation of the training labels of b is not logged"
    )


@pytest.mark.parametrize("lost", ["1", "2"])
def test_what_was_not_kept_is_named(artifacts: Artifacts, lost: str) -> None:
    artifacts.keep("12".replace(lost, ""), y=A, y_mean=A)
    assert compared(artifacts, record()).note == (
        f"what version {lost} said of its test rows is not kept"
    )


def test_other_rows_than_the_champions_are_not_compared(artifacts: Artifacts) -> None:
    artifacts.keep("1", y=A, y_mean=A)
    artifacts.keep("2", [*SMILES[:3], "CCCl"], y=A, y_mean=A)
    note = compared(artifacts, record()).note
    assert note == "the kept test rows of the two are not the same"


def test_models_of_other_test_sets_are_not_compared(artifacts: Artifacts) -> None:
    paired = compared(artifacts, record(), record(test_set="u" * 64))
    assert paired == Paired(None, "task, targets or test set are not the champion's")


def test_labels_that_define_no_figure_are_told(artifacts: Artifacts) -> None:
    for number in "12":
        artifacts.keep(number, active=[1.0] * 4, active_mean=[0.1, 0.2, 0.3, 0.4])
    paired = compared(artifacts, record("classes"))
    assert paired.probability is None
    assert paired.note == "the test labels that both predict define no figure"


def test_promoting_says_why_the_probability_is_not_known(place: Place) -> None:
    place.candidate(0.6)
    promoted(place)
    predictor = place.predictor(0.5)
    path = predictor.parent / "test_predictions.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    write_record(predictor, metrics={**GOOD, "test_rmse": 0.5, "test_mae": 0.5})
    with place.ledger() as ledger:
        register_candidate(place.registry(), ledger, place.config, predictor)
    for asked, wanted in ((None, "none is asked for"), (0.9, "at least 0.9 is asked for")):
        place.config = config_of(place.uri, min_probability=asked)
        decision = promoted(place, dry_run=True).decision
        assert decision.allowed is (asked is None)
        (rule,) = [rule for rule in decision.rules if rule.name == "probability_better"]
        assert rule.text == (
            "the probability that the candidate is better is not known (the kept test rows of "
            f"the two are not the same); {wanted}"
        )


# ------------------------------------------------------------------ the table


def test_said_is_read_in_the_units_that_are_compared(artifacts: Artifacts) -> None:
    artifacts.keep("1", y=[9.0, 99.0, NAN, 0.0], y_mean=[99.0, -1.0, 9.0, -3.0])
    target = JudgedTarget("y", transform="log10p1")
    alone = read_said(artifacts.path("1"), (target,))
    assert alone.means[:, 0] == pytest.approx([99.0, -1.0, 9.0, -3.0])
    artifacts.keep(
        "1", y=[9.0, 99.0, NAN, 0.0], y_mean=[99.0, -1.0, 9.0, -3.0], z=A, z_mean=[1e400, *A[1:]]
    )
    both = read_said(artifacts.path("1"), (target, JudgedTarget("z")))
    assert both.labels[:, 0] == pytest.approx([1.0, 2.0, NAN, 0.0], nan_ok=True)
    assert both.means[:, 0] == pytest.approx([2.0, NAN, 1.0, NAN], nan_ok=True)
    assert both.means[:, 1] == pytest.approx([NAN, *A[1:]], nan_ok=True)


def test_a_damaged_table_is_told_in_one_line(artifacts: Artifacts) -> None:
    artifacts.keep("1", ["CCO", "no molecule", "C", "C"], y=A, y_mean=A)
    for read in (said_molecules, lambda path: read_said(path, TARGETS["one"])):
        with pytest.raises(DataError, match="cannot read the SMILES 'no molecule'"):
            read(artifacts.path("1"))
    artifacts.keep("1", y=A)
    with pytest.raises(DataError, match=r"said_1.csv: is damaged \('y_mean'\); register the model"):
        read_said(artifacts.path("1"), TARGETS["one"])
    artifacts.path("1").write_text("")
    with pytest.raises(DataError, match="is damaged"):
        said_molecules(artifacts.path("1"))

"""A training that was cut and continued ends bit for bit where an uninterrupted one does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chemprop_hpo.hpo.chemistry.models.checkpoints import read_checkpoint, write_checkpoint
from chemprop_hpo.hpo.chemistry.training.train import CheckpointError, train
from tests.hpo import trainings
from tests.hpo.trainings import (
    Watcher,
    hard_fold,
    hard_spec,
    is_same,
    make_spec,
    same,
    without_time,
)


def watch(spec, fold, folder, *, resume_from=None, stop_after=None):
    """Train, keep a checkpoint of each epoch and the best model at the end."""
    folder.mkdir()
    watcher = Watcher(folder, stop_after)
    train(spec, fold, watcher, resume_from)
    watcher.progress.save_best(folder / "best.pt")
    return watcher


def assert_same_from(epoch, continued, straight):
    """Compare all that two trainings reported and kept, from an epoch to the end."""
    last = straight.reports[-1].epoch
    expected = [without_time(r) for r in straight.reports[epoch - 1 :]]
    assert [without_time(r) for r in continued.reports] == expected
    for later in range(epoch, last + 1):
        assert same(continued.weights[later], straight.weights[later])
        states = [read_checkpoint(w.checkpoint(later))[1] for w in (continued, straight)]
        assert states[0]["optimizer"]["state"]
        assert is_same(*states)
    bests = [(w.folder / "best.pt").read_bytes() for w in (continued, straight)]
    assert bests[0] == bests[1]


# ----------------------------------------------------------------------------- exactness


@pytest.mark.parametrize(
    ("head", "task", "mode"),
    [
        ("regression", "regression", "min"),
        ("branched", "regression", "max"),  # of the loss: then the best epoch is long past
        ("mixture_of_experts", "regression", "max"),
        ("mixture_of_experts", "classification", "min"),
    ],
)
def test_a_training_cut_at_any_epoch_ends_bit_for_bit_as_if_it_had_not_been(
    tmp_path, head, task, mode
):
    fold, spec = hard_fold(task), hard_spec(head, mode=mode)
    straight = watch(spec, fold, tmp_path / "straight")
    assert not same(straight.weights[5], straight.weights[6])
    assert mode == "min" or straight.reports[-1].best_epoch < 5
    for epoch in range(1, 7):
        resume_from = straight.checkpoint(epoch)
        continued = watch(spec, fold, tmp_path / f"from {epoch}", resume_from=resume_from)
        assert_same_from(epoch, continued, straight)


def test_a_training_cut_after_every_epoch_ends_as_if_it_had_not_been(tmp_path):
    fold, spec = hard_fold(), hard_spec("branched")
    straight = watch(spec, fold, tmp_path / "straight")
    link = watch(spec, fold, tmp_path / "1", stop_after=1)
    for epoch in range(2, 7):
        folder, resume_from = tmp_path / str(epoch), link.checkpoint(epoch - 1)
        link = watch(spec, fold, folder, resume_from=resume_from, stop_after=epoch)
        assert [r.epoch for r in link.reports] == [epoch - 1, epoch]
    del link.reports[0]
    assert_same_from(6, link, straight)


def test_a_training_cut_anywhere_stops_early_at_the_same_epoch(tmp_path):
    fold, spec = hard_fold(), hard_spec("regression", 50, lr=0.3, patience=3)
    straight = watch(spec, fold, tmp_path / "straight")
    last = straight.reports[-1]
    assert (last.stop_reason, last.epoch) == ("early_stopping", last.best_epoch + 3)
    for epoch in range(1, last.epoch + 1):
        resume_from = straight.checkpoint(epoch)
        continued = watch(spec, fold, tmp_path / f"from {epoch}", resume_from=resume_from)
        assert_same_from(epoch, continued, straight)


def test_what_was_random_in_between_changes_nothing(tmp_path):
    fold, spec = hard_fold(), hard_spec("regression", 3)
    straight = watch(spec, fold, tmp_path / "straight")
    torch.manual_seed(99)
    np.random.seed(99)
    continued = watch(spec, fold, tmp_path / "on", resume_from=straight.checkpoint(1))
    assert_same_from(1, continued, straight)


# ----------------------------------------------------------------------------- what is reported


def test_a_checkpoints_own_epoch_is_reported_as_it_was(make_fold, tmp_path):
    watcher = Watcher(tmp_path)
    train(make_spec(2), make_fold(), watcher)
    for report in watcher.reports:
        again = Watcher(stop_after=report.epoch)
        train(make_spec(2), make_fold(), again, watcher.checkpoint(report.epoch))
        assert again.reports == [report]


def test_a_finished_checkpoint_is_reported_and_trains_nothing(make_fold, tmp_path):
    watcher, again = Watcher(tmp_path), Watcher()
    last = train(make_spec(2), make_fold(), watcher)
    assert train(make_spec(2), make_fold(), again, watcher.checkpoint(2)) == last
    assert again.reports == [last]


def test_a_continued_training_can_be_stopped_before_it_trains_anything(make_fold, tmp_path):
    watcher, stopped = Watcher(tmp_path), Watcher(stop_after=1)
    train(make_spec(3), make_fold(), watcher)
    last = train(make_spec(3), make_fold(), stopped, watcher.checkpoint(1))
    assert stopped.reports == [last] == watcher.reports[:1]


def test_a_checkpoint_can_be_written_again_where_it_was_read(make_fold, tmp_path):
    watcher, again = Watcher(tmp_path), Watcher(tmp_path / "again", stop_after=2)
    again.folder.mkdir()
    train(make_spec(3), make_fold(), watcher)
    train(make_spec(3), make_fold(), again, watcher.checkpoint(2))
    assert is_same(*(read_checkpoint(w.checkpoint(2)) for w in (again, watcher)))


# ----------------------------------------------------------------------------- what is refused


def refused(spec, fold, path):
    """Return why a checkpoint is refused; nothing is reported and the file stays as it is."""
    before, watcher = path.read_bytes(), Watcher()
    with pytest.raises(CheckpointError) as caught:
        train(spec, fold, watcher, path)
    assert watcher.reports == []
    assert path.read_bytes() == before
    return str(caught.value)


@pytest.fixture
def checkpoint(make_fold, tmp_path):
    watcher = Watcher(tmp_path)
    train(make_spec(2), make_fold(), watcher)
    return watcher.checkpoint(1)


@pytest.mark.parametrize("lacks", ["best_metrics", "curve", "epoch"])
def test_a_report_of_another_layout_is_refused(make_fold, checkpoint, lacks):
    header, state = read_checkpoint(checkpoint)
    del header["report"][lacks]
    write_checkpoint(checkpoint, header, state)
    assert "no report of an epoch" in refused(make_spec(2), make_fold(), checkpoint)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_epochs": 3}, "max_epochs"),
        ({"seed": 8}, "seed"),
        ({"model": {"dropout": 0.1}}, "model.dropout"),
        ({"optimization": {"patience": 3, "lr": 0.1}}, "optimization.lr, optimization.patience"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_with_their_names(
    make_fold, checkpoint, changes, named
):
    why = refused(make_spec(**{"max_epochs": 2} | changes), make_fold(), checkpoint)
    assert f"of another training ({named} differ)" in why


def test_a_checkpoint_of_other_data_is_refused(make_fold, checkpoint):
    fold = make_fold()
    other_labels = replace(fold, targets=fold.targets + np.eye(70, 1))
    other_split = replace(fold, train=fold.train[:-1])
    other_molecules = replace(fold, graphs={"V2": make_fold(n_train=45).graphs["V2"]})
    other_weights = replace(fold, weights=(2.0,))
    for other, named in (
        (other_labels, "labels"),
        (other_split, "split"),
        (other_molecules, "molecules"),
        (other_weights, "target_weights"),
    ):
        assert f"({named} differ)" in refused(make_spec(2), other, checkpoint)


def test_another_element_in_the_same_place_is_other_data(make_fold, checkpoint, monkeypatch):
    labels = make_fold().targets
    bromides = [smiles.replace("Cl", "Br") for smiles in trainings.SMILES]
    monkeypatch.setattr(trainings, "SMILES", bromides)
    other = make_fold(targets=labels)
    assert "(molecules differ)" in refused(make_spec(2), other, checkpoint)


def test_labels_that_another_machine_rounds_differently_are_the_same_data(make_fold, checkpoint):
    fold, watcher = make_fold(), Watcher()
    train(make_spec(2), replace(fold, targets=fold.targets * (1 + 1e-15)), watcher, checkpoint)
    assert [r.epoch for r in watcher.reports] == [1, 2]


def test_a_checkpoint_with_a_damaged_state_is_refused(make_fold, checkpoint):
    content = bytearray(checkpoint.read_bytes())
    content[-1000] ^= 1
    checkpoint.write_bytes(content)
    assert "checksum" in refused(make_spec(2), make_fold(), checkpoint)


@pytest.mark.parametrize("part", ["weights", "best_weights", "optimizer", "schedule"])
def test_a_checkpoint_without_some_part_of_the_state_is_refused(make_fold, checkpoint, part):
    header, state = read_checkpoint(checkpoint)
    del state[part]
    write_checkpoint(checkpoint, header, state)
    assert "does not fit the model" in refused(make_spec(2), make_fold(), checkpoint)


def test_an_optimiser_of_another_model_is_refused(make_fold, checkpoint):
    header, state = read_checkpoint(checkpoint)
    state["optimizer"]["param_groups"].pop()
    write_checkpoint(checkpoint, header, state)
    assert "does not fit the model" in refused(make_spec(2), make_fold(), checkpoint)

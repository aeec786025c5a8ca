import pickle
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from chemprop.models.utils import load_model as load_stock_model
from chemprop.nn import RMSE

from chemprop_hpo.configs.errors import ConfigError, ResourceError
from chemprop_hpo.configs.schema import OptimizationConfig
from chemprop_hpo.hpo.chemistry.features.batches import Batches, epoch_rows
from chemprop_hpo.hpo.chemistry.models.criteria import training_criterion
from chemprop_hpo.hpo.chemistry.models.model import build_model, load_model
from chemprop_hpo.hpo.chemistry.training.epochs import next_report
from chemprop_hpo.hpo.chemistry.training.fitting import Fitting, predict, seed_torch
from chemprop_hpo.hpo.chemistry.training.optimizers import build_optimizer, build_schedule
from chemprop_hpo.hpo.chemistry.training.train import NonFiniteLossError, train
from tests.hpo.trainings import Watcher, make_spec, same

# ----------------------------------------------------------------------------- it learns


def test_a_training_learns_to_count_carbons_better_than_the_mean(make_fold):
    fold = make_fold()
    spec = make_spec(25, optimization={"lr": 0.01})
    report = train(spec, fold, lambda *_: True)
    labels = fold.targets[fold.validation]
    of_the_mean = np.sqrt(np.square(labels - fold.targets[fold.train].mean()).mean())
    assert report.final["val_rmse"] < of_the_mean / 3
    assert report.final["val_r2"] > 0.9


def plain_loop(spec, fold, weights, rates, batch_size, clip):
    """Train for two epochs with nothing but torch and Chemprop's model."""
    seed_torch(spec.seed, 0)
    model = build_model(spec.model, spec.optimization, fold).train()
    known = np.isfinite(fold.targets)
    training = fold.targets[fold.train]
    labels = (fold.targets - np.nanmean(training, axis=0)) / np.nanstd(training, axis=0)
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in (1, 2):
        order = np.random.default_rng([spec.seed, epoch]).permutation(fold.train)
        for rows in np.split(order, range(batch_size, len(order), batch_size)):
            optimizer.param_groups[0]["lr"] = rates.pop(0)
            outputs = model(fold.graphs["V2"].batch(rows))
            loss = 0.0
            for target, weight in enumerate(weights):
                there = known[rows, target]
                errors = outputs[there, target] - torch.tensor(labels[rows, target][there]).float()
                loss = loss + weight * errors.square().sum() / known[rows].sum()
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("clip", [None, 0.05])
def test_a_training_equals_a_plain_torch_loop(make_fold, clip):
    fold = make_fold(2, weights=(0.5, 1.5), missing=[(3, 0), (9, 1)])
    spec = make_spec(2, optimization={"gradient_clip": clip, "batch_size": 20})
    watcher = Watcher()
    train(spec, fold, watcher)
    rates = [1e-4, 4e-4, 7e-4, 1e-3, 1e-3 * 0.1 ** (1 / 3), 1e-3 * 0.1 ** (2 / 3)]
    expected = plain_loop(spec, fold, (0.5, 1.5), rates, 20, clip)
    assert rates == []
    for name, tensor in expected.items():
        torch.testing.assert_close(watcher.weights[2][name], tensor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("head", ["regression", "branched", "mixture_of_experts"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_every_head_trains_on_several_targets_with_gaps(make_fold, head, task):
    fold = make_fold(3, task=task, features=("charge",), missing=[(1, 0), (2, 2), (60, 1)])
    model = {"ffn_type": head, "molecule_features": "charge", "batch_norm": True, "dropout": 0.1}
    report = train(make_spec(2, model=model), fold, lambda *_: True)
    name = "val_nrmse" if task == "regression" else "val_roc_auc"
    assert {name, name.replace("val", "train"), "generalisation_gap"} < set(report.final)
    assert np.isfinite(list(report.final.values())).all()


def test_descriptors_are_scaled_while_training_too(make_fold):
    fold = make_fold(features=("v1_rdkit_2d",))
    raw = fold.vectors["v1_rdkit_2d"].astype(float)
    center, spread = raw[fold.train].mean(axis=0), raw[fold.train].std(axis=0)
    scaled = ((raw - center) / np.where(spread > 0, spread, 1)).astype(np.float32)
    weights = []
    for vectors in (raw.astype(np.float32), scaled):
        watcher = Watcher()
        spec = make_spec(1, model={"molecule_features": "v1_rdkit_2d"})
        train(spec, replace(fold, vectors={"v1_rdkit_2d": vectors}), watcher)
        weights.append(watcher.weights[1]["predictor.ffn.0.0.weight"])
    assert (np.abs(raw) > 50).any()
    torch.testing.assert_close(*weights, rtol=0, atol=1e-4)


# ----------------------------------------------------------------------------- the optimiser


def test_weight_decay_spares_biases_norms_and_slopes(make_fold):
    model = {"activation": "PRELU", "batch_norm": True, "ffn_type": "mixture_of_experts"}
    spec = make_spec(model=model, optimization={"weight_decay": 0.1})
    built = build_model(spec.model, spec.optimization, make_fold())
    optimizer = build_optimizer(built, spec.optimization)
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    by_name = {name: decays[id(p)] for name, p in built.named_parameters()}
    spared = {name for name, decay in by_name.items() if decay == 0}
    assert {"bn.weight", "message_passing.tau.weight", "message_passing.W_o.bias"} < spared
    assert {by_name["message_passing.W_i.weight"], by_name["predictor.ffn.gate.weight"]} == {0.1}
    assert not [n for n in by_name if n.endswith("bias") and n not in spared]
    for parameter in built.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in built.named_parameters()}
    optimizer.step()
    for name, parameter in built.named_parameters():
        shrunk = before[name] * (1 if name in spared else 1 - 0.1 * 1e-4)
        torch.testing.assert_close(parameter.detach(), shrunk, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr": 3e-4}, [3e-4] * 7),
        ({"warmup_epochs": 1}, [1e-4, 5.5e-4, 1e-3, 1e-3 * 0.1**0.25, 1e-3 * 0.1**0.5]),
        ({"warmup_epochs": 9}, [1e-4 + 1.5e-4 * i for i in range(6)] + [1e-4]),
        ({"warmup_epochs": 0}, [1e-3, 1e-3 * 0.1 ** (1 / 6)]),
    ],
)
def test_the_learning_rate_follows_chemprops_schedule(settings, expected):
    optimization = OptimizationConfig.model_validate(settings)
    optimizer = build_optimizer(torch.nn.Linear(1, 1), optimization)
    schedule = build_schedule(optimizer, optimization, max_epochs=3, steps_per_epoch=2)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[: len(expected)] == pytest.approx(expected)


# ----------------------------------------------------------------------------- batches


def test_the_order_is_a_function_of_seed_and_epoch():
    rows = np.arange(100, 200)
    first = np.concatenate(epoch_rows(rows, 16, 1, 1))
    assert sorted(first) == sorted(rows)
    np.testing.assert_array_equal(first, np.concatenate(epoch_rows(rows, 16, 1, 1)))
    for seed, epoch in ((1, 2), (2, 1), (-1, 1)):
        assert (first != np.concatenate(epoch_rows(rows, 16, seed, epoch))).any()


@pytest.mark.parametrize(
    ("n", "size", "lengths"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 4, [3]), (1, 4, [1]), (2, 1, [1, 1])],
)
def test_a_single_last_molecule_joins_the_batch_before(n, size, lengths):
    assert [len(batch) for batch in epoch_rows(np.arange(n), size, 0, 1)] == lengths


def test_batch_norm_trains_where_one_molecule_is_left_over(make_fold):
    spec = make_spec(1, model={"batch_norm": True}, optimization={"batch_size": 7})
    assert np.isfinite(train(spec, make_fold(), lambda *_: True).value)


def test_molecules_without_labels_take_no_part(make_fold):
    fold = make_fold(2, missing=[(i, t) for i in range(40, 50) for t in (0, 1)])
    watched, expected = Watcher(), Watcher()
    spec = make_spec(2, optimization={"batch_size": 1})
    train(spec, fold, watched)
    train(spec, replace(fold, train=np.arange(40)), expected)
    assert same(watched.weights[2], expected.weights[2])


def test_rmse_has_no_gradient_at_zero_error_and_is_chemprops_elsewhere():
    criterion = training_criterion(RMSE(task_weights=[0.5, 1.5]))
    exact = torch.ones(3, 2, requires_grad=True)
    criterion(exact, torch.ones(3, 2)).backward()
    assert torch.equal(exact.grad, torch.zeros(3, 2))
    near = [torch.full((3, 2), 1.001, requires_grad=True) for _ in range(2)]
    for ours, kind in zip(near, (criterion, RMSE(task_weights=[0.5, 1.5])), strict=True):
        kind(ours, torch.ones(3, 2)).backward()
    assert torch.equal(near[0].grad, near[1].grad)


# ----------------------------------------------------------------------------- reports


def test_reports_count_from_one_and_keep_the_best(make_fold):
    watcher = Watcher()
    last = train(make_spec(6, optimization={"lr": 0.02}), make_fold(), watcher)
    reports = watcher.reports
    assert [r.epoch for r in reports] == [1, 2, 3, 4, 5, 6]
    assert last is reports[-1]
    values = [r.value for r in reports]
    assert [r.best for r in reports] == list(np.minimum.accumulate(values))
    assert [r.curve for r in reports] == [tuple(r.best for r in reports[:n]) for n in range(1, 7)]
    assert [r.best_metrics for r in reports] == [reports[r.best_epoch - 1].metrics for r in reports]
    assert last.best_epoch == 1 + int(np.argmin(values))
    assert [r.stop_reason for r in reports] == [None] * 5 + ["max_t"]
    assert [r.final is None for r in reports] == [True] * 5 + [False]
    assert all(r.value == r.metrics["val_loss"] and r.seconds > 0 for r in reports)


def test_the_final_figures_are_those_of_the_best_epoch(make_fold):
    watcher = Watcher()
    spec = make_spec(6, optimization={"lr": 0.3})
    last = train(spec, make_fold(), watcher)
    assert last.best_epoch < last.epoch
    at_best = watcher.reports[last.best_epoch - 1].metrics
    for name in ("val_loss", "val_rmse", "val_r2/carbons"):
        assert last.final[name] == pytest.approx(at_best[name], rel=1e-6)
    assert last.final["best_val_rmse"] == last.final["val_rmse"]
    gap = last.final["val_rmse"] - last.final["train_rmse"]
    assert last.final["generalisation_gap"] == pytest.approx(gap)


def test_the_final_figures_leave_the_last_weights_where_they_are(make_fold):
    watcher, longer = Watcher(), Watcher(stop_after=6)
    last = train(make_spec(6, optimization={"lr": 0.3}), make_fold(), watcher)
    train(make_spec(7, optimization={"lr": 0.3}), make_fold(), longer)
    assert last.best_epoch < last.epoch
    assert same(watcher.weights[6], longer.weights[6])


def test_the_saved_best_model_is_that_of_the_best_epoch(make_fold, tmp_path):
    fold, watcher = make_fold(features=("rdkit_2d",)), Watcher()
    spec = make_spec(
        5,
        model={"molecule_features": "rdkit_2d"},
        optimization={"lr": 0.3, "criterion": "RMSE"},
        metric="val_mae",
    )
    last = train(spec, fold, watcher)
    watcher.progress.save_best(tmp_path / "best.pt")
    assert last.best_epoch < last.epoch
    loaded = load_stock_model(tmp_path / "best.pt")
    assert same(loaded.state_dict(), watcher.weights[last.best_epoch])
    outputs = predict(loaded, Batches(fold, spec.model), fold.validation)
    assert np.abs(outputs - fold.targets[fold.validation]).mean() == pytest.approx(last.best)


def test_a_metric_may_be_maximised(make_fold):
    watcher = Watcher()
    spec = make_spec(4, optimization={"lr": 0.02}, metric="val_r2", mode="max")
    last = train(spec, make_fold(), watcher)
    assert last.best == max(r.metrics["val_r2"] for r in watcher.reports)


def test_the_yardstick_does_not_follow_the_criterion(make_fold):
    first = {}
    for criterion in ("MSE", "MAE"):
        spec = make_spec(1, optimization={"criterion": criterion, "lr": 1e-30})
        first[criterion] = train(spec, make_fold(), lambda *_: True).metrics
    assert first["MSE"]["val_loss"] == pytest.approx(first["MAE"]["val_loss"])
    assert first["MSE"]["train_loss"] != pytest.approx(first["MAE"]["train_loss"])


def test_early_stopping_waits_for_its_patience():
    spec = make_spec(9, optimization={"patience": 2})
    report, stops = None, []
    for epoch, value in enumerate([3.0, 2.0, 2.0, 1.9, 2.5, 2.4], start=1):
        report = next_report(spec, report, epoch, {"val_loss": value}, 0.0)
        stops.append(report.stop_reason)
    assert stops == [None] * 5 + ["early_stopping"]
    assert (report.best, report.best_epoch) == (1.9, 4)


def test_early_stopping_ends_a_training_with_its_final_figures(make_fold):
    watcher = Watcher()
    spec = make_spec(50, optimization={"lr": 0.3, "patience": 2})
    last = train(spec, make_fold(), watcher)
    assert last.stop_reason == "early_stopping"
    assert last.epoch == last.best_epoch + 2 < 50
    assert last.final is not None


def test_a_training_that_stops_at_the_best_epoch_of_another_gives_its_best_weights(
    make_fold, tmp_path
):
    fold, spec = make_fold(), make_spec(12, optimization={"lr": 0.3})
    whole = train(spec, fold, keeping(tmp_path / "whole.pt"))
    assert 1 < whole.best_epoch < 12
    again = train(replace(spec, last_epoch=whole.best_epoch), fold, keeping(tmp_path / "again.pt"))
    assert (again.epoch, again.stop_reason) == (whole.best_epoch, "last_epoch")
    assert again.final == whole.final
    weights = [load_model(tmp_path / name).state_dict() for name in ("whole.pt", "again.pt")]
    assert same(*weights)


def keeping(path):
    """Keep the best model at the training's end."""

    def on_epoch(report, progress):
        if report.stop_reason is not None:
            progress.save_best(path)
        return True

    return on_epoch


def test_a_training_can_be_stopped_from_outside(make_fold):
    watcher = Watcher(stop_after=2)
    last = train(make_spec(5), make_fold(), watcher)
    assert (last.epoch, last.stop_reason, last.final) == (2, None, None)
    assert len(watcher.reports) == 2


def test_progress_of_a_past_epoch_is_refused(make_fold, tmp_path):
    kept = []
    train(make_spec(2), make_fold(), lambda _, progress: not kept.append(progress))
    with pytest.raises(RuntimeError, match="went on"):
        kept[0].save_checkpoint(tmp_path / "late.ckpt")
    kept[1].save_checkpoint(tmp_path / "last.ckpt")


# ----------------------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_finite_names_its_epoch(make_fold):
    watcher = Watcher()
    spec = make_spec(9, optimization={"init_lr": 1e-4, "max_lr": 1e20, "warmup_epochs": 1})
    with pytest.raises(NonFiniteLossError) as caught:
        train(spec, make_fold(), watcher)
    assert caught.value.epoch == len(watcher.reports) + 1
    assert f"epoch {caught.value.epoch}:" in str(caught.value)


def test_a_loss_that_is_not_finite_at_a_later_epoch_names_that_one(make_fold):
    def poison(report, progress):
        if report.epoch == 2:
            progress._fitting.mpnn.message_passing.W_i.weight.data.fill_(torch.nan)
        return True

    with pytest.raises(NonFiniteLossError, match="epoch 3: the training loss is not finite"):
        train(make_spec(5), make_fold(), poison)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_metric_that_is_not_finite_is_an_error(value):
    with pytest.raises(NonFiniteLossError, match="epoch 4: val_loss"):
        next_report(make_spec(), None, 4, {"val_loss": value}, 0.0)


def test_the_error_survives_a_pickle():
    error = pickle.loads(pickle.dumps(NonFiniteLossError(3, "val_loss")))
    assert (error.epoch, str(error)) == (3, str(NonFiniteLossError(3, "val_loss")))


def test_a_missing_metric_is_never_replaced(make_fold):
    with pytest.raises(ConfigError, match=r"metric: val_nrmse is not reported.*val_rmse"):
        train(make_spec(metric="val_nrmse"), make_fold(), lambda *_: True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_an_error_and_not_a_cpu_run(make_fold):
    with pytest.raises(ResourceError, match="gpus_per_trial=0"):
        train(make_spec(device="cuda"), make_fold(), lambda *_: True)


def test_an_error_of_the_watcher_comes_out_as_it_is(make_fold):
    def fail(*_):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        train(make_spec(), make_fold(), fail)


def test_ctrl_c_comes_out_as_ctrl_c_and_works_again(make_fold):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make_spec(), make_fold(), interrupt)
    assert signal.getsignal(signal.SIGINT) is before


# ----------------------------------------------------------------------------- a good guest


def test_a_training_in_another_thread_leaves_no_trace(make_fold, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    fold, watcher, threads = make_fold(), Watcher(), []
    here = Watcher()
    train(make_spec(2), fold, here)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    generator, grad = torch.get_rng_state(), torch.is_grad_enabled()

    def run():
        torch.set_num_threads(2)
        train(make_spec(2), fold, lambda *a: threads.append(torch.get_num_threads()) or watcher(*a))
        threads.append(torch.get_num_threads())

    worker = threading.Thread(target=run)
    worker.start()
    worker.join()
    assert threads == [1, 1, 2]
    assert same(watcher.weights[2], here.weights[2])
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.is_grad_enabled() == grad
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_seed_rules_the_initial_weights(make_fold):
    fold = make_fold()
    first = [Fitting(make_spec(seed=s), fold, Watcher()).mpnn.state_dict() for s in (1, 1, 2)]
    assert same(first[0], first[1])
    assert not same(first[0], first[2])

from __future__ import annotations

import pytest

FILE = "data: {file: a.csv, target_cols: [y]}\n"
TWO = "data: {file: a.csv, target_cols: [a, b]}\n"
CLASSES = FILE + "task: classification\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "data: {target_cols: [y]}",
            "1: data needs data_dir, a folder with train.csv and validation.csv, or file, one CSV",
        ),
        (
            "data: {file: a, data_dir: b, target_cols: [y]}",
            "1: data.file and data.data_dir exclude each other; keep one",
        ),
        (
            "data: {data_dir: b, target_cols: [y]}\nsplit: {method: random}",
            "2: split is only for data.file; the parts in data.data_dir are already made",
        ),
        (
            FILE + "split: {method: column}",
            "2: split.method column needs split.column, the column to read",
        ),
        (
            FILE + "split: {column: part}",
            "2: split.column is read only with split.method: column, not random",
        ),
        (
            FILE + "split: {val_fraction: 0.1, n_folds: 5}",
            "2: split.val_fraction and split.n_folds exclude each other; keep one",
        ),
        (
            FILE + "split: {val_fraction: 0.5, test_fraction: 0.5}",
            "2: split.val_fraction and split.test_fraction leave nothing to train on (0.5 + 0.5)",
        ),
        (
            FILE + "split: {test_fraction: 0.9}",
            "2: split.val_fraction and split.test_fraction leave nothing to train on (0.1 + 0.9)",
        ),
        ("data: {file: a, target_cols: [y, y]}", "1: data.target_cols.1 names 'y' twice"),
        (
            "data: {file: a, target_cols: [smiles]}",
            "1: data.target_cols.0 is 'smiles', the column of the SMILES",
        ),
        (
            "data: {file: a, target_cols: [a, b], target_weights: [1]}",
            "1: data.target_weights has 1 values for 2 target_cols; write one for each",
        ),
        (
            "data: {file: a, target_cols: [a], target_transforms: [none, none]}",
            "1: data.target_transforms has 2 values for 1 target_cols; write one for each",
        ),
        (
            "data: {file: a, target_cols: [a], target_units: [M, M]}",
            "1: data.target_units has 2 values for 1 target_cols; write one for each",
        ),
        (
            "data: {file: a, target_cols: [LogD], target_units: {LogP: nM}}",
            "1: data.target_units.LogP is not in data.target_cols; did you mean LogD?",
        ),
        (
            "data: {file: a, target_cols: [LogD], target_transforms: {LogP: none}}",
            "1: data.target_transforms.LogP is not in data.target_cols; did you mean LogD?",
        ),
        (
            FILE + "scheduler: {max_t: 40}\noptimization: {max_epochs: 30}",
            "2: scheduler.max_t is 40 but optimization.max_epochs is 30; make them equal",
        ),
        (
            FILE + "scheduler: {max_t: 5, grace_period: 6}",
            "2: scheduler.grace_period is 6, more than the 5 epochs of a trial; lower it",
        ),
        (
            FILE + "optimization: {max_epochs: 9}",
            "2: scheduler.grace_period is 10, more than the 9 epochs of a trial; lower it",
        ),
        (
            FILE + "scheduler: {max_t: 27, grace_period: 3, brackets: 4}",
            "2: scheduler.brackets is 4; up to 27 epochs there are rungs for 3",
        ),
        (
            FILE + "seed: 1\noptimization: {seed: 2}",
            "3: optimization.seed is 2 but seed is 1; leave out optimization.seed",
        ),
        (
            FILE + "transfer_learning: {ensemble_splits: [1]}",
            "2: transfer_learning.ensemble_splits names 1, but they count from 0; there are 1",
        ),
        (
            "data: {data_dir: d, target_cols: [y]}\ntransfer_learning: {ensemble_folds: [-1]}",
            "2: transfer_learning.ensemble_folds names -1, but they count from 0",
        ),
        (
            FILE + "split: {n_folds: 3}\ntransfer_learning: {ensemble_folds: [0, 3]}",
            "3: transfer_learning.ensemble_folds names 3, but they count from 0; there are 3",
        ),
    ],
)
def test_a_broken_rule_between_keys_is_named(problems, text, expected):
    assert problems(text) == [f"sweep.yaml:{expected}"]


@pytest.mark.parametrize(
    "text",
    [
        FILE + "scheduler: {type: none, max_t: 5, grace_period: 6}",
        FILE + "scheduler: {max_t: 27, grace_period: 3, brackets: 3}",
        FILE + "seed: 2\noptimization: {seed: 2}",
        FILE + "split: {method: column, column: part}",
        "data: {file: a, target_cols: [a, b], target_transforms: {a: log10}}",
        "data: {data_dir: d, target_cols: [y]}\ntransfer_learning: {ensemble_folds: [0, 7]}",
    ],
)
def test_a_kept_rule_is_no_problem(load, text):
    load(text)


# ------------------------------------------------------------------------- metric and task


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        (FILE, "val_loss"),
        (FILE, "val_rmse"),
        (FILE, "val_mae/y"),
        (FILE, "val_r2"),
        (TWO, "val_nrmse"),
        (TWO, "val_r2"),
        (TWO, "val_rmse/b"),
        (CLASSES, "val_roc_auc"),
        (CLASSES, "val_prc_auc/y"),
        (CLASSES, "val_loss"),
    ],
)
def test_a_metric_that_the_task_reports_is_taken(load, text, metric):
    assert load(text + f"metric: {metric}").config.metric == metric


@pytest.mark.parametrize(
    ("text", "metric", "rest"),
    [
        (FILE, "val_rsme", "regression does not report; did you mean val_rmse?"),
        (FILE, "rmse", "regression does not report; did you mean val_rmse?"),
        (FILE, "val_nrmse", "regression does not report; did you mean val_rmse?"),
        (FILE, "val_rmse/x", "regression does not report; did you mean val_rmse/y?"),
        (
            FILE,
            "val_roc_auc",
            "regression does not report; known are val_loss, val_rmse, val_mae, val_r2",
        ),
        (
            TWO,
            "val_rmse",
            "regression does not report for several targets; write val_nrmse, "
            "or one target's val_rmse/a",
        ),
        (CLASSES, "val_rmse", "classification does not report; known are"),
    ],
)
def test_a_metric_that_the_task_does_not_report_is_refused(problems, text, metric, rest):
    (line,) = problems(text + f"metric: {metric}")
    assert f"metric is '{metric}', which this {rest}" in line


@pytest.mark.parametrize(
    ("text", "metric", "mode", "better"),
    [
        (FILE, "val_r2", "min", "higher"),
        (FILE, "val_rmse", "max", "lower"),
        (TWO, "val_r2/a", "min", "higher"),
        (CLASSES, "val_prc_auc", "min", "higher"),
    ],
)
def test_a_mode_against_the_metric_is_refused(problems, text, metric, mode, better):
    (line,) = problems(text + f"metric: {metric}\nmode: {mode}")
    right = {"min": "max", "max": "min"}[mode]
    assert f"mode is {mode}, but a {better} {metric} is better; write mode: {right}" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "search_space: {criterion: {type: choice, choices: [MSE, MAE]}}",
            "search_space.criterion",
        ),
        ("optimization: {criterion: MAE}", "optimization.criterion"),
    ],
)
def test_a_classification_has_no_criterion(problems, text, expected):
    (line,) = problems(CLASSES + text)
    assert f"{expected} is for regression; a classification is trained on" in line


def test_a_classification_has_no_transforms(problems):
    text = "data: {file: a, target_cols: [y], target_transforms: [log10]}\ntask: classification"
    (line,) = problems(text)
    assert "data.target_transforms is for regression; labels 0 and 1 have none" in line


# ------------------------------------------------------------------------- learning rates


@pytest.mark.parametrize(
    ("base", "names", "expected"),
    [
        (
            "",
            ["lr", "max_lr", "init_lr_ratio"],
            ["search_space.lr is one constant learning rate and excludes "
             "search_space.max_lr, search_space.init_lr_ratio"],
        ),
        (
            "lr: 1e-3",
            ["final_lr"],
            ["optimization.lr is one constant learning rate and excludes search_space.final_lr"],
        ),
        (
            "lr: 1e-3, max_lr: 2e-3",
            [],
            ["optimization.lr is one constant learning rate and excludes optimization.max_lr"],
        ),
        (
            "",
            ["init_lr", "init_lr_ratio"],
            ["search_space.init_lr and search_space.init_lr_ratio exclude each other; search one"],
        ),
        (
            "final_lr_ratio: 0.1",
            ["final_lr"],
            ["search_space.final_lr has no effect, since optimization.final_lr_ratio is set; "
             "drop one"],
        ),
        ("lr: 1e-3", ["lr"], []),
        ("", ["max_lr", "init_lr", "final_lr_ratio"], []),
    ],
)  # fmt: skip
def test_a_constant_learning_rate_excludes_the_others(request, base, names, expected):
    space = dict.fromkeys(names, "{type: loguniform, low: 1e-5, high: 1e-1}")
    lines = "".join(f"\n  {name}: {parameter}" for name, parameter in space.items())
    text = f"{FILE}base: false\noptimization: {{{base}}}\nsearch_space:{lines or ' {}'}"
    if not expected:
        request.getfixturevalue("load")(text)
        return
    found = request.getfixturevalue("problems")(text)
    assert [line.split(": ", 1)[1] for line in found] == expected

"""The peer's sides of the race: `chemprop hpopt` and `chemprop train`."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from race_results import Figures
from race_track import (
    BATCH,
    HERE,
    HIDDEN,
    SMILES,
    SPLIT,
    TARGET,
    Run,
    Track,
    best,
    curve,
    data_file,
    data_of,
    errors,
    left_by,
    size_mb,
)

from chemprop_hpo.storage.trials import TrialRecord

__all__ = ["hpopt", "loop", "train"]

PEER_SPACE = ("depth", "dropout", "ffn_num_layers", "max_lr")
"""The same ranges; but every other draw of hpopt's dropout is 0."""
PEER_NAMES = {"num_layers": "ffn-num-layers", "max_lr": "max-lr"}


def hpopt(track: Track) -> Run:
    setting, folder = track.setting, track.folder("hpopt")
    command = [str(track.peer / "bin" / "python"), str(HERE / "peer_hpopt.py")]
    command += [
        str(setting.cpus),
        "hpopt",
        *_data_options(track),
        "--search-parameter-keywords",
        *PEER_SPACE,
    ]
    command += ["--tracking-metric", "rmse", "--raytune-num-samples", str(setting.trials)]
    # Each trial takes one of Ray's CPUs to wait with, beside the one of the worker that trains. The
    # two options together say how many a worker takes: one.
    ray_cpus = str(2 * setting.cpus)
    command += ["--raytune-num-cpus", ray_cpus, "--raytune-max-concurrent-trials", ray_cpus]
    command += ["--raytune-trial-scheduler", "FIFO"]
    command += ["--hyperopt-random-state-seed", str(track.repeat)]
    command += ["--hpopt-save-dir", str(folder / "saved"), "--output-dir", str(folder / "output")]
    home = folder / "home"  # Ray Tune writes its results there
    home.mkdir(exist_ok=True)
    return Run(
        command,
        setting.trials,
        lambda: len(_reports(home)),
        lambda began: _searched(folder, home, began, track),
        # Ray runs workers at nice 15 unless told, which beside anything else is no fair race.
        {"HOME": str(home), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"},
    )


def _searched(folder: Path, home: Path, began: float, track: Track) -> Figures:
    data = data_of(track)
    unit = float(data[data[SPLIT] == "train"][TARGET].std(ddof=0))  # it reports scaled labels
    reports = _reports(home)
    early = [one for one in reports if one["timestamp"] - began <= _seconds_of("ours", track)]
    depths = [report["config"]["depth"] for report in reports]
    validation, test = _errors_of_best(reports, track)
    return Figures(
        finished=len(reports),
        failed=len(list(home.glob("ray_results/*/*/error.txt"))),
        epochs=sum(report["epoch"] + 1 for report in reports),
        curve=curve((report["timestamp"], report["val/rmse"] * unit) for report in reports),
        validation_rmse=validation,
        test_rmse=test,
        early_test_rmse=_errors_of_best(early, track)[1],
        depth=statistics.mean(depths) if depths else None,
        kept_mb=size_mb(folder),
        weights=len(list(folder.rglob("*.ckpt"))),
    ).since(began)


def _reports(home: Path) -> list[dict[str, Any]]:
    """Return the one report of each trial that has ended well, with the folder of the trial."""
    files = sorted(home.glob("ray_results/*/*/result.json"))
    lines = {file: file.read_text().splitlines() for file in files}
    return [json.loads(some[-1]) | {"folder": file.parent} for file, some in lines.items() if some]


def _errors_of_best(
    reports: Sequence[Mapping[str, Any]], track: Track
) -> tuple[float | None, float | None]:
    """Return RMSE on validation and test rows of the trial that hpopt would have chosen."""
    if not reports:
        return None, None
    chosen = min(reports, key=lambda report: report["val/rmse"])
    return errors(chosen["folder"] / chosen["checkpoint_dir_name"] / "checkpoint.ckpt", track)


def _seconds_of(side: str, track: Track) -> float:
    """Return the wall time of another side in this repeat; 0 where it has not run."""
    path = track.out / f"{side}-{track.repeat}.json"
    return float(json.loads(path.read_text())["cost"]["wall_s"]) if path.exists() else 0.0


def train(track: Track) -> Run:
    return _trainings(
        "train", track, track.setting.trains, track.setting.cpus, {"OMP_NUM_THREADS": "1"}
    )


def loop(track: Track) -> Run:
    threads = {"OMP_NUM_THREADS": f"{track.setting.cpus}"}  # what torch takes with so many CPUs
    return _trainings("loop", track, -(-track.setting.trains // 2), 1, threads)


def _trainings(
    side: str, track: Track, runs: int, at_once: int, environment: Mapping[str, str]
) -> Run:
    top, folder = best(left_by("ours", track), track.setting.members[0]), track.folder(side)
    commands = [_training(top[i % len(top)], folder / f"{i}", track) for i in range(runs)]
    listed = folder / "commands"
    listed.write_text("".join(f"{shlex.join(command)}\n" for command in commands))
    side_by_side = ["xargs", f"--arg-file={listed}", "--delimiter=\n", "-I{}"]

    def models() -> list[Path]:
        return sorted(folder.glob("*/model_0/best.pt"))

    def read(_: float) -> Figures:
        made = models()
        validation, test = errors(made[0], track) if made else (None, None)
        return Figures(
            finished=len(made),
            failed=runs - len(made),
            epochs=len(made) * track.setting.epochs,
            validation_rmse=validation,
            test_rmse=test,
            kept_mb=size_mb(folder),
            weights=len(list(folder.rglob("*.ckpt"))) + len(made),
        )

    return Run(
        [*side_by_side, f"--max-procs={at_once}", "sh", "-c", "exec {}"],
        runs,
        lambda: len(models()),
        read,
        environment,
    )


def _training(trial: TrialRecord, folder: Path, track: Track) -> list[str]:
    command = [str(track.peer / "bin" / "chemprop"), "train", *_data_options(track)]
    for name, value in trial.params.items():
        command += [f"--{PEER_NAMES.get(name, name)}", str(value)]
    return [*command, "--pytorch-seed", str(trial.seed or 0), "--output-dir", str(folder)]


def _data_options(track: Track) -> list[str]:
    options = {
        "data-path": str(data_file(track)),
        "smiles-columns": SMILES,
        "target-columns": TARGET,
        "splits-column": SPLIT,
        "task-type": "regression",
        "metrics": "rmse",
        "accelerator": "cpu",
        "epochs": str(track.setting.epochs),
        "batch-size": str(BATCH),
        "message-hidden-dim": str(HIDDEN),
        "ffn-hidden-dim": str(HIDDEN),
        "aggregation": "norm",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]

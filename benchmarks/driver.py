"""What a report costs the driver, held against bare Ray Tune.

    python benchmarks/driver.py [--workers 1 2 4 8] [--trials 64] [--epochs 27] [--repeats 3]

Trials that train nothing report as fast as they can: to Tune alone (``bare``: a class trainable,
workers used again, no loggers), and to a sweep with more and more of its parts: the study in
SQLite, ASHA, the live display on a terminal that nobody sees, MLflow in SQLite; ``on a server``
is all of it with MLflow's server in a process of its own, whose time is not the driver's. No trial
is stopped early, so that all have the same number of reports. One after the other, again and
again, in one process on one Ray.

Of each there is the CPU time of the driver's process, all its threads, from the first report to
the end of the sweep, divided by the number of reports; and its ratio to ``bare`` within one
repeat: median, least and most. What a sweep costs once, such as MLflow's own run of it, and what
a trial costs at its beginning and end are in it, shared out.

``mlflow's own`` is no sweep and has no Tune: MLflow's client creates as many runs, gives each the
parameters, tags and metrics that a sweep gives it, in one request, and ends it. A tracked sweep
that did nothing else would cost ``bare`` and this.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import optuna
import ray
from limits import Figure, exit_code
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from ray import tune
from rich.console import Console

from chemprop_hpo.configs.load import load_stored
from chemprop_hpo.configs.schema import SweepConfig
from chemprop_hpo.hpo.beginning import _trackers
from chemprop_hpo.hpo.chemistry.features.featurising import featurise_fold
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.tables.data import read_fold
from chemprop_hpo.hpo.chemistry.training.epochs import EpochReport
from chemprop_hpo.hpo.drive import Drive
from chemprop_hpo.hpo.events import Audience, EpochEnded, Observer
from chemprop_hpo.hpo.identity import manifest_of, record_of
from chemprop_hpo.hpo.plan import featurizers
from chemprop_hpo.hpo.progress.display import LiveDisplay
from chemprop_hpo.hpo.trial.cluster import connected
from chemprop_hpo.storage.database import open_database
from chemprop_hpo.storage.studies import open_or_create_study

PARTS = ("database", "asha", "display", "mlflow")
ON_A_SERVER = "the same, MLflow on a server"
LIMIT = 1.5
"""The most that a report may cost with all of them, as a multiple of ``bare``."""
SERVER_WITHIN_S = 60.0
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def main() -> int:
    """Run, print the table, and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options, figures = _options(), []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    # There may be more workers than cores: only the driver's time is counted.
    ray.init = partial(ray.init, num_cpus=max(options.workers))
    with tempfile.TemporaryDirectory() as temporary, connected(None), ExitStack() as stack:
        server = ""
        if "mlflow" in options.parts:
            server = stack.enter_context(_mlflow_server(Path(temporary)))
        print("| workers | what | CPU ms a report | ratio to bare | least | most |")
        print("|---|---|---|---|---|---|")
        for workers in options.workers:
            found = [
                _round(options, workers, Path(temporary, f"{workers}-{i}"), server)
                for i in range(options.repeats)
            ]
            for line in _lines(workers, found):
                print(line, flush=True)
            figures += _figures(workers, found)
    return exit_code(figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    return parser.parse_args()


def _round(
    options: argparse.Namespace, workers: int, folder: Path, server: str
) -> dict[str, float]:
    trials, epochs = options.trials, options.epochs
    size = trials, epochs, workers
    found = {"bare": _bare(*size), "mlflow's own": _mlflow_alone(trials, epochs, folder)}
    for part in options.parts:
        place = folder / part
        place.mkdir(parents=True)
        parts = PARTS[: PARTS.index(part) + 1]
        found[" + ".join(parts)] = _sweep(*size, parts, place, f"sqlite:///{place}/mlflow.db")
    if "mlflow" in options.parts:
        place = folder / "server"
        place.mkdir()
        found[ON_A_SERVER] = _sweep(*size, PARTS, place, server)
    return found


class _Mark:
    """The driver's CPU time since the first report, and how many came after it."""

    def __init__(self) -> None:
        self.reports = 0
        self._began = 0.0

    def note(self) -> None:
        self.reports += 1
        if self.reports == 1:
            self._began = time.process_time()

    def ms_a_report(self) -> float:
        return 1000 * (time.process_time() - self._began) / max(self.reports - 1, 1)


# --------------------------------------------------------------------------- bare Tune


class _Bare(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self._epoch = 0

    def step(self) -> dict[str, Any]:
        self._epoch += 1
        return {"epoch": self._epoch, "best": 1.0, "done": self._epoch == self.config["epochs"]}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._epoch = 0
        return True


class _Marking(tune.Callback):
    def __init__(self, mark: _Mark) -> None:
        self._mark = mark

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        self._mark.note()


def _bare(trials: int, epochs: int, workers: int) -> float:
    mark = _Mark()
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(_Bare, {"cpu": 1}),
            param_space={"epochs": epochs},
            tune_config=tune.TuneConfig(
                num_samples=trials, max_concurrent_trials=workers, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[_Marking(mark)], verbose=0),
        ).fit()
    return mark.ms_a_report()


# --------------------------------------------------------------------------- bare MLflow

_PARAMS = ("depth", "dropout", "max_lr", "seed")
_TAGS = [f"chemprop_hpo.{i}" for i in range(10)]
_METRICS = ("val_loss", "val_rmse", "val_mae", "val_r2", "best_so_far", "epoch_seconds")
_AT_THE_END = ("best_value", *(f"{best}{m}" for best in ("best/", "best_") for m in _METRICS[:4]))


def _mlflow_alone(trials: int, epochs: int, folder: Path) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(f"sqlite:///{folder}/alone.db")
    experiment = client.create_experiment("alone")
    _log_run(client, experiment, epochs)  # the first pays for the imports
    began = time.process_time()
    for _ in range(trials):
        _log_run(client, experiment, epochs)
    return 1000 * (time.process_time() - began) / (trials * epochs)


def _log_run(client: MlflowClient, experiment: str, epochs: int) -> None:
    run_id = client.create_run(experiment).info.run_id
    names = [(epoch, name) for epoch in range(epochs) for name in _METRICS]
    names += [(epochs, name) for name in _AT_THE_END]
    client.log_batch(
        run_id,
        metrics=[Metric(name, 1.0, epoch, epoch) for epoch, name in names],
        params=[Param(name, "1") for name in _PARAMS],
        tags=[RunTag(name, "1") for name in _TAGS],
    )
    client.set_terminated(run_id)


# --------------------------------------------------------------------------- MLflow's server


@contextmanager
def _mlflow_server(folder: Path) -> Iterator[str]:
    """Yield the address of a server of MLflow's on this machine, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(os.devnull, "wb") as nowhere:
        server = subprocess.Popen(
            command,
            stdout=nowhere,
            stderr=nowhere,
            env=os.environ | quiet,
            start_new_session=True,
            preexec_fn=partial(_end_with, os.getpid()),
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + SERVER_WITHIN_S
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("mlflow server does not start")
            time.sleep(0.2)
        if server.poll() is not None:
            raise SystemExit(f"port {port} was taken by another program: try again")
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _end_with(driver: int) -> None:
    """Let a child be ended, with its own children, as soon as the driver is gone."""
    with suppress(AttributeError):  # no Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != driver:  # it was gone before
        os._exit(1)


def _answers(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"{address}/health", timeout=1).status == 200)
    except OSError:
        return False


# --------------------------------------------------------------------------- a sweep


class _Watching:
    """An observer that marks each epoch and passes over all else."""

    def __init__(self, mark: _Mark) -> None:
        self._mark = mark

    def epoch_ended(self, event: EpochEnded) -> None:
        self._mark.note()

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        if name == "run_id":
            raise AttributeError(name)
        return lambda *_: None


class _Nothing:
    """What a training can write of itself, here nothing."""

    def save_checkpoint(self, path: Path) -> None:
        path.write_bytes(b"")

    def save_best(self, path: Path) -> None:
        path.write_bytes(b"")


def _train(
    spec: Any, fold: Any, on_epoch: Callable[[EpochReport, Any], bool], resume_from: Any = None
) -> None:
    """Report as fast as the driver asks."""
    metrics = {f"val_{name}": 1.0 for name in ("loss", "rmse", "mae", "r2")}
    for epoch in range(1, spec.max_epochs + 1):
        is_last = epoch == spec.max_epochs
        report = EpochReport(
            epoch=epoch,
            value=1.0,
            best=1.0,
            best_epoch=1,
            metrics=metrics,
            best_metrics=metrics,
            curve=(1.0,) * epoch,
            seconds=0.0,
            stop_reason="max_t" if is_last else None,
            final=metrics if is_last else None,
        )
        if not on_epoch(report, _Nothing()):
            return


def _sweep(
    trials: int, epochs: int, workers: int, parts: Sequence[str], folder: Path, tracking_uri: str
) -> float:
    table = folder / "molecules.csv"
    table.write_text("smiles,y\n" + "".join(f"{'C' * i},{i}\n" for i in range(1, 31)))
    configuration = _configuration(trials, epochs, workers, parts, folder, table)
    configuration["mlflow"] |= {"tracking_uri": tracking_uri}
    loaded = load_stored(configuration)
    config, mark = loaded.config, _Mark()
    manifest = manifest_of(config)
    with ExitStack() as stack:
        db = stack.enter_context(open_database(config.study.storage))
        study, _ = open_or_create_study(db, config.study_name, record_of(loaded, manifest, folder))
        observers: list[Observer] = [cast(Observer, _Watching(mark))]
        if "display" in parts:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            console = Console(file=nowhere, force_terminal=True, width=120, height=40)
            observers.append(stack.enter_context(LiveDisplay(console)))
        trackers = _trackers(loaded, manifest, db, study)
        for one in trackers:  # what they say of the whole sweep at its end is no report's cost
            one._read_best = one._read_observations = None
        audience = Audience([*observers, *trackers])
        drive = Drive(config, folder / "study", db, study, audience, False, _train)
        with drive.interrupts:
            drive.run(_fold(config))
    if mark.reports != trials * epochs:
        raise SystemExit(f"{mark.reports} reports, and not {trials * epochs}")
    return mark.ms_a_report()


def _fold(config: SweepConfig) -> Fold:
    return featurise_fold(read_fold(config), config, *featurizers(config))


def _configuration(
    trials: int, epochs: int, workers: int, parts: Sequence[str], folder: Path, table: Path
) -> dict[str, Any]:
    scheduler = {"grace_period": 3, "reduction_factor": 3} if "asha" in parts else {"type": "none"}
    return {
        "data": {"file": str(table), "target_cols": ["y"]},
        "search_space": {
            "depth": {"type": "randint", "low": 2, "high": 6},
            "dropout": {"type": "uniform", "low": 0.0, "high": 0.4},
            "max_lr": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
        },
        "num_samples": trials,
        "scheduler": {"max_t": epochs, **scheduler},
        "resources": {"max_concurrent_trials": workers, "cpus_per_trial": 1},
        "study": {
            "name": "driver",
            "storage": f"sqlite:///{folder}/studies.db",
            "folder": str(folder / "study"),
        },
        "mlflow": {"tracking": "mlflow" in parts, "experiment_name": folder.parent.name},
    }


def _lines(workers: int, found: Sequence[Mapping[str, float]]) -> Iterator[str]:
    for name in found[0]:
        ratios = [times[name] / times["bare"] for times in found]
        figures = statistics.median(ratios), min(ratios), max(ratios)
        cost = statistics.median(times[name] for times in found)
        shown = " | ".join(f"{ratio:.2f}" for ratio in figures)
        yield f"| {workers} | {name} | {cost:.2f} | {shown} |"


def _figures(workers: int, found: Sequence[Mapping[str, float]]) -> Iterator[Figure]:
    for name in (" + ".join(PARTS), ON_A_SERVER):
        if name in found[0]:
            ratio = statistics.median(times[name] / times["bare"] for times in found)
            yield Figure(f"{name} / bare, {workers} at once", ratio, LIMIT)


if __name__ == "__main__":
    sys.exit(main())

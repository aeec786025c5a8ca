"""Train one model on one fold, from the start or from a checkpoint, and report each epoch."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from chemprop_hpo.configs.errors import ResourceError
from chemprop_hpo.hpo.chemistry.features.fold import Fold
from chemprop_hpo.hpo.chemistry.models.checkpoints import CheckpointError, read_checkpoint
from chemprop_hpo.hpo.chemistry.training.epochs import EpochReport, NonFiniteLossError, TrainingSpec
from chemprop_hpo.hpo.chemistry.training.fitting import Fitting, Progress
from chemprop_hpo.hpo.chemistry.training.identity import differences

__all__ = [
    "CheckpointError",
    "EpochReport",
    "NonFiniteLossError",
    "Progress",
    "TrainingSpec",
    "train",
]


def train(
    spec: TrainingSpec,
    fold: Fold,
    on_epoch: Callable[[EpochReport, Progress], bool],
    resume_from: Path | None = None,
) -> EpochReport:
    """Train a model, and call ``on_epoch`` after each epoch.

    On a CPU, same spec, fold and number of threads give the same weights bit for bit, also where
    the training was continued from a checkpoint in between; a GPU adds up in no fixed order. It
    may run in any thread; one at a time in a process, since torch's generator and threads are
    the process's.

    Parameters
    ----------
    spec : TrainingSpec
    fold : Fold
        Featurised as ``spec.model`` asks for; only read.
    on_epoch : callable
        Gets an :class:`EpochReport` and a :class:`Progress`; returns False to stop from outside.
        What it raises ends the training and comes out of here.
    resume_from : Path, optional
        A checkpoint of the same training. Its own epoch is reported first, once all of it has
        been read and found whole; then the epochs that follow it. A checkpoint of the last
        epoch trains nothing.

    Returns
    -------
    EpochReport
        The last one.

    Raises
    ------
    NonFiniteLossError
        If the training loss, a prediction or the chosen metric is NaN or infinite.
    CheckpointError
        If the checkpoint is missing, damaged, or of another training; nothing was reported.
    ResourceError
        If ``spec.device`` is ``cuda`` and there is none.
    ConfigError
        If the chosen metric is not reported.
    """
    _require_device(spec.device)
    with _torch_threads(spec.threads), _own_generator(spec.device), _quiet_lightning():
        fitting = Fitting(spec, fold, on_epoch)
        if resume_from is None or _goes_on_from(resume_from, fitting):
            _fit(fitting)
    assert fitting.report is not None
    return fitting.report


def _goes_on_from(path: Path, fitting: Fitting) -> bool:
    report = _restore(path, fitting)
    return fitting.tell(report) and report.stop_reason is None


def _restore(path: Path, fitting: Fitting) -> EpochReport:
    header, state = read_checkpoint(path)
    report = _report(header, path)
    if different := differences(header.get("training"), fitting.identity):
        raise CheckpointError(
            f"{path}: the checkpoint is of another training ({', '.join(different)} differ)"
        )
    try:
        fitting.restore(report, state)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the checkpoint does not fit the model ({error})") from error
    return report


def _report(header: dict[str, Any], path: Path) -> EpochReport:
    try:
        stored: dict[str, Any] = dict(header["report"])
        return EpochReport(**stored | {"curve": tuple(stored["curve"])})
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: the checkpoint holds no report of an epoch") from error


def _fit(fitting: Fitting) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        _trainer(fitting).fit(fitting, fitting.loader)
    except SystemExit as leaving:
        # Lightning turns Ctrl-C into an exit and ignores it from then on; callers want to know.
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None


def _trainer(fitting: Fitting) -> Trainer:
    spec = fitting.spec
    return Trainer(
        accelerator=spec.device,
        devices=1,
        # Inside a Slurm job Lightning would otherwise take this for one rank of many.
        plugins=[LightningEnvironment()],
        max_epochs=spec.max_epochs - fitting.epoch,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _require_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            "device: cuda was asked for, but torch finds no GPU here; "
            "set resources.gpus_per_trial=0 to train on CPUs"
        )


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    # The number belongs to the calling thread, hence here and not where the process starts.
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _own_generator(device: str) -> Iterator[None]:
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning calls what torch has renamed; nobody here can do anything about it.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`")
            yield
    finally:
        logger.setLevel(before)

"""The real command line, with a training whose epochs last as long as a file says.

`PACE` names the file; it holds seconds. Run it as `python -m tests.hpo.paced sweep FILE`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from chemprop_hpo.hpo import sweep
from chemprop_hpo.hpo.chemistry.training.train import EpochReport, TrainingSpec
from chemprop_hpo.hpo.cli import main
from tests.hpo.scripted import scripted_train

PACE = "CHEMPROP_HPO_TEST_PACE"


def paced_train(
    spec: TrainingSpec, fold: Any, on_epoch: Any, resume_from: Path | None = None
) -> EpochReport | None:
    """Follow the script of ``spec.model.depth``, each epoch at the pace of that moment."""

    def then(report: EpochReport, progress: Any) -> bool:
        time.sleep(float(Path(os.environ[PACE]).read_text()))
        return bool(on_epoch(report, progress))

    return scripted_train(spec, fold, then, resume_from)


if __name__ == "__main__":
    from tests.hpo.paced import paced_train as train  # by its own name, for the workers

    (sweep.start_sweep.__kwdefaults__ or {})["train"] = train
    main()

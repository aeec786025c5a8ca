"""A promoter that moves only when another has decided too.

``python -m tests.hpo.promotion.racing_promoter URI FOLDER NAME`` leaves a file ``NAME`` in the folder
when it has decided, waits for a second file, and prints what came of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from chemprop_hpo.configs.errors import PromotionConflictError
from chemprop_hpo.hpo.promotion.ledger_place import ledger_url
from chemprop_hpo.hpo.promotion.promoting import promote
from chemprop_hpo.hpo.promotion.registered.registry import open_registry
from chemprop_hpo.storage.ledger import Ledger, Move, open_ledger
from tests.hpo.promotion.made_registry import config_of
from tests.hpo.tracking.real_server import wait_for


def main() -> None:
    uri, folder, name = sys.argv[1:]
    move = Ledger.move

    def move_with_the_other(ledger: Ledger, *args: Any, **options: Any) -> Move:
        (Path(folder) / name).touch()
        wait_for(lambda: len(list(Path(folder).iterdir())) == 2, timeout_s=180)
        return move(ledger, *args, **options)

    Ledger.move = move_with_the_other  # type: ignore[method-assign]  # as a stand-in
    config = config_of(uri)
    with open_ledger(ledger_url(config)) as ledger:
        try:
            done = promote(open_registry(config), ledger, config.promotion)
        except PromotionConflictError as error:
            sys.stdout.write(f"refused: {error}\n")
        else:
            sys.stdout.write(f"moved: {done.moved}\n")


if __name__ == "__main__":
    main()

from __future__ import annotations

import pytest

from chemprop_hpo.hpo.progress.wording import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (61, "2 min"),
        (3599, "1 h 0 min"),
        (5000, "1 h 24 min"),
        (300_000, "3 days"),
    ],
)
def test_a_duration_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text

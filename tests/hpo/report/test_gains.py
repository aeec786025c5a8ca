"""By how much one ensemble is better than another, where molecules were measured again."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from chemprop_hpo.hpo.report.content import Judged, ReportContent
from chemprop_hpo.hpo.report.gains import gains
from tests.hpo.report.made_content import made_content


def with_each_row(times: int, content: ReportContent) -> ReportContent:
    """Let each test row stand so many times, all of them of one molecule."""

    def repeated(judged: Judged | None) -> Judged:
        assert judged is not None
        return replace(
            judged,
            labels=np.repeat(judged.labels, times),
            mean=np.repeat(judged.mean, times),
            molecules=np.repeat(np.arange(judged.n), times),
        )

    ensembles = tuple(
        replace(one, targets=tuple(replace(t, test=repeated(t.test)) for t in one.targets))
        for one in content.ensembles
    )
    return replace(content, ensembles=ensembles)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_rows_that_stand_four_times_leave_the_gain_as_open_as_it_is(task: str) -> None:
    content = made_content(task=task)
    once, found = gains(content, 0), gains(with_each_row(4, content), 0)
    assert once[0] is found[0] is None
    for one, other in zip(once[1:], found[1:], strict=True):
        assert one is not None
        assert other is not None
        assert astuple(other) == pytest.approx(astuple(one))

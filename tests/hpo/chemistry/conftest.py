"""Small folds to train on."""

import pytest

from tests.hpo import trainings


@pytest.fixture(scope="session")
def make_fold():
    """Make a fold of alkane-like molecules; the first target is the number of carbons."""
    return trainings.make_fold

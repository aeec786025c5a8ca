"""Parts keep groups together, keep to their sizes, and come out the same every time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from rdkit import Chem

from chemprop_hpo.configs.errors import DataError
from chemprop_hpo.configs.schema import SplitConfig
from chemprop_hpo.hpo.chemistry.tables.molecule_groups import clusters, scaffolds
from chemprop_hpo.hpo.chemistry.tables.splits import Parts, parts_of_column, split_rows

METHODS = ("random", "scaffold", "kmeans")
RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "C1CCNCC1", "c1ccc2ccccc2c1", "C1CC1")
SMILES = [
    f"{'C' * chain}{tail}{ring}"
    for ring in RINGS
    for chain in range(1, 5)
    for tail in ("", "O", "N")
] + ["CCO", "OCC", "C(C)O"]  # one molecule, three spellings
MOLECULES = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
CANONICAL = [Chem.MolToSmiles(molecule) for molecule in MOLECULES]


def _split(sweep_seed: int = 0, *, split: int = 0, fold: int = 0, **config: object) -> Parts:
    return split_rows(
        MOLECULES, CANONICAL, SplitConfig(**config), sweep_seed, split=split, fold=fold
    )


def _sizes(parts: Parts) -> tuple[int, int, int]:
    return len(parts.train), len(parts.validation), len(parts.test)


def _as_lists(parts: Parts) -> list[list[int]]:
    return [part.tolist() for part in (parts.train, parts.validation, parts.test)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("folds", [{"val_fraction": 0.15}, {"n_folds": 4}, {"val_fraction": 0.25}])
def test_every_row_is_in_exactly_one_part(method: str, folds: dict[str, object]) -> None:
    train, validation, test = _as_lists(_split(method=method, **folds))
    assert sorted(train + validation + test) == list(range(len(SMILES)))
    assert train
    assert validation
    assert test


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_equal_molecules_stay_in_one_part(method: str, seed: int) -> None:
    parts = _split(seed, method=method, test_fraction=0.3, val_fraction=0.3)
    homes = [
        name for name in ("train", "validation", "test") if len(SMILES) - 1 in getattr(parts, name)
    ]
    same = {len(SMILES) - 1, len(SMILES) - 2, len(SMILES) - 3}
    assert same <= set(getattr(parts, homes[0]).tolist())


@pytest.mark.parametrize("seed", range(5))
def test_scaffolds_stay_in_one_part(seed: int) -> None:
    parts = _split(seed, method="scaffold", test_fraction=0.2, val_fraction=0.2)
    groups = scaffolds(MOLECULES)
    homes = [set(groups[part].tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert sum(len(home) for home in homes) == len(set(groups.tolist())) == len(RINGS) + 1


def test_clusters_stay_in_one_part() -> None:
    parts = _split(3, method="kmeans", test_fraction=0.2, val_fraction=0.2)
    groups = clusters(MOLECULES, CANONICAL, 3)
    homes = [set(groups[part].tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert len(set(groups.tolist())) > 5
    assert sum(len(home) for home in homes) == len(set(groups.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_random_parts_have_the_asked_sizes(seed: int) -> None:
    train, validation, test = _sizes(_split(seed, test_fraction=0.1, val_fraction=0.2))
    n = len(SMILES)
    assert test in range(round(0.1 * n) - 2, round(0.1 * n) + 1)
    assert validation in range(round(0.2 * n) - 2, round(0.2 * n) + 1)
    assert train == n - validation - test


@pytest.mark.parametrize("method", ["scaffold", "kmeans"])
@pytest.mark.parametrize("seed", range(5))
def test_a_grouped_part_is_within_one_group_of_its_size(method: str, seed: int) -> None:
    parts = _split(seed, method=method, test_fraction=0.25, val_fraction=0.25)
    groups = scaffolds(MOLECULES) if method == "scaffold" else clusters(MOLECULES, CANONICAL, seed)
    smallest_left = min(np.bincount(groups)[np.unique(groups[parts.train])])
    asked = round(0.25 * len(SMILES))
    for part in (parts.validation, parts.test):
        assert asked - smallest_left < len(part) <= asked


def test_a_group_larger_than_a_part_goes_on_to_training() -> None:
    smiles = ["c1ccccc1" + "C" * n for n in range(1, 41)] + ["CC", "CCC", "C1CC1C", "C1CCC1C"]
    molecules = [Chem.MolFromSmiles(text) for text in smiles]
    config = SplitConfig(method="scaffold", test_fraction=0.05, val_fraction=0.05)
    for seed in range(5):
        parts = split_rows(molecules, smiles, config, seed)
        assert set(range(40)) <= set(parts.train.tolist())
        assert len(parts.test) > 0
        assert len(parts.validation) > 0


@pytest.mark.parametrize("method", METHODS)
def test_folds_cover_all_rows_but_the_test_rows_once(method: str) -> None:
    folds = [_split(method=method, n_folds=4, fold=fold) for fold in range(4)]
    validated = np.concatenate([parts.validation for parts in folds])
    rest = np.setdiff1d(np.arange(len(SMILES)), folds[0].test)
    assert sorted(validated.tolist()) == rest.tolist()


def test_random_folds_are_of_one_size() -> None:
    sizes = [len(_split(n_folds=4, fold=fold).validation) for fold in range(4)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_test_rows_are_the_same_in_every_split_and_fold(method: str) -> None:
    first = _split(method=method, n_folds=3, n_splits=3)
    for split in range(3):
        for fold in range(3):
            other = _split(method=method, n_folds=3, n_splits=3, split=split, fold=fold)
            assert other.test.tolist() == first.test.tolist()


@pytest.mark.parametrize("folds", [{"n_folds": 3}, {"val_fraction": 0.2}])
def test_splits_differ_in_their_validation_rows(folds: dict[str, object]) -> None:
    first, second = (_split(n_splits=2, split=split, **folds) for split in (0, 1))
    assert first.validation.tolist() != second.validation.tolist()


def test_the_seed_of_the_split_rules_over_the_seed_of_the_sweep() -> None:
    assert _as_lists(_split(1, seed=7)) == _as_lists(_split(2, seed=7))
    assert _as_lists(_split(1)) != _as_lists(_split(2))


def test_a_negative_seed_is_a_seed() -> None:
    assert _as_lists(_split(-1)) != _as_lists(_split(1))


def test_parts_are_the_same_in_another_process() -> None:
    program = (
        "from rdkit import Chem\n"
        "from chemprop_hpo.configs.schema import SplitConfig\n"
        "from chemprop_hpo.hpo.chemistry.tables.splits import split_rows\n"
        f"molecules = [Chem.MolFromSmiles(s) for s in {SMILES!r}]\n"
        "canonical = [Chem.MolToSmiles(m) for m in molecules]\n"
        f"for method in {METHODS!r}:\n"
        "    parts = split_rows(molecules, canonical, SplitConfig(method=method), 5)\n"
        "    print(parts.validation.tolist(), parts.test.tolist())\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    ours = [_split(5, method=method) for method in METHODS]
    assert printed.splitlines() == [f"{p.validation.tolist()} {p.test.tolist()}" for p in ours]


@pytest.mark.parametrize("place", [{"split": 1}, {"fold": 1}, {"fold": -1}])
def test_a_split_or_fold_that_is_not_there_is_an_error(place: dict[str, int]) -> None:
    name = next(iter(place))
    with pytest.raises(DataError, match=f"no {name} -?1; split.n_{name}s gives 1"):
        _split(**place)


def test_a_test_fraction_of_zero_sets_nothing_aside() -> None:
    assert len(_split(test_fraction=0).test) == 0


def test_a_column_names_the_parts_in_any_case() -> None:
    words = ["train", "VAL", "Test", "validation", "Training"]
    parts = parts_of_column(words, range(2, 7))
    assert _as_lists(parts) == [[0, 4], [1, 3], [2]]


def test_a_word_that_is_no_part_is_an_error_with_its_rows() -> None:
    with pytest.raises(DataError, match=r"'tset' .* in rows 3, 5; write train"):
        parts_of_column(["train", "tset", "val", ""], range(2, 6))


def test_mapped_atoms_do_not_change_a_scaffold() -> None:
    plain, mapped = (Chem.MolFromSmiles(s) for s in ("Cc1ccccc1", "C[c:1]1[cH:2]cccc1"))
    assert len(set(scaffolds([plain, mapped]).tolist())) == 1
    assert [a.GetAtomMapNum() for a in mapped.GetAtoms()][1] == 1

"""Small folds to train on."""

import numpy as np
import pytest
from rdkit import Chem

from chemprop_hpo.hpo.chemistry.features import Fold, featurise
from chemprop_hpo.hpo.chemistry.molecule_vectors import molecule_vectors

SMILES = [
    group + "C" * n + end
    for n in range(1, 9)
    for group in ("", "O", "N", "C(C)", "Cl")
    for end in ("", "O")
][:70]


def _read_only(array):
    array.setflags(write=False)
    return array


@pytest.fixture(scope="session")
def make_fold():
    """Make a fold of alkane-like molecules; the first target is the number of carbons."""

    def make(
        n_targets=1,
        *,
        task="regression",
        n_train=50,
        n_val=20,
        features=(),
        missing=(),
        **changes,
    ):
        molecules = [Chem.MolFromSmiles(s) for s in SMILES[: n_train + n_val]]
        order = np.random.default_rng(0).permutation(len(molecules))
        molecules = [molecules[i] for i in order]
        carbons = [sum(a.GetSymbol() == "C" for a in m.GetAtoms()) for m in molecules]
        atoms = [m.GetNumAtoms() for m in molecules]
        oxygens = [sum(a.GetSymbol() == "O" for a in m.GetAtoms()) for m in molecules]
        targets = np.array([carbons, oxygens, atoms], dtype=float).T[:, :n_targets]
        if task == "classification":
            targets = (targets > np.median(targets, axis=0)).astype(float)
        for row, target in missing:
            targets[row, target] = np.nan
        places = [str(i) for i in order]
        fields = {
            "graphs": {"V2": featurise(molecules, "V2")},
            "vectors": {f: _read_only(molecule_vectors(molecules, f, places)) for f in features},
            "targets": _read_only(targets),
            "train": _read_only(np.arange(n_train)),
            "validation": _read_only(np.arange(n_train, n_train + n_val)),
            "target_cols": ("carbons", "oxygens", "atoms")[:n_targets],
            "transforms": ("none",) * n_targets,
            "weights": (1.0,) * n_targets,
            "task": task,
        }
        return Fold(**fields | changes)

    return make

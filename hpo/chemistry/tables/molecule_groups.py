"""Put molecules that must stay together into groups: equal ones, scaffolds, clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

Groups = NDArray[np.int64]


def equal_molecules(canonical: Sequence[str]) -> Groups:
    """Give each distinct molecule a number; shape (n,)."""
    numbers = {text: number for number, text in enumerate(sorted(set(canonical)))}
    return np.array([numbers[text] for text in canonical], dtype=np.int64)


def scaffolds(molecules: Sequence[Mol]) -> Groups:
    """Give each Bemis-Murcko scaffold a number, molecules without a ring sharing one; (n,).

    Bemis and Murcko, J. Med. Chem. 1996, 39, 2887.
    """
    return equal_molecules([_scaffold(molecule) for molecule in molecules])


def clusters(molecules: Sequence[Mol], canonical: Sequence[str], seed: int) -> Groups:
    """Cluster Morgan fingerprints (radius 2, 2,048 bits) with k-means; shape (n,).

    A tenth as many clusters as there are molecules, at least 10 and at most 100: small enough
    to fill a part to its size, large enough to hold a series of analogues.
    """
    molecule_of_row = equal_molecules(canonical)
    first_rows = np.unique(molecule_of_row, return_index=True)[1]
    bits = _fingerprints([molecules[row] for row in first_rows])
    n_distinct = len({row.tobytes() for row in bits})
    n_clusters = min(int(np.clip(len(bits) // 10, 10, 100)), n_distinct)
    # With several threads the sums of k-means are added in an order that changes from run to run.
    with threadpool_limits(limits=1):
        found = KMeans(n_clusters, n_init=1, random_state=seed % 2**32).fit(bits)
    labels: Groups = found.labels_.astype(np.int64)
    return labels[molecule_of_row]


def _scaffold(molecule: Mol) -> str:
    # Numbers of mapped atoms would make equal frameworks look different.
    bare = Mol(molecule)
    for atom in bare.GetAtoms():
        atom.SetAtomMapNum(0)
    framework = MurckoScaffoldSmiles(mol=bare, includeChirality=False)  # type: ignore[no-untyped-call]  # RDKit types only its C++ side
    return str(framework)


def _fingerprints(molecules: Sequence[Mol]) -> NDArray[np.float32]:
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    return np.array([generator.GetFingerprintAsNumPy(m) for m in molecules], dtype=np.float32)

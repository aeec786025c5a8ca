"""Tell people what was read, what was left out, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chemprop_hpo.hpo.chemistry.tables.problems import counted, named_rows


@dataclass(frozen=True)
class FileReport:
    """What one file gave: its rows, and the rows that were left out."""

    path: Path
    rows: int
    unreadable: tuple[int, ...]
    """Rows whose SMILES RDKit cannot read."""
    unlabelled: tuple[int, ...]
    """Rows without any label."""

    def lines(self) -> list[str]:
        """Write a line for the file and one for each kind of row left out."""
        lines = [f"{self.path}: {counted(self.rows, 'row')}"]
        for rows, why in (
            (self.unreadable, "RDKit cannot read the SMILES"),
            (self.unlabelled, "no label at all"),
        ):
            if rows:
                lines.append(f"  left out {len(rows):,}, {why}: {named_rows(rows)}")
        return lines


@dataclass(frozen=True)
class PartReport:
    """What one part holds: its rows, how many repeat a molecule, its labels by target."""

    name: str
    rows: int
    repeated: int
    labels: dict[str, int]

    def lines(self) -> list[str]:
        """Write the part's size, and its labels where some are missing."""
        repeated = f", {self.repeated:,} of them repeat a molecule" if self.repeated else ""
        lines = [f"{self.name}: {counted(self.rows, 'row')}{repeated}"]
        if any(count < self.rows for count in self.labels.values()):
            lines.append("  labels: " + ", ".join(f"{t} {n:,}" for t, n in self.labels.items()))
        return lines


@dataclass(frozen=True)
class DataReport:
    """All that was read for one fold.

    Attributes
    ----------
    files : tuple of FileReport
    parts : tuple of PartReport
        train, validation and, where it comes from the same file, test.
    shared : int
        Molecules that stand in two parts; more than 0 only with ``data.allow_duplicates``.
    notes : tuple of str
        What else a person should know, a line each.
    """

    files: tuple[FileReport, ...]
    parts: tuple[PartReport, ...]
    shared: int = 0
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Write the report for people."""
        lines = [line for file in self.files for line in file.lines()]
        lines += [line for part in self.parts for line in part.lines()]
        if self.shared:
            lines.append(f"{counted(self.shared, 'molecule')} in more than one part")
        return lines + list(self.notes)

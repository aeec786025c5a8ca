"""Stand-ins for the sweep itself, which has its own tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass
class Result:
    """What a sweep returns."""

    study: str = "esol"
    storage: str = "sqlite:///studies.db"
    counts: dict[str, int] = field(default_factory=dict)
    best: object = None
    signal: int | None = None
    reason: str = "finished"


@dataclass
class Plan:
    """What a dry run returns."""

    config_yaml: str = "seed: 0\nnum_samples: 12\n"
    data_lines: list[str] = field(default_factory=lambda: ["900 molecules to train on"])
    resource_lines: list[str] = field(default_factory=lambda: ["2 trials at a time"])
    storage_line: str = "study 'esol' would be created"
    space_tree: str = "depth\n└── width"
    space_size: str = "162 points"
    samples: list[dict[str, Any]] = field(default_factory=lambda: [{"depth": 3}, {"depth": 4}])


def sweep_module() -> ModuleType:
    """Return a module that keeps what it is given, and answers with its ``result``."""
    module = ModuleType("chemprop_hpo.hpo.sweep")
    module.result, module.calls = Result(), []  # type: ignore[attr-defined]  # for the tests

    def start_sweep(loaded: Any, **options: Any) -> Any:
        return _answer(module, {"loaded": loaded, **options})

    def resume_sweep(name: str, url: str, **options: Any) -> Any:
        return _answer(module, {"name": name, "url": url, **options})

    module.start_sweep = start_sweep  # type: ignore[attr-defined]  # as the real one
    module.resume_sweep = resume_sweep  # type: ignore[attr-defined]
    module.plan_sweep = lambda loaded, **options: Plan()  # type: ignore[attr-defined]
    return module


def _answer(module: Any, call: dict[str, Any]) -> Any:
    module.calls.append(call)
    if isinstance(module.result, BaseException):
        raise module.result
    return module.result

"""What the race reads, stores, and says of it. Nothing is trained here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import Cost
from race import RUNS, measure_side, possible
from race_results import SIDES, Figures, Result, Setting, best_at, read_results, write
from race_tables import draw, judge, report
from race_track import LeftOutError, Run, Track

SETTING = Setting("esol.csv")
COST = Cost(
    wall_s=100.0,
    cpu_s=640.0,
    peak_mb=2000.0,
    written_mb=320.0,
    processes=8,
    code=0,
    timed_out=False,
)


def result(side: str, *, finished: int = 32, asked: int = 32, **changes: Any) -> Result:
    cost = replace(COST, **changes)
    figures = Figures(finished=finished, curve=((50.0, 0.9), (90.0, 0.7)), weights=3)
    return Result(side, 0, SETTING, asked, cost, figures, 0.1, {"memory": "24 GiB"})


def verdict(results: list[Result], words: str, *, usual: bool = True) -> tuple[str, str]:
    """Return the verdict on the one limit whose name has these words, and its notes."""
    (one,) = (one for one in judge(results, usual=usual) if words in one.limit.name)
    return one.verdict, "; ".join(one.notes)


# ----------------------------------------------------------------------------- results


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    stored = result("ours")
    write(stored, tmp_path)
    assert read_results(tmp_path, SETTING) == [stored]


def test_a_result_of_another_setting_is_refused(tmp_path: Path) -> None:
    write(result("ours"), tmp_path)
    with pytest.raises(SystemExit, match="measured with trials 32 and not 4"):
        read_results(tmp_path, replace(SETTING, trials=4))


def test_the_best_at_a_moment_is_of_what_was_ready_then() -> None:
    curve = ((10.0, 0.9), (20.0, 0.7), (30.0, 0.8))
    assert [best_at(curve, at) for at in (5, 10, 25, 99)] == [None, 0.9, 0.7, 0.7]


def test_a_side_that_was_stopped_or_lacks_trials_is_not_complete() -> None:
    assert result("hpopt").complete
    assert not result("hpopt", timed_out=True).complete
    assert not result("hpopt", finished=31).complete


# ----------------------------------------------------------------------------- limits


def test_ten_times_faster_meets_its_limit_and_nine_times_misses_it() -> None:
    words = "wall time of `chemprop hpopt`"
    assert verdict([result("ours"), result("hpopt", wall_s=1000.0)], words)[0] == "met"
    assert verdict([result("ours"), result("hpopt", wall_s=900.0)], words)[0] == "MISSED"


def test_a_run_that_hit_the_time_limit_says_at_least_and_what_it_did() -> None:
    stopped = result("hpopt", wall_s=3600.0, finished=21, timed_out=True, code=-15)
    said, notes = verdict([result("ours"), stopped], "wall time of `chemprop hpopt`")
    assert said == "met"
    assert notes == "at least; `chemprop hpopt`, FIFO: 21 of 32 after 60 min (time limit)"


def test_ours_that_did_not_finish_is_never_called_faster() -> None:
    stopped = result("ours", finished=8, timed_out=True)
    words = "wall time of `chemprop hpopt`"
    assert verdict([stopped, result("hpopt", wall_s=9000.0)], words)[0] == "MISSED"


def test_a_peer_that_broke_off_says_nothing() -> None:
    broken = result("hpopt", wall_s=9000.0, finished=3, code=1)
    assert verdict([result("ours"), broken], "wall time of `chemprop hpopt`")[0] == "not measured"
    assert verdict([result("whole"), broken], "as a share of")[0] == "not measured"


def test_a_side_of_ours_that_failed_misses_its_limits_whatever_else_was_run() -> None:
    assert verdict([result("whole", finished=0, code=1)], "CPU seconds a trial")[0] == "MISSED"
    assert verdict([], "CPU seconds a trial")[0] == "not measured"


def test_sides_of_different_commits_are_said_to_be() -> None:
    old = replace(result("hpopt"), machine={"commit": "a"})
    new = replace(result("ours"), machine={"commit": "b"})
    assert verdict([new, old], "wall time of `chemprop hpopt`")[1] == "sides of different commits"


def test_ensembles_are_held_against_trainings_scaled_to_as_many() -> None:
    ensembles = result("ensembles", finished=75, asked=75, wall_s=500.0)
    loop = result("loop", finished=3, asked=3, wall_s=60.0)
    trains = result("train", finished=6, asked=6, wall_s=90.0)
    judged = judge([ensembles, loop, trains], usual=True)
    one, other = (one for one in judged if "`chemprop train`" in one.limit.name)
    assert (one.values, other.values) == ((3.0,), (2.25,))
    assert (one.verdict, one.notes) == ("met", ("scaled from 3 runs of `chemprop train`",))
    assert other.verdict == "MISSED"


def test_a_short_run_is_not_judged() -> None:
    slow = result("whole", cpu_s=32 * 90.0)
    assert verdict([slow], "CPU seconds a trial")[0] == "MISSED"
    assert verdict([slow], "CPU seconds a trial", usual=False)[0].startswith("not judged")


def test_a_ratio_that_was_better_before_is_said_to_be_worse() -> None:
    results = [result("ours"), result("hpopt", wall_s=1100.0)]
    words = "wall time of `chemprop hpopt`"
    name = next(one.limit.name for one in judge(results, usual=True) if words in one.limit.name)
    verdicts = {
        before: one.verdict
        for before in (12.0, 16.0)
        for one in judge(results, usual=True, before={name: before})
        if one.limit.name == name
    }
    assert verdicts == {12.0: "met", 16.0: "WORSE"}


def test_seconds_of_another_machine_are_shown_and_not_held_against_ours() -> None:
    name = "CPU seconds a trial, every trial to its end"
    judged = judge([result("whole")], usual=True, before={name: 10.0})
    (one,) = (one for one in judged if one.limit.name == name)
    assert (one.verdict, one.before) == ("met", 10.0)


# ----------------------------------------------------------------------------- what is written


def test_every_row_has_as_many_cells_as_its_head(tmp_path: Path) -> None:
    results = [result("ours"), result("hpopt", finished=21, code=1)]
    lines = list(report(results, SETTING, judge(results, usual=False)))
    tables = "\n".join(lines).split("\n\n")
    rows = [block.splitlines() for block in tables if block.startswith("|")]
    assert len(rows) == 2
    assert [len({row.count("|") for row in table}) for table in rows] == [1, 1]
    assert len(rows[0]) == 2 + len(SIDES)
    assert any("21 of 32 after 2 min (exit code 1)" in line for line in lines)


def test_a_plot_is_drawn_of_the_sides_that_there_are(tmp_path: Path) -> None:
    draw([result("ours"), result("train", finished=2)], tmp_path / "results.png")
    assert (tmp_path / "results.png").stat().st_size > 0


# ----------------------------------------------------------------------------- the peer


def test_without_the_peer_its_sides_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert possible(["ours", "hpopt", "train"], tmp_path) == ["ours"]
    assert capsys.readouterr().out == (
        f"{tmp_path}: no Chemprop with hpopt there, so hpopt, train, loop are left out\n"
    )


def test_trials_of_hpopt_are_counted_and_their_rmse_is_in_original_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("race_peer.errors", lambda model, _: (model.parents[1].name, model.name))
    target = "measured log solubility in mols per litre"
    rows = "".join(f"{'C' * (i + 1)},{4 * i},{'train' if i < 2 else 'test'}\n" for i in range(4))
    (tmp_path / "data.csv").write_text(f"smiles,{target},split\n{rows}")
    track = Track(SETTING, tmp_path, tmp_path / "venv", 0)
    track.folder("hpopt").mkdir()
    run = RUNS["hpopt"](track)
    trials = tmp_path / "hpopt-0" / "home" / "ray_results" / "train_func"
    for name, ended, rmse in (("a", 1060, 0.5), ("b", 1030, 0.4)):
        (trials / name).mkdir(parents=True)
        told = {"timestamp": ended, "epoch": 26, "val/rmse": rmse, "config": {"depth": 4}}
        told["checkpoint_dir_name"] = "checkpoint_000000"
        (trials / name / "result.json").write_text(json.dumps(told) + "\n")
    (trials / "c").mkdir()
    (trials / "c" / "error.txt").write_text("CheckpointNotFound")
    (trials / "c" / "result.json").touch()
    figures = run.read(1000.0)
    assert run.count() == figures.finished == 2
    assert (figures.failed, figures.epochs, figures.depth) == (1, 54, 4)
    assert figures.curve == ((30.0, 0.8), (60.0, 1.0))  # labels 0 and 4: their deviation is 2
    assert figures.validation_rmse == "b"
    assert figures.early_test_rmse is None  # ours has not run: nothing was ready by then


def test_what_trains_the_best_needs_the_sweep_that_finds_them(tmp_path: Path) -> None:
    with pytest.raises(LeftOutError, match="run --only ours first"):
        RUNS["train"](Track(SETTING, tmp_path, tmp_path / "venv", 0))


def test_a_run_whose_figures_could_not_be_read_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter((Figures(), Figures(finished=1), Figures(finished=1)))

    def read(_: float) -> Figures:
        if not (figures := next(counts)).finished:
            raise OSError("no predictions")
        return figures

    def run(track: Track) -> Run:
        return Run(["sh", "-c", "echo run >> ../runs"], 1, lambda: 0, read)

    monkeypatch.setitem(RUNS, "ours", run)
    monkeypatch.setattr("race.machine", lambda _: {})
    track = Track(SETTING, tmp_path, tmp_path / "venv", 0)
    with pytest.raises(OSError, match="no predictions"):
        measure_side("ours", track, 60.0)
    measure_side("ours", track, 60.0)
    assert (tmp_path / "runs").read_text() == "run\n"
    (stored,) = read_results(tmp_path, SETTING)
    assert (stored.figures.finished, stored.cost.code) == (1, 0)
    (tmp_path / "ours-0.json").unlink()
    measure_side("ours", track, 60.0)
    assert (tmp_path / "runs").read_text() == "run\nrun\n"

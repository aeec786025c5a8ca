"""The tables that tell how the ensembles came about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chemprop_hpo.hpo.report.content import Decision, Member, ReportContent
from chemprop_hpo.hpo.report.digits import NOTHING, as_number, as_percent, as_value, with_interval
from chemprop_hpo.hpo.report.tables import Cell, Group, Row, Table, plain_rows

__all__ = ["configurations_table", "decisions_table", "members_table", "weights_table"]

ENDINGS = {
    "max_t": "all epochs trained",
    "last_epoch": "at the best epoch",
    "nan": "loss not a number",
    "oom": "out of memory",
}
"""How members end, where the name of the reason does not say it."""

MOST_PASSED_OVER = 30
"""How many of the trials that were passed over are listed."""


def decisions_table(content: ReportContent) -> Table | None:
    """List the trials that were taken, then those that were passed over; None without any."""
    taken = sorted((d for d in content.decisions if d.taken), key=lambda d: d.rank or 0)
    others = [d for d in content.decisions if not d.taken]
    if not content.decisions:
        return None
    left = len(others) - MOST_PASSED_OVER
    caption = "Why trials became a rank, or did not."
    more = f" {left} more that were passed over are not listed." if left > 0 else ""
    rows = map(_decision, [*taken, *others[:MOST_PASSED_OVER]])
    header = ("Trial", content.metric, "Rank", "Reason")
    return Table(caption + more, header, plain_rows(rows), words=(3,))


def configurations_table(content: ReportContent) -> Table | None:
    """Put the hyperparameters of all ranks side by side; None without any."""
    ranks = sorted(content.configurations)
    names = dict.fromkeys(name for rank in ranks for name in content.configurations[rank])
    if not names:
        return None
    rows = (
        (name, *(as_value(content.configurations[rank].get(name)) for rank in ranks))
        for name in names
    )
    header = ("Parameter", *(f"Rank {rank}" for rank in ranks))
    return Table("Hyperparameters of each rank.", header, plain_rows(rows))


def members_table(content: ReportContent) -> Table | None:
    """List the members rank by rank; None without any."""
    if not content.members:
        return None
    ranks = sorted({member.rank for member in content.members})
    groups = tuple(_rank(rank, content.members) for rank in ranks)
    caption = (
        f"Every member: {content.metric} is that of its best epoch on its own validation fold, "
        "and its weights are of that epoch."
    )
    header = ("Split, fold", "Seed", "Epochs", "Best epoch", content.metric, "Ended by")
    return Table(caption, header, groups, words=(5,))


def weights_table(content: ReportContent) -> Table | None:
    """Show the weights of the combination, a column for each target; None without any."""
    combinations = content.combinations
    if not combinations:
        return None
    units = dict.fromkeys(unit for combination in combinations for unit in combination.units)
    of_target = [dict(zip(c.units, c.weights, strict=True)) for c in combinations]
    rows = [
        Row(unit, tuple(Cell(as_percent(weights.get(unit, 0.0))) for weights in of_target))
        for unit in units
    ]
    used = Row("Rule used", tuple(Cell(combination.used) for combination in combinations))
    gains = (Cell(*with_interval(combination.gain)) for combination in combinations)
    rules = (used, Row("Gain of greedy", tuple(gains)))
    header = ("", *(target.name for target in content.targets))
    groups = (Group("Weights", tuple(rows)), Group("How they were chosen", rules))
    return Table(_weights_caption(content), header, groups)


def _decision(decision: Decision) -> Iterator[str]:
    yield str(decision.trial)
    yield as_number(decision.value, 4)
    yield NOTHING if decision.rank is None else str(decision.rank)
    yield decision.reason


def _rank(rank: int, members: Iterable[Member]) -> Group:
    mine = [member for member in members if member.rank == rank]
    trials = ", ".join(str(trial) for trial in sorted({member.trial for member in mine}))
    rows = tuple(_member(m) for m in sorted(mine, key=lambda m: (m.split, m.fold)))
    return Group(f"Rank {rank} (trial {trials})", rows)


def _member(member: Member) -> Row:
    best = NOTHING if member.best_epoch is None else str(member.best_epoch)
    ended = ENDINGS.get(member.stop_reason, member.stop_reason.replace("_", " "))
    texts = (str(member.seed), str(member.epochs), best, as_number(member.value, 4))
    last = Cell(ended, member.error or "")
    return Row(f"{member.split}, {member.fold}", (*map(Cell, texts), last))


def _weights_caption(content: ReportContent) -> str:
    loss = "RMSE" if content.task == "regression" else "log loss"
    return (
        "How much each unit counts; a unit is the members of one rank and split, which share its "
        "weight. Greedy selection is used only where it clearly beats the plain mean: where "
        f"the 95 % interval of its gain ({loss}, out of fold, on rows that it was not chosen on) "
        "lies above zero."
    )

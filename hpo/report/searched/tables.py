"""What was searched, where the top trials lie, and which ranges might be widened."""

from __future__ import annotations

from chemprop_hpo.hpo.report.digits import NOTHING, as_percent, as_value
from chemprop_hpo.hpo.report.searched.content import Search, SearchedParameter
from chemprop_hpo.hpo.report.searched.ranges import End, choice_counts, crowded_end, top_span
from chemprop_hpo.hpo.report.tables import Cell, Group, Row, Table

__all__ = ["observation", "search_table"]


def search_table(search: Search | None) -> Table | None:
    """List the searched parameters; None without any, or without a complete trial."""
    if search is None or not search.parameters or not search.trials:
        return None
    rows = tuple(_row(search, parameter) for parameter in search.parameters)
    header = (
        "Parameter",
        "Searched",
        f"Top {len(search.top)} trials",
        f"Best (trial {search.trials[0].number})",
        "Importance",
        "Observation",
    )
    return Table(_caption(search), header, (Group("", rows),), words=(1, 2, 5))


def _row(search: Search, parameter: SearchedParameter) -> Row:
    best = search.trials[0].parameters.get(parameter.name)
    cells = (
        Cell(_searched(parameter), f"if {parameter.condition}" if parameter.condition else ""),
        Cell(_of_top(search, parameter)),
        Cell(as_value(best)),
        Cell(as_percent(parameter.importance), _chance(parameter)),
        Cell(observation(search, parameter)),
    )
    return Row(parameter.name, cells)


def _searched(parameter: SearchedParameter) -> str:
    if parameter.choices:
        return as_value(parameter.choices)
    low, high = (as_value(end) for end in parameter.ends)
    return f"{low} to {high}" + (", log" if parameter.log else "")


def _of_top(search: Search, parameter: SearchedParameter) -> str:
    if parameter.choices:
        counts = ((choice, top) for choice, top, _ in choice_counts(search, parameter) if top)
        return ", ".join(f"{as_value(choice)} ({top})" for choice, top in counts) or NOTHING
    span = top_span(search, parameter)
    if span is None:
        return NOTHING
    low, high = map(as_value, span)
    return low if low == high else f"{low} to {high}"


def _chance(parameter: SearchedParameter) -> str:
    if parameter.importance is None or parameter.by_chance is None:
        return ""
    return "" if parameter.importance > parameter.by_chance else "may be chance"


def observation(search: Search, parameter: SearchedParameter) -> str:
    """Say where the top trials crowd at an end of what was searched; empty if nowhere."""
    end = crowded_end(search, parameter)
    if end is None:
        return ""
    if not (parameter.can_be_lower if end == "low" else parameter.can_be_higher):
        most = "least" if end == "low" else "most"
        return f"the top trials crowd at the {end} end, the {most} that is possible"
    return f"the top trials crowd at the {end} end: {_advice(parameter, end)}"


def _advice(parameter: SearchedParameter, end: End) -> str:
    if not parameter.choices:
        return f"widen {parameter.name} {'downwards' if end == 'low' else 'upwards'}"
    numbers = [float(c) for c in parameter.choices if not isinstance(c, str)]
    edge = f"below {min(numbers):g}" if end == "low" else f"above {max(numbers):g}"
    return f"add choices of {parameter.name} {edge}"


def _caption(search: Search) -> str:
    n, top = len(search.trials), len(search.top)
    text = (
        f"The searched parameters, and the values of the best {top} of {n} complete trials by "
        f"{search.metric} (the best tenth, five at least)."
    )
    crowd = (
        " A range is called crowded at an end where half of the top trials or more lie in its "
        "outermost tenth, and values spread evenly would do that in less than 1 of 100 cases."
    )
    few = " With so few trials, no range is judged."
    unknown = f" Importances are not known: {search.reason}." if search.reason else ""
    return text + (crowd if search.is_telling else few) + unknown

"""What must hold of a study, whatever was killed while it ran: each violation in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.faults.snapshots import Link, Snapshot

__all__ = ["Witness", "failures", "violations_at_the_end", "violations_in_flight"]

HANDED_ON = ("slot", "seed", "bracket", "head", "checkpoint")
GOES_ON = {"interrupted", "orphaned", "time_budget"}
FAILED_BY_ITSELF = {"error", "nan", "oom"}


@dataclass
class Witness:
    """Sees a study again and again, and notices what is lost or changed although finished."""

    finished: dict[int, str] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)

    def see(self, now: Snapshot) -> list[str]:
        """Compare with all that was seen before."""
        found = [*self._lost(now), *self._changed(now)]
        self.finished |= now.finished
        self.numbers |= {link.number for link in now.links}
        return found

    def _lost(self, now: Snapshot) -> Iterator[str]:
        for number in sorted(self.numbers - {link.number for link in now.links}):
            yield f"trial {number} is lost"

    def _changed(self, now: Snapshot) -> Iterator[str]:
        text = {link.number: link.text for link in now.links}
        for number, before in sorted(self.finished.items()):
            if number in text and text[number] != before:
                yield f"trial {number} was finished and changed from {before} to {text[number]}"


def violations_in_flight(now: Snapshot) -> list[str]:
    """Judge a study on which a driver is at work that has taken up what it found."""
    running = [link for link in now.links if link.state == "RUNNING"]
    if not any(link.attributes.get("driver") in now.live for link in running):
        return []  # no driver has begun a trial yet: it may not have looked for orphans
    return [
        f"trial {link.number} is running without a live driver"
        for link in running
        if link.attributes.get("driver") not in now.live
    ]


def violations_at_the_end(now: Snapshot) -> list[str]:
    """Judge a study whose budget is spent and on which nobody is at work."""
    links = [link for link in now.links if not link.was_withdrawn]
    chains = _chains(links)
    return [
        *_numbers(now),
        *_unfinished(now),
        *_successors(links),
        *_table(now, links),
        *_budget(now, chains),
        *(line for chain in chains for line in _chain(chain)),
        *(line for link in now.links for line in _figures(link, now.max_epochs)),
    ]


def failures(now: Snapshot) -> list[str]:
    """Return the chains that failed for good: none may, where nothing but kills went wrong."""
    return [
        f"trial {link.number} failed for good ({link.reason}): {link.attributes.get('error')}"
        for link in now.links
        if link.state == "FAIL" and link.continued_by is None and not link.was_withdrawn
    ]


def _chains(links: list[Link]) -> list[list[Link]]:
    """Return each chain from its first link to its last; a link stands in one chain only."""
    after: dict[int, Link] = {}
    for link in links:
        if link.continues is not None:
            after.setdefault(link.continues, link)
    chains = [[link] for link in links if link.continues is None]
    for chain in chains:
        while (following := after.get(chain[-1].number)) is not None and following not in chain:
            chain.append(following)
    return chains


def _numbers(now: Snapshot) -> Iterator[str]:
    there = [link.number for link in now.links]
    if there != list(range(len(there))):
        yield f"the trials are numbered {there}"


def _unfinished(now: Snapshot) -> Iterator[str]:
    for link in now.links:
        if not link.is_finished:
            yield f"trial {link.number} is {link.state} although the sweep is over"
    for driver in sorted(now.live):
        yield f"driver {driver} lives although the sweep is over"


def _successors(links: list[Link]) -> Iterator[str]:
    numbers = {link.number for link in links}
    continued = Counter(link.continues for link in links if link.continues is not None)
    for number, count in sorted(continued.items()):
        if number not in numbers:
            yield f"a trial continues trial {number}, which does not exist"
        if count > 1:
            yield f"trial {number} has {count} successors"


def _table(now: Snapshot, links: list[Link]) -> Iterator[str]:
    by_successor = {(link.continues, link.number) for link in links if link.continues is not None}
    by_orphan = {
        (link.number, link.continued_by) for link in links if link.continued_by is not None
    }
    in_table = set(now.continued)
    for what, pairs in (("successors say", by_successor), ("continued trials say", by_orphan)):
        for old, new in sorted(pairs - in_table):
            yield f"{what} that {new} continues {old}, the table does not"
        for old, kept in sorted(in_table - pairs, key=str):
            yield f"the table says that {kept} continues {old}, {what} otherwise"
    if len(in_table) < len(now.continued):
        yield f"the table of continuations holds a pair twice: {now.continued}"


def _budget(now: Snapshot, chains: list[list[Link]]) -> Iterator[str]:
    wanted = list(range(now.num_samples))
    used = Counter(chain[0].attributes.get("slot") for chain in chains)
    for slot, count in sorted(used.items(), key=str):
        if slot is None:
            yield f"{count} chains of trials have no slot of the budget"
        elif slot not in wanted:
            yield f"slot {slot} is beyond the budget of {now.num_samples}"
        elif count > 1:
            yield f"slot {slot} is used by {count} chains of trials"
    for slot in wanted:
        if slot not in used:
            yield f"slot {slot} of the budget is used by no trial"
    if sorted(now.slots) != wanted:
        yield f"slots {sorted(now.slots)} are claimed of a budget of {now.num_samples}"


# ----------------------------------------------------------------------------- one chain


def _chain(chain: list[Link]) -> Iterator[str]:
    for link in chain[:-1]:
        yield from _continued(link)
    yield from _counts(chain[-1])
    for old, new in pairwise(chain):
        yield from _handed_on(old, new)
    yield from _epochs(chain)


def _continued(link: Link) -> Iterator[str]:
    if link.state != "FAIL" or link.reason not in GOES_ON:
        yield f"trial {link.number} is {link.state} ({link.reason}) and was continued"


def _counts(link: Link) -> Iterator[str]:
    if link.continued_by is not None:
        yield f"trial {link.number} is continued by trial {link.continued_by}, which is not there"
    elif link.state == "FAIL" and not (link.reason in FAILED_BY_ITSELF or _was_given_up(link)):
        yield f"trial {link.number} failed ({link.reason}) and was not continued"


def _was_given_up(link: Link) -> bool:
    return str(link.attributes.get("error", "")).startswith("given up")


def _handed_on(old: Link, new: Link) -> Iterator[str]:
    pair = f"trial {new.number} continues trial {old.number}"
    for name in HANDED_ON:
        if name in old.attributes and old.attributes[name] != new.attributes.get(name):
            was, is_now = old.attributes[name], new.attributes.get(name)
            yield f"{pair} with {name} {is_now} instead of {was}"
    if not _agree(old, new):
        yield f"{pair} with params {dict(new.params)} instead of {dict(old.params)}"


def _agree(old: Link, new: Link) -> bool:
    """Whether two links have the same params, as far as they came to be suggested."""
    both = old.params.keys() & new.params.keys()
    have_begun = bool(old.best) and bool(new.best or new.params)
    is_complete = not have_begun or both == old.params.keys() == new.params.keys()
    return is_complete and all(old.params[name] == new.params[name] for name in both)


def _epochs(chain: list[Link]) -> Iterator[str]:
    known: dict[int, float] = {}
    for link in chain:
        first = min(link.best, default=None)
        if first is not None and first > max(known, default=0) + 1:
            yield f"trial {link.number} begins at epoch {first} where {max(known, default=0)} is known"
        for epoch, best in sorted(link.best.items()):
            if known.setdefault(epoch, best) != best:
                yield f"trial {link.number} reports {best!r} in epoch {epoch}, before: {known[epoch]!r}"
    missing = set(range(1, max(known, default=0) + 1)) - known.keys()
    if missing:
        yield f"the chain of trial {chain[-1].number} has no epochs {sorted(missing)}"
    last = chain[-1]
    if last.state in ("COMPLETE", "PRUNED") and not known:
        yield f"trial {last.number} is {last.state} without an epoch"
    counted = last.attributes.get("epochs")
    if last.state in ("COMPLETE", "PRUNED") and counted != max(known, default=0):
        yield f"trial {last.number} counts {counted} epochs, not {max(known, default=0)}"


def _figures(link: Link, max_epochs: int) -> Iterator[str]:
    """Judge what a trial says of itself against its epochs."""
    last = max(link.best, default=0)
    if last > max_epochs:
        yield f"trial {link.number} has epoch {last} of at most {max_epochs}"
    if link.state == "COMPLETE" and link.best and link.value != link.best[last]:
        yield f"trial {link.number} has the value {link.value!r}, its epochs end at {link.best[last]!r}"
    if link.state == "COMPLETE" and link.reason == "max_t" and last != max_epochs:
        yield f"trial {link.number} is complete (max_t) after epoch {last} of {max_epochs}"
    is_trained = link.state in ("COMPLETE", "PRUNED") and link.reason != "oom"
    if is_trained and not link.attributes.get("metrics"):
        yield f"trial {link.number} is {link.state} without metrics"

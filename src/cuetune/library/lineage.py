"""Who came from whom: the prompts that a prompt was made from, and those that were made from it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cuetune.library.entry import Entry
from cuetune.library.record import Ancestor


class Kin(NamedTuple):
    """One relative. relation: of the later prompt to the earlier one ("started from", …). steps: how many lie between.

    entry: where it is in the library, else None; name and digest are then all that is known of it.
    """

    relation: str
    name: str
    digest: str
    entry: Entry | None
    steps: int


class Lineage(NamedTuple):
    """Relatives, the nearest first."""

    ancestors: list[Kin]
    descendants: list[Kin]


def lineage_of(entry: Entry, entries: Sequence[Entry]) -> Lineage:
    """The relatives of `entry` among `entries`, known by their digests."""
    by_digest = {each.digest: each for each in entries}

    def made_from(digest: str) -> list[Ancestor]:
        return by_digest[digest].lineage if digest in by_digest else []

    def made_of(digest: str) -> list[Ancestor]:
        return [
            Ancestor(relation=link.relation, name=each.name, digest=each.digest)
            for each in by_digest.values()
            for link in each.lineage
            if link.digest == digest
        ]

    return Lineage(*([_kin(link, by_digest) for link in _follow(entry.digest, step)] for step in (made_from, made_of)))


def _follow(start: str, step: Callable[[str], list[Ancestor]]) -> list[tuple[int, Ancestor]]:
    """Everything that `step` leads to, the nearest first, each once; a circle (only a forger makes one) ends."""
    met, found, here = {start}, [], [start]
    steps = 0
    while here:
        steps += 1
        links = {link.digest: link for digest in here for link in step(digest) if link.digest not in met}
        met |= set(links)
        found += [(steps, link) for link in links.values()]
        here = list(links)
    return found


def _kin(found: tuple[int, Ancestor], by_digest: dict[str, Entry]) -> Kin:
    steps, link = found
    entry = by_digest.get(link.digest)
    return Kin(link.relation, entry.name if entry else link.name, link.digest, entry, steps)

"""`Report`: what a computation says of itself: documented fields that read as a dict too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self


@dataclass(eq=False)
class Report(Mapping[str, Any]):
    """Base of the reports in ``stats``: fields that are None do not exist in the mapping.

    ``report.seconds`` and ``report["seconds"]`` are the same; `get`, ``in``, iteration and equality
    are those of the dict of what exists.

    Attributes
    ----------
    other : dict
        What a file of another version says beyond the schema.
    """

    other: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    # Fields that are in the mapping even where they are None: not to apply is what they say.
    ALWAYS: ClassVar[frozenset[str]] = frozenset()

    def __getitem__(self, name: str) -> Any:
        if name in self.other:
            return self.other[name]
        if name not in self._names() or not self._exists(name):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        yield from filter(self._exists, self._names())
        yield from self.other

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def to_dict(self) -> dict[str, Any]:
        """What exists, as a plain dict, for JSON and files."""
        return dict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Self:
        """The report of what `to_dict` gave, in this version or another."""
        known = {name: entries[name] for name in cls._names() if name in entries}
        beyond = {name: entries[name] for name in entries if name not in known}
        return cls(**known, other=beyond)

    def _exists(self, name: str) -> bool:
        return name in self.ALWAYS or getattr(self, name) is not None

    @classmethod
    def _names(cls) -> list[str]:
        return [f.name for f in fields(cls) if f.name != "other"]

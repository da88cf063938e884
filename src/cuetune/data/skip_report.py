"""Rows that were left out because they cannot be used and the user asked for it: counted, and told."""

from dataclasses import dataclass, field

SHOWN = 5  # faults that are told one by one


@dataclass
class Skipped:
    """How many rows were left out, and what was wrong with the first few. lacking: those without a whole column."""

    count: int = 0
    reasons: list[str] = field(default_factory=list)
    lacking: int = 0

    def add(self, reason: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.reasons) < SHOWN:
            self.reasons.append(reason)

    def lines(self) -> list[str]:
        """What to tell the user; nothing where nothing was left out."""
        return self.said("left out")

    def said(self, what: str) -> list[str]:
        """How many rows are what this says, and the first of them."""
        if not self.count:
            return []
        more = [f"  … and {self.count - len(self.reasons):,} more"] if self.count > len(self.reasons) else []
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        return [f"{rows} {what}:", *(f"  {reason}" for reason in self.reasons), *more]

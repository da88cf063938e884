"""Rows that were left out because their content cannot be read and the user asked for it: counted, and told."""

from dataclasses import dataclass, field

SHOWN = 3  # faults that are told one by one


@dataclass
class Skipped:
    """How many rows were left out, and what was wrong with the first few."""

    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.reasons) < SHOWN:
            self.reasons.append(reason)

    def lines(self) -> list[str]:
        """What to tell the user; nothing where nothing was left out."""
        if not self.count:
            return []
        more = [f"  … and {self.count - len(self.reasons)} more"] if self.count > len(self.reasons) else []
        said = "1 row" if self.count == 1 else f"{self.count:,} rows"
        return [f"{said} left out:", *(f"  {reason}" for reason in self.reasons), *more]

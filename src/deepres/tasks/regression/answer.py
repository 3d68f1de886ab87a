"""What is said of one image: a number for each column, with the interval that held-out images gave it."""

from deepres.base.records import Record
from deepres.base.wording import shown


class Value(Record):
    """One column's number; `low` and `high` hold it for the run's coverage (None: not known how sure it is)."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class NumbersAnswer(Record):
    """The numbers of one image; or, where it cannot be read, why there are none."""

    image: str
    values: tuple[Value, ...]
    coverage: float | None = None
    problem: str | None = None

    def line(self) -> str:
        """`face.jpg: age 31.2 (90 %: 25.0 to 37.4)`, or the problem."""
        return self.problem or shown(f"{self.image}: {'  '.join(map(self._told, self.values))}")

    def rows(self) -> list[dict[str, str]]:
        """Each column with its low and high."""
        row: dict[str, str] = {}
        for one in self.values:
            row[one.name] = f"{one.value:.8g}"
            if one.low is not None and one.high is not None:
                row |= {f"{one.name} low": f"{one.low:.8g}", f"{one.name} high": f"{one.high:.8g}"}
        return [row]

    def _told(self, one: Value) -> str:
        if one.low is None or one.high is None or self.coverage is None:
            return f"{one.name} {one.value:.4g}"
        return f"{one.name} {one.value:.4g} ({100 * self.coverage:g} %: {one.low:.4g} to {one.high:.4g})"

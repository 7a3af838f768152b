"""How the sandbox answered, counted by layer."""

from collections import Counter
from typing import Final

from throttling import Layer

FUNCTION: Final = "function"
"""Who answered when no layer refused."""
ROUTE: Final = "route"
"""Who answered when the API has no such method."""


class Statistics:
    """Answers by who gave them and with which status."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()

    def count(self, layer: str, status: int, subject: str = "") -> None:
        """Count one answer of `layer`; `subject` is whose limit it was, if any."""
        self._answers[layer, subject, status] += 1

    def rows(self) -> list[dict[str, str | int]]:
        """The counts in the order in which a request meets the layers."""
        order = [Layer.WAF, ROUTE, *list(Layer)[1:], FUNCTION]
        return [
            {"layer": layer, "subject": subject, "status": status, "requests": count}
            for (layer, subject, status), count in sorted(
                self._answers.items(), key=lambda item: (order.index(item[0][0]), item[0][1:])
            )
        ]

"""What the load tests store: records of several sizes, under a small set of ids.

Every record of a load test overwrites one of `IDS` records, so that no test fills a table.
"""

import json
from typing import Final

from handler.record import MAX_BODY_BYTES, MAX_ID_BYTES, MAX_TITLE_CHARACTERS

IDS: Final = 1_000
"""As many as keep a table's partitions evenly busy."""
_EXAMPLE: Final = {"id": "12", "title": "Test Movie", "year": "2023"}

README: Final = "README's"
SMALL: Final = "small"
MEDIUM: Final = "1 KB"
LARGEST: Final = "largest"
TOO_LARGE: Final = "too large"
MIXED: Final = (SMALL, MEDIUM, LARGEST, TOO_LARGE)
"""From a hundred bytes to more than the function takes."""


def body(size: str, number: int) -> str:
    """The body of a load test's request.

    Args:
        size: its name, such as `SMALL`.
        number: which request it is; decides the id.
    """
    name = f"load-test-{number % IDS:04}"
    match size:
        case "README's":
            record = _EXAMPLE
        case "1 KB":
            record = {"id": name, "title": "M" * 960, "year": "2023"}
        case "largest":
            # Four bytes of UTF-8 to each character of the title.
            record = {
                "id": name.ljust(MAX_ID_BYTES, "-"),
                "title": "\N{CLAPPER BOARD}" * MAX_TITLE_CHARACTERS,
                "year": "2023",
            }
        case "too large":
            record = {"id": name, "title": "L" * MAX_BODY_BYTES, "year": "2023"}
        case _:
            record = {"id": name, "title": "Load test", "year": "2023"}
    return json.dumps(record, ensure_ascii=False)

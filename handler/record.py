"""What a record is: the text of a request's body in, a DynamoDB item out, or why not.

Pure. A record that passes is stored exactly as it was sent, so whatever could not be is refused:
unknown fields, a field given twice, half a surrogate pair, a number of more digits than the table
keeps, bytes that API Gateway replaced. The table's limits are those of
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html.
"""

import json
import re
from typing import Any, Final

Item = dict[str, dict[str, str]]
"""Attribute name -> {type: value}, as PutItem takes it."""

MAX_ID_BYTES: Final = 2048
"""UTF-8 bytes of an id: DynamoDB's limit for a partition key."""
MAX_TITLE_CHARACTERS: Final = 1024
"""Unicode code points of a title, the unit of JSON Schema's maxLength. Our choice."""
MAX_YEAR_DIGITS: Final = 38
"""Digits of a year, leading zeros included: the precision of DynamoDB's numbers."""
MAX_YEAR: Final = 10**MAX_YEAR_DIGITS - 1
"""A year lies between this and its negative."""
YEAR_PATTERN: Final = f"^[+-]?[0-9]{{1,{MAX_YEAR_DIGITS}}}$"
"""A year given as a string. ASCII digits only, where Python's int() takes more than these."""
MAX_BODY_BYTES: Final = 32 * 1024
"""UTF-8 bytes of a body.

The longest id and title make 25 KB when a client escapes each of their characters, so no valid
record is near this bound; and this is well below the 400 KB that DynamoDB allows an item.
"""

_REPLACEMENT: Final = "\ufffd"
"""What API Gateway puts in place of bytes that are not UTF-8, so that what was sent is lost.

It passes a body on as text. Who means this very character can escape it.
"""
_MAX_UNKNOWN_NAMES: Final = 5
_MAX_UNKNOWN_NAME_LENGTH: Final = 32

_year_pattern = re.compile(YEAR_PATTERN)
_unsafe_in_a_name = re.compile(r"[^A-Za-z0-9_.-]")

# Objects arrive as tuples of pairs, so that a repeated key is still seen, while arrays are lists.
# Integers are cut where they are already too long: int() refuses to read more than 4,300 digits.
# NaN and Infinity, which JSON does not know, become floats, and no field takes a float.
_decoder = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_int=lambda digits: int(digits[: MAX_YEAR_DIGITS + 2]),
)


class Refused(Exception):
    """The caller's mistake: the status to answer with, and which field is wrong and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def to_item(body: str) -> Item:
    """The item that `body` asks to store.

    Raises:
        Refused: with every problem in one message. The status is 413 when all that is wrong is
            size, 400 otherwise.
    """
    pairs = _decode(body)
    item: Item = {}
    refusals: list[Refused] = []
    for name, convert in _FIELDS.items():
        values = [value for key, value in pairs if key == name]
        try:
            if not values:
                raise Refused(400, "is missing")
            if len(values) > 1:
                raise Refused(400, "is given more than once")
            item[name] = convert(values[0])
        except Refused as refusal:
            refusals.append(Refused(refusal.status, f"{name}: {refusal.message}"))
    refusals += _unknown_fields(pairs)
    if refusals:
        status = 413 if all(refusal.status == 413 for refusal in refusals) else 400
        raise Refused(status, "; ".join(refusal.message for refusal in refusals))
    return item


def _decode(body: str) -> tuple[tuple[str, Any], ...]:
    """The members of the JSON object in `body`, in order, repeated names included."""
    # Counted before it is encoded: API Gateway takes 10 MB, and encoding may need four times that.
    if len(body) > MAX_BODY_BYTES or len(body.encode(errors="surrogatepass")) > MAX_BODY_BYTES:
        raise Refused(413, f"body: is larger than {MAX_BODY_BYTES} bytes")
    if _REPLACEMENT in body:
        what = "bytes that are not UTF-8, or their replacement character unescaped"
        raise Refused(400, f"body: has {what}")
    try:
        document = _decoder.decode(body)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Refused(400, f"body: is not JSON, at {where}") from None
    except RecursionError:
        raise Refused(400, "body: is nested too deeply") from None
    if not isinstance(document, tuple):
        raise Refused(400, "body: must be a JSON object")
    return document


def _unknown_fields(pairs: tuple[tuple[str, Any], ...]) -> list[Refused]:
    """A 200 says that all of a record was stored, so what has no place in the item is refused."""
    names = list(dict.fromkeys(name for name, _ in pairs if name not in _FIELDS))
    refusals = [
        Refused(400, f"{_printable(name)}: is not a field of a record")
        for name in names[:_MAX_UNKNOWN_NAMES]
    ]
    if len(names) > _MAX_UNKNOWN_NAMES:
        more = len(names) - _MAX_UNKNOWN_NAMES
        refusals.append(Refused(400, f"and {more} more that are not fields of a record"))
    return refusals


def _printable(name: str) -> str:
    """A name that the caller chose, made short and plain enough to repeat in an answer."""
    shown = _unsafe_in_a_name.sub("?", name[:_MAX_UNKNOWN_NAME_LENGTH]) or "(empty name)"
    return shown + "..." if len(name) > _MAX_UNKNOWN_NAME_LENGTH else shown


def _id(value: object) -> dict[str, str]:
    text = _text(value)
    if len(text.encode()) > MAX_ID_BYTES:
        raise Refused(413, f"is longer than {MAX_ID_BYTES} bytes of UTF-8")
    return {"S": text}


def _title(value: object) -> dict[str, str]:
    text = _text(value)
    if len(text) > MAX_TITLE_CHARACTERS:
        raise Refused(413, f"is longer than {MAX_TITLE_CHARACTERS} characters")
    return {"S": text}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(400, "must be a string")
    if not value:
        raise Refused(400, "must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(400, "has half of a surrogate pair, which is no character") from None
    return value


def _year(value: object) -> dict[str, str]:
    """2023 or "2023", but not 2023.0 or 2e3: an integer is written without point or exponent."""
    if isinstance(value, str) and _year_pattern.fullmatch(value):
        value = int(value)
    # Not isinstance: a bool is an int, too.
    if type(value) is not int or abs(value) > MAX_YEAR:
        digits = f"an integer of at most {MAX_YEAR_DIGITS} digits"
        raise Refused(400, f"must be {digits}, as a number or as a string")
    return {"N": str(value)}


_FIELDS: Final = {"id": _id, "title": _title, "year": _year}

"""What a record is: turns the text of a request's body into a DynamoDB item, or says why not.

Pure. A record is stored whole or refused: id and title as they were sent, the year as a number
("+007" becomes 7). So what could not be kept is refused: unknown fields, a field given twice, half
a surrogate pair, a number with more digits than the table keeps, bytes that API Gateway replaced.
The table's limits:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
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
"""Digits of a year, with leading zeros: the precision of DynamoDB's numbers."""
MAX_YEAR: Final = 10**MAX_YEAR_DIGITS - 1
"""A year lies between this and its negative."""
YEAR_PATTERN: Final = f"^[+-]?[0-9]{{1,{MAX_YEAR_DIGITS}}}$"
"""A year given as a string: ASCII digits only, though Python's int() accepts others."""
MAX_BODY_BYTES: Final = 32 * 1024
"""UTF-8 bytes of a body.

The longest id and title make 25 KB if a client escapes each character, so every valid record fits.
DynamoDB allows 400 KB for an item.
"""

_REPLACEMENT: Final = "\ufffd"
"""API Gateway passes a body on as text and puts this in place of bytes that are not UTF-8.

A client that means this character can escape it in its JSON.
"""
_MAX_UNKNOWN_NAMES: Final = 5
_MAX_UNKNOWN_NAME_LENGTH: Final = 32

_year_pattern = re.compile(YEAR_PATTERN)
_unsafe_in_a_name = re.compile(r"[^A-Za-z0-9_.-]")

# Objects become tuples of pairs, which keep repeated keys; arrays become lists. Integers are cut
# once they are too long, because int() refuses more than 4,300 digits. NaN and Infinity, which are
# not JSON, become floats, and no field accepts a float.
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
    """Return the item that `body` describes.

    Raises:
        Refused: with every problem in one message. The status is 413 if each problem is a size,
            otherwise 400.
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
        status = min(refusal.status for refusal in refusals)
        raise Refused(status, "; ".join(refusal.message for refusal in refusals))
    return item


def _decode(body: str) -> tuple[tuple[str, Any], ...]:
    """Return the members of the JSON object in `body`, in order, with repeated names."""
    # Characters first: API Gateway takes 10 MB, and encoding them may need four times that.
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
    """Refuse the fields that an item has no place for: a 200 says that the whole record is stored.

    Some are named, in a form that is short and safe to repeat in an answer.
    """
    names = list(dict.fromkeys(name for name, _ in pairs if name not in _FIELDS))
    refusals = []
    for name in names[:_MAX_UNKNOWN_NAMES]:
        shown = _unsafe_in_a_name.sub("?", name[:_MAX_UNKNOWN_NAME_LENGTH]) or "(empty name)"
        dots = "..." if len(name) > _MAX_UNKNOWN_NAME_LENGTH else ""
        refusals.append(Refused(400, f"{shown}{dots}: is not a field of a record"))
    if more := len(names) - len(refusals):
        refusals.append(Refused(400, f"and {more} more that are not fields of a record"))
    return refusals


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
    """Convert 2023 or "2023"; an integer has no point and no exponent, so 2023.0 is refused."""
    if isinstance(value, str) and _year_pattern.fullmatch(value):
        value = int(value)
    # Not isinstance, which is true for a bool.
    if type(value) is not int or abs(value) > MAX_YEAR:
        digits = f"an integer of at most {MAX_YEAR_DIGITS} digits"
        raise Refused(400, f"must be {digits}, as a number or as a string")
    return {"N": str(value)}


_FIELDS: Final = {"id": _id, "title": _title, "year": _year}

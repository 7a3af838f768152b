"""The function's entry point: an API Gateway proxy event in, a proxy response and a log line out.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

import gc
import json
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from handler.record import Refused, to_item
from handler.table import NotStored, Table, error_code
from routes import ROUTES

_MAX_FRAMES: Final = 12
_MAX_REQUEST_ID_LENGTH: Final = 128

Event = dict[str, Any]
Response = dict[str, Any]
Log = dict[str, object]


class Done(NamedTuple):
    """What an operation did: the body of its 200, and what the log says of it."""

    body: dict[str, Any]
    outcome: str
    message: str


# The SDK keeps everything that it builds here. So the garbage collector is off meanwhile, which
# saves a tenth of a cold start's work, and ignores these objects in all later collections.
gc.disable()
try:
    _table = Table.from_environment(os.environ)
finally:
    gc.freeze()
    gc.enable()


def handle(event: object, context: object) -> Response:
    """Run the operation of the event's route. Never raises.

    After 400, 404, 413 or 415 nothing was written. After 500 or 503 an item may be stored or not,
    and sending the same request again is safe.
    """
    log: Log = {"requestId": _request_id(event, context)}
    event = event if isinstance(event, dict) else {}
    try:
        operation = _OPERATIONS.get(f"{event.get('httpMethod')} {event.get('resource')}")
        if operation is None:
            raise Refused(404, "Not Found")
        done = operation(event, log)
    except Refused as refused:
        _log("INFO", "Refused the request", log, "invalid", refused.status)
        return _response(refused.status, {"message": refused.message})
    except NotStored as not_stored:
        log["errorCode"] = not_stored.cause
        _log("WARN", "The table did not take the item", log, not_stored.outcome, 503)
        return _response(503, {"message": "Service Unavailable"}, {"Retry-After": "1"})
    except Exception as error:
        # Not str(error): messages of botocore and of Python quote the data that they reject.
        log["errorType"] = type(error).__name__
        log["errorCode"] = error_code(error)
        log["stackTrace"] = _frames(error)
        _log("ERROR", "Unexpected error", log, "error", 500)
        return _response(500, {"message": "Internal server error"})
    _log("INFO", done.message, log, done.outcome, 200)
    return _response(200, done.body)


def store_record(event: Event, log: Log) -> Done:
    """Store the record in the event's body. The 200 means that the table confirmed the item."""
    item = to_item(_json_text(event))
    log["itemId"] = item["id"]["S"]
    _table.put(item)
    return Done({"message": "Successfully inserted data!"}, "stored", "Stored the item")


_OPERATIONS: Final = {route.method: globals()[route.operation] for route in ROUTES}


def _json_text(event: Event) -> str:
    """Return the body of a request whose content type is JSON.

    Raises:
        Refused: there is no body, or it is of another type.
    """
    body = event.get("body")
    if not isinstance(body, str) or not body:
        raise Refused(400, "body: is missing")
    if event.get("isBase64Encoded"):
        # API Gateway encodes the media types that an API declares as binary; this API has none.
        raise Refused(415, "body: is base64-encoded; it must be JSON text")
    if _content_type(event) != "application/json":
        raise Refused(415, "Content-Type: must be application/json")
    return body


def _content_type(event: Event) -> str:
    """Return the media type of the body in lower case, without parameters; empty if unknown."""
    headers = event.get("headers")
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if name.lower() == "content-type" and isinstance(value, str):
            return value.partition(";")[0].strip().lower()
    return ""


def _request_id(event: object, context: object) -> str | None:
    """Return API Gateway's request id, which is in its access log too, or else Lambda's."""
    request = event.get("requestContext") if isinstance(event, dict) else None
    request_id = request.get("requestId") if isinstance(request, dict) else None
    if not isinstance(request_id, str):
        request_id = getattr(context, "aws_request_id", None)
    return request_id[:_MAX_REQUEST_ID_LENGTH] if isinstance(request_id, str) else None


def _frames(error: Exception) -> list[str]:
    """Return where an error was raised, innermost last: file names and lines, without data."""
    frames = traceback.walk_tb(error.__traceback__)
    return [f"{frame.f_code.co_filename}:{line}" for frame, line in frames][-_MAX_FRAMES:]


def _response(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", **(headers or {})},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def _log(level: str, message: str, log: Log, outcome: str, status: int) -> None:
    """Write the event's log line.

    Lambda leaves a line alone if it is a JSON object with a timestamp and a level. Levels are
    Lambda's, not Python's: an unknown one, such as WARNING, counts as INFO.
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html.
    Its formatter for Python's logging would use Lambda's request id in place of API Gateway's.
    JSON escapes line breaks, so no field can start a log line of its own.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"timestamp": now, "level": level, "message": message, "outcome": outcome}
    # One write, so that lines of other threads cannot split it.
    sys.stdout.write(json.dumps({**line, "status": status, **log}) + "\n")
    sys.stdout.flush()

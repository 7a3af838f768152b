"""The function's entry point: an API Gateway proxy event in, a proxy response out, one log line.

What keeps its cold start short is told in `table.py`.
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

import gc
import json
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from handler.record import Refused, to_item
from handler.table import NotStored, Table, error_code

_MAX_FRAMES: Final = 12
_MAX_REQUEST_ID_LENGTH: Final = 128

Response = dict[str, Any]

# What the SDK builds here, it keeps for good. So the garbage collector need not look at it, neither
# while it is built, a tenth of a cold start's work, nor at each full collection from then on.
gc.disable()
try:
    _table = Table.from_environment(os.environ)
finally:
    gc.freeze()
    gc.enable()


def handle(event: object, context: object) -> Response:
    """Store the record in the event's body. Never raises.

    A 200 means that the table confirmed the item. After a 400, 413 or 415 nothing was written;
    after a 500 or 503 the outcome may be unknown, and sending the same record again is safe.
    """
    log: dict[str, object] = {"requestId": _request_id(event, context)}
    try:
        item = to_item(_json_text(event))
        log["itemId"] = item["id"]["S"]
        _table.put(item)
    except Refused as refused:
        _log("INFO", "Refused the request", log, "invalid", refused.status)
        return _response(refused.status, refused.message)
    except NotStored as not_stored:
        log["errorCode"] = not_stored.cause
        _log("WARNING", "The table did not take the item", log, not_stored.outcome, 503)
        return _response(503, "Service Unavailable", {"Retry-After": "1"})
    except Exception as error:
        # Never str(error): the messages of botocore and of Python quote what they choke on.
        log["errorType"] = type(error).__name__
        log["errorCode"] = error_code(error)
        log["stackTrace"] = _frames(error)
        _log("ERROR", "Unexpected error", log, "error", 500)
        return _response(500, "Internal server error")
    _log("INFO", "Stored the item", log, "stored", 200)
    return _response(200, "Successfully inserted data!")


def _json_text(event: object) -> str:
    """The body of the request, if it says that it is JSON."""
    event = event if isinstance(event, dict) else {}
    body = event.get("body")
    if not isinstance(body, str) or not body:
        raise Refused(400, "body: is missing")
    if event.get("isBase64Encoded"):
        # API Gateway encodes the media types that an API calls binary; this API has none.
        raise Refused(415, "body: is base64-encoded; it must be JSON text")
    if _content_type(event) != "application/json":
        raise Refused(415, "Content-Type: must be application/json")
    return body


def _content_type(event: dict[str, Any]) -> str:
    """The media type of the body, in lower case and without parameters; empty if there is none."""
    for part in ("headers", "multiValueHeaders"):
        headers = event.get(part)
        if not isinstance(headers, dict):
            continue
        for name, value in headers.items():
            if isinstance(name, str) and name.lower() == "content-type":
                last = value[-1] if isinstance(value, list) and value else value
                return last.partition(";")[0].strip().lower() if isinstance(last, str) else ""
    return ""


def _request_id(event: object, context: object) -> str | None:
    """API Gateway's request id, which its access log has too; else Lambda's."""
    request = event.get("requestContext") if isinstance(event, dict) else None
    request_id = request.get("requestId") if isinstance(request, dict) else None
    if not isinstance(request_id, str):
        request_id = getattr(context, "aws_request_id", None)
    return request_id[:_MAX_REQUEST_ID_LENGTH] if isinstance(request_id, str) else None


def _frames(error: Exception) -> list[str]:
    """Where an error came from, innermost last: places in code, which hold no data."""
    frames = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return frames[-_MAX_FRAMES:]


def _response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", **(headers or {})},
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def _log(level: str, message: str, log: dict[str, object], outcome: str, status: int) -> None:
    """Write the event's one line.

    Lambda keeps a line of stdout that is a JSON object with a timestamp and a level as it is:
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html.
    Its formatter for the logging module would add fields and put its own request id in place of
    API Gateway's; and outside Lambda there would be none. JSON escapes line breaks, so nothing in
    a field can begin a line of its own.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"timestamp": now, "level": level, "message": message, "outcome": outcome}
    # In one piece, so that lines of other threads do not come between.
    sys.stdout.write(json.dumps({**line, "status": status, **log}) + "\n")
    sys.stdout.flush()

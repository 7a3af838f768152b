"""The table, and the one client that talks to it.

Almost all of a cold start is the AWS SDK, so only what PutItem needs of it is loaded:

- The client comes from botocore, without boto3 and X-Ray's SDK: they would double the time. With
  active tracing, Lambda records the function's segments without that SDK.
- botocore does not look for other services than DynamoDB, which saves a fifteenth of the rest.
- `app.py` makes the client while it is imported: Lambda imports at full CPU speed before the first
  event, and SnapStart imports once a version.
"""

import json
import logging
from binascii import crc32
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from botocore.loaders import Loader

from handler.record import Item

MAX_TIMEOUT_SECONDS: Final = 29
"""How long API Gateway waits for a function; after that no caller would get the answer."""

_MARGIN_SECONDS: Final = 0.25
"""Part of the function's timeout that is kept for everything but waiting for the table."""
_RETRY_WAIT_SECONDS: Final = 6.0
"""The longest pause before a second attempt.

botocore's standard mode waits rand(0, 1) x min(2**0, 20) s, at most 1 s, and up to 5 s more if the
answer has an x-amz-retry-after.
"""
_TWO_ATTEMPTS_SECONDS: Final = 9
"""From this timeout of the function on, two attempts get more than a second each."""
_MAX_CONNECT_SECONDS: Final = 1.0
_MAX_READ_SECONDS: Final = 2.0
"""DynamoDB answers in milliseconds. A longer wait would only hold the function's concurrency."""

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_THROTTLING_CODES: Final = (
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
)


class NotStored(Exception):
    """The table did not confirm the item, for a reason that may pass; the caller may try again.

    `cause` is an AWS error code, the name of an exception, or IncompleteAnswer.
    """

    def __init__(self, outcome: Literal["throttled", "unavailable"], cause: str) -> None:
        super().__init__(cause)
        self.outcome = outcome
        self.cause = cause


class Bounds(NamedTuple):
    """How often to ask the table, and how long to wait for it each time."""

    attempts: int
    connect_timeout_seconds: float
    """Applies to the TCP connection and again to the TLS handshake."""
    read_timeout_seconds: float


def bounds(timeout_seconds: int) -> Bounds:
    """Return bounds with which a call to a silent table ends before the function's timeout.

        attempts x (2 x connect + read) + (attempts - 1) x retry wait + margin <= timeout

    Two attempts if there is time: a call that fails fast, such as one on a connection that died
    while the environment was frozen, gets a second chance. Never more, because callers retry too,
    and retries at two layers multiply.

    Two cases are not covered: an answer that arrives drop by drop, since the read timeout applies
    to each wait for bytes, and name resolution, which no timeout of botocore covers. Then Lambda's
    timeout ends the call, and the caller gets a 503 from API Gateway. A thread for the call could
    answer in time, but its request might still go out when the environment thaws, and overwrite
    what the caller has stored since.
    """
    attempts = 2 if timeout_seconds >= _TWO_ATTEMPTS_SECONDS else 1
    waits = (attempts - 1) * _RETRY_WAIT_SECONDS
    per_attempt = (timeout_seconds - _MARGIN_SECONDS - waits) / attempts
    return Bounds(
        attempts=attempts,
        connect_timeout_seconds=min(per_attempt / 4, _MAX_CONNECT_SECONDS),
        read_timeout_seconds=min(per_attempt / 2, _MAX_READ_SECONDS),
    )


class _DynamoDbOnly(Loader):  # type: ignore[misc]
    """botocore's data, without a search for the services that it knows."""

    def list_available_services(self, type_name: str) -> list[str]:
        return ["dynamodb"]


class Table:
    """One DynamoDB table. Safe to share between threads."""

    def __init__(self, name: str, timeout_seconds: int) -> None:
        self._name = name
        limits = bounds(timeout_seconds)
        session = botocore.session.get_session()
        session.register_component("data_loader", _DynamoDbOnly())
        self._client = session.create_client(
            "dynamodb",
            config=Config(
                connect_timeout=limits.connect_timeout_seconds,
                read_timeout=limits.read_timeout_seconds,
                retries={"mode": "standard", "total_max_attempts": limits.attempts},
                parameter_validation=False,  # `record.py` has done that
            ),
        )
        self._client.meta.events.register("after-call.dynamodb", _require_whole)
        # At level DEBUG, which the function's log level may be, botocore logs whole requests.
        logging.getLogger("botocore").setLevel(logging.WARNING)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Table":
        """Return the table that the function's environment variables name.

        Raises:
            RuntimeError: a variable is missing or wrong. Lambda's init ends with this message.
        """
        name = environment.get("TABLE_NAME", "")
        if not name:
            raise RuntimeError("TABLE_NAME is not set: it names the table to write to")
        timeout = environment.get("FUNCTION_TIMEOUT_SECONDS", "")
        if timeout not in map(str, range(1, MAX_TIMEOUT_SECONDS + 1)):
            raise RuntimeError(
                "FUNCTION_TIMEOUT_SECONDS must be the function's timeout, an integer from 1 to "
                f"{MAX_TIMEOUT_SECONDS}, not {timeout!r}"
            )
        return cls(name, int(timeout))

    def put(self, item: Item) -> None:
        """Store `item`, in place of any item with the same id.

        Raises:
            NotStored: the table throttled, failed, or gave no complete answer in time. The item
                may be stored or not; a retry by the caller writes the same item again.
            Exception: any other error of botocore.
        """
        self._call("put_item", Item=item)

    def _call(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Call the table, with the errors of `put`."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(
                TableName=self._name, **arguments
            )
            return answer
        except ClientError as error:
            code = error_code(error) or ""
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _THROTTLING_CODES or status == 429:
                raise NotStored("throttled", code) from None
            # A 500 can happen at any time, and may come after the item was stored:
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
            if status >= 500:
                raise NotStored("unavailable", code) from None
            raise
        # What botocore calls transient: timeouts, and connections refused, reset or closed.
        except (ConnectionError, HTTPClientError) as error:
            raise NotStored("unavailable", type(error).__name__) from None


def _require_whole(http_response: Any, **_: object) -> None:  # noqa: ANN401
    """Raise NotStored if an answer was cut short or altered, whatever its status.

    botocore retries once if the checksum is wrong, but accepts the last answer without a check. It
    also takes an answer that ends after the status, or another server's page, for a success.
    """
    content = http_response.content
    checksum = http_response.headers.get("x-amz-crc32")
    try:
        whole = isinstance(json.loads(content), dict)
    except ValueError:
        whole = False
    if not whole or checksum not in (None, str(crc32(content))):
        raise NotStored("unavailable", "IncompleteAnswer")


def error_code(error: Exception) -> str | None:
    """Return AWS's code for an error answer, such as ResourceNotFoundException; None for others."""
    if not isinstance(error, ClientError):
        return None
    code: Any = error.response.get("Error", {}).get("Code")
    return str(code)[:64]

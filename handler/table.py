"""The table, and the one client that talks to it.

Cold start. What a new execution environment waits for is almost only the AWS SDK, so:

- The client comes from botocore, which does the signing, the retries and the errors; boto3 adds an
  import and nothing that PutItem needs. X-Ray's SDK is left out, too: with active tracing Lambda
  records the function's own segments without it, and `patch_all` costs more than everything here.
  Together they are half of the usual import and first event.
- botocore lists the data folders of all its services, hundreds of them, twice, to learn whether
  it knows DynamoDB. It does: about a fifteenth of what is left.
- `app.py` makes the client while it is imported, which Lambda does at full speed before the first
  event, and which SnapStart does once a version. The garbage collector rests meanwhile.

Cutting the endpoint data down to one partition did not pay.
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
"""How long API Gateway waits for a function; a longer timeout would answer nobody."""

_MARGIN_SECONDS: Final = 0.25
"""Left of the function's timeout for everything that is not waiting for the table."""
_RETRY_WAIT_SECONDS: Final = 6.0
"""The longest pause before a second attempt.

botocore's standard mode waits rand(0, 1) x min(2**0, 20) s, at most 1 s, and up to 5 s more if the
answer carries x-amz-retry-after.
"""
_MIN_SECONDS_PER_ATTEMPT: Final = 1.0
"""A second attempt is made only if both get this long."""
_MAX_CONNECT_SECONDS: Final = 1.0
_MAX_READ_SECONDS: Final = 2.0
"""DynamoDB answers in milliseconds. Waiting longer would only hold the function's concurrency."""

_THROTTLING_CODES: Final = frozenset(
    {
        # DynamoDB's own.
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        # What else botocore takes for throttling, whatever the service.
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


class NotStored(Exception):
    """The table did not confirm the item, for a reason that may pass: the caller may try again."""

    def __init__(self, outcome: Literal["throttled", "unavailable"], cause: str) -> None:
        super().__init__(cause)
        self.outcome = outcome
        self.cause = cause
        """An AWS error code, the name of an exception, or IncompleteAnswer."""


class Bounds(NamedTuple):
    """How often to ask the table, and how long to wait for it each time."""

    attempts: int
    connect_timeout_seconds: float
    """Applies to the TCP connection and, anew, to the TLS handshake."""
    read_timeout_seconds: float


def bounds(timeout_seconds: int) -> Bounds:
    """Bounds with which a call ends before the function's timeout when the table falls silent.

        attempts x (2 x connect + read) + (attempts - 1) x retry wait + margin <= timeout

    Two attempts if there is time for them: one that fails fast, such as on a connection that died
    while the environment was frozen, gets a second chance. Never more: the caller is told to try
    again, and retries at two layers multiply.

    Two things they do not cover. The read timeout is that of each wait for bytes, so an answer that
    comes drop by drop may take longer; DynamoDB's to PutItem is one small piece. And no timeout of
    botocore covers the resolver, which is the VPC's own. There Lambda's timeout ends the call, and
    the caller gets API Gateway's 502 or 504; sending the record again is as safe as after a 503.
    Doing the call in a thread would answer in time, but leave behind a request that may still be
    sent when the environment thaws, over what the caller has stored since.
    """
    for attempts in (2, 1):
        waits = (attempts - 1) * _RETRY_WAIT_SECONDS
        per_attempt = (timeout_seconds - _MARGIN_SECONDS - waits) / attempts
        if per_attempt >= _MIN_SECONDS_PER_ATTEMPT:
            break
    return Bounds(
        attempts=attempts,
        connect_timeout_seconds=min(per_attempt / 4, _MAX_CONNECT_SECONDS),
        read_timeout_seconds=min(per_attempt / 2, _MAX_READ_SECONDS),
    )


class _DynamoDbOnly(Loader):  # type: ignore[misc]
    """botocore's data, without looking for services that this function does not use."""

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
                # `record.py` has done that.
                parameter_validation=False,
            ),
        )
        self._client.meta.events.register("after-call.dynamodb.PutItem", _require_whole)
        # botocore's debug messages hold whole requests, and the function's log level is a setting.
        logging.getLogger("botocore").setLevel(logging.WARNING)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Table":
        """The table that the program's environment variables name.

        Raises:
            RuntimeError: naming the variable that is missing or wrong. It ends Lambda's init.
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
        """Store `item`, in place of the item of the same id if there is one.

        Raises:
            NotStored: the table throttles, fails, or gave no answer that can be relied on in time.
                Then the item may be stored or not; the caller's retry writes the same item again.
            Exception: anything else, from botocore.
        """
        try:
            self._client.put_item(TableName=self._name, Item=item)
        except ClientError as error:
            code = error_code(error) or ""
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _THROTTLING_CODES or status == 429:
                raise NotStored("throttled", code) from None
            # A 500 is to be expected now and then, and like a broken connection it leaves open
            # whether the item is stored:
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
            if status >= 500:
                raise NotStored("unavailable", code) from None
            raise
        # The two that botocore itself takes for transient: connect and read timeouts, refused,
        # reset and closed connections.
        except (ConnectionError, HTTPClientError) as error:
            raise NotStored("unavailable", type(error).__name__) from None


def _require_whole(http_response: Any, **_: object) -> None:  # noqa: ANN401
    """An answer that was cut short or altered on its way tells nothing, whatever its status.

    botocore asks again when the checksum is wrong, but takes the last answer as it is; and it
    takes one that ends after the status, or any page that someone else serves, for a success.
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
    """AWS's code of an error that a service answered with, such as ResourceNotFoundException."""
    if not isinstance(error, ClientError):
        return None
    code: Any = error.response.get("Error", {}).get("Code")
    return str(code)[:64]

"""A client of the API that behaves well when it is throttled. Standard library only; copy it.

    api = ThrottledApi("https://.../prod/data", api_key)
    api.store({"id": "12", "title": "Test Movie", "year": "2023"})

It retries when waiting helps: after a throttle (429 "Too Many Requests"), when the table is busy
(503 with Retry-After), and when a connection breaks. It sends a record three times at most when the
function is busy or fails (502, 503 or 504 without Retry-After), because it may fail on this very
record. It never retries when a quota is used up (429 "Limit Exceeded"), because that lasts until
the period ends, or when the same request would be refused again (400, 403, 500). Waits grow
exponentially with full jitter, so that clients that were refused together do not come back
together. No wait is shorter than a Retry-After, and the number of attempts is bounded.

A retry is safe because a record is stored under its id: sent twice, it is stored once. Retry at one
layer only: three tries of three tries are nine requests.
https://docs.aws.amazon.com/wellarchitected/latest/framework/rel_mitigate_interaction_failure_limit_retries.html
"""

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

FAILURES = 3
"""How often a record is sent at most when the function fails on it."""


class ApiError(Exception):
    """The API did not store a record.

    Attributes:
        status: the HTTP status; 0 when there was no answer.
        message: why, in the API's words.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status
        self.message = message


class Refused(ApiError):
    """The same request would be refused again: a wrong key or record, or an error in the API."""


class QuotaUsedUp(Refused):
    """The API key's quota is used up until its period ends."""


class GaveUp(ApiError):
    """Still throttled, or not answered, after the last attempt."""


class ThrottledApi:
    """The API, as one caller sees it.

    Args:
        url: where records are posted to.
        api_key: the caller's key.
        attempts: how often a record is sent, at most.
        base_seconds: longest wait before the second attempt. It doubles with each further one.
        cap_seconds: longest wait that doubling leads to. A Retry-After may be longer.
        timeout_seconds: how long to wait for an answer: longer than API Gateway's 29 s.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        attempts: int = 10,
        base_seconds: float = 0.5,
        cap_seconds: float = 20.0,
        timeout_seconds: float = 30.0,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"{url} is no http or https address")
        self._url = url
        self._headers = {"Content-Type": "application/json", "x-api-key": api_key}
        self._attempts = attempts
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._jitter = jitter

    def store(self, record: Mapping[str, str | int]) -> None:
        """Store a record, or say why it could not be.

        Raises:
            QuotaUsedUp: when the key's quota is used up.
            Refused: when the API refuses the record or the key.
            GaveUp: when it was still throttled at the last attempt.
        """
        body = json.dumps(record).encode()
        failures = 0
        for attempt in range(1, self._attempts + 1):
            status, message, retry_after = self._send(body)
            if status == 200:
                return
            if status == 429 and message == "Limit Exceeded":
                raise QuotaUsedUp(status, message)
            if status not in (0, 429, 502, 503, 504):
                raise Refused(status, message)
            failures += status >= 502 and not retry_after
            if attempt == self._attempts or failures == FAILURES:
                raise GaveUp(status, f"{message}, {attempt} times")
            self._sleep(retry_after + self._backoff(attempt))

    def _backoff(self, attempt: int) -> float:
        """Full jitter: anything between nothing and an exponentially growing bound."""
        bound = min(self._cap_seconds, self._base_seconds * 2 ** (attempt - 1))
        return self._jitter(0.0, bound)

    def _send(self, body: bytes) -> tuple[int, str, float]:
        """Send once: status (0 without an answer), message, and seconds to wait at least."""
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310
        try:
            with self._open(request) as answer:
                retry_after = _seconds(answer.headers.get("Retry-After"))
                return answer.status, _message(answer.read()), retry_after
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error) or type(error).__name__, 0.0

    def _open(self, request: urllib.request.Request) -> Any:  # noqa: ANN401  either kind of answer
        """An answer, whatever its status."""
        try:
            return urllib.request.urlopen(request, timeout=self._timeout_seconds)  # noqa: S310
        except urllib.error.HTTPError as refusal:
            return refusal


def _message(body: bytes) -> str:
    try:
        said: Any = json.loads(body)
        return str(said["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _seconds(retry_after: str | None) -> float:
    """Whole seconds, which is what this API sends."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0

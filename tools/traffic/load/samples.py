"""What came back, request by request, and what it says about the limits."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503


class Outcome(StrEnum):
    """What became of a request, as any caller can tell from its answer."""

    ADMITTED = "admitted"
    THROTTLED = "throttled"
    """By the bucket of a plan, a method or the stage: their answers are the same."""
    QUOTA = "quota"
    WAF = "WAF"
    UNAVAILABLE = "unavailable"
    """Past all throttles, to a function at its concurrency or a table that throttles."""
    NO_KEY = "API key"
    INVALID = "invalid"
    """Past all throttles, to a function that refused the body."""
    FAILED = "failed"
    """An answer that no caller should get."""
    LOST = "lost"
    """No answer."""


PASSED: Final = frozenset({Outcome.ADMITTED, Outcome.UNAVAILABLE, Outcome.INVALID, Outcome.FAILED})
"""What took a token of every bucket."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One request and its answer. Times are in seconds after the start of the run."""

    phase: int
    """Which phase of the schedule sent it."""
    number: int
    """Which request of the phase it was, from 0."""
    due: float
    """When it was to be sent."""
    sent: float
    """When it was sent."""
    latency: float
    """Seconds until its answer was there."""
    status: int
    """0 when there was no answer."""
    message: str = ""
    """The answer's message or, without an answer, what went wrong."""
    reason: str = ""
    throttled_by: str = ""
    """The layer that refused, which only the sandbox tells."""
    retry_after: str | None = None
    in_flight: int = 0
    """Requests that its generator was waiting for when it was sent."""

    @property
    def answered(self) -> float:
        """When the answer was there."""
        return self.sent + self.latency

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        match self.status:
            case 0:
                return Outcome.LOST
            case 200:
                return Outcome.ADMITTED
            case 400 | 413 | 415:
                return Outcome.INVALID
            case 403:
                # Without a custom answer, this is also how a web ACL blocks.
                return Outcome.WAF if self.throttled_by == "waf" else Outcome.NO_KEY
            case 429 if self.throttled_by == "waf" or "address" in self.reason:
                return Outcome.WAF
            case 429:
                quota = self.message == "Limit Exceeded"
                return Outcome.QUOTA if quota else Outcome.THROTTLED
            case 503:
                return Outcome.UNAVAILABLE
        return Outcome.FAILED

    @property
    def passed(self) -> bool:
        """Whether it got past all throttles."""
        return self.outcome in PASSED

    @property
    def why(self) -> str:
        """Status and reason of a refusal, such as `429 usage-plan:basic`."""
        if not self.status:
            return f"no answer: {self.message}"
        return f"{self.status} {self.throttled_by or self.reason or self.message}".strip()

"""The API attacked by schemathesis from its own OpenAPI document, with every check on.

Four callers send requests that the document allows, and others that it forbids: one whom no limit
stops, one over the rate, one over the quota, and one without a key.
"""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import schemathesis
from openapi_schema_validator import OAS30Validator
from schemathesis import Case, HookContext, Response
from schemathesis.checks import CHECKS
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.engine import Status, StopReason, events, from_schema
from schemathesis.engine.recorder import Interaction
from schemathesis.openapi.checks import UnsupportedMethodResponse

from tests.fuzzing import FUZZ
from tests.tools.sandbox.project import Project, keys_in

pytestmark = pytest.mark.hypothesis

_NO_LIMIT: Final = {"rateLimit": 10_000, "burstLimit": 5000, "quota": {"limit": 2_000_000_000}}
PLANS: Final[dict[str, dict[str, Any]]] = {
    "unlimited": _NO_LIMIT,
    # A token comes back when the test is long over.
    "throttled": {**_NO_LIMIT, "rateLimit": 0.001, "burstLimit": 5},
    "spent": {**_NO_LIMIT, "quota": {"limit": 7}},
}
NOBODY: Final = "nobody"
# Besides some 60 that schemathesis derives from the document one by one.
EXAMPLES: Final = {"unlimited": 50, "throttled": 5, "spent": 5, NOBODY: 5}
CONFIG: Final[dict[str, Any]] = {
    "continue-on-failure": True,
    "cache": {"enabled": False},
    "checks": {
        "enabled": True,
        "max_response_time": 29,  # seconds; API Gateway waits no longer
        # Narrower than schemathesis' own lists, which take a 404 or a failure inside for an answer
        # too; but 413 is how this API refuses what is too long.
        "positive_data_acceptance": {"expected-statuses": ["200", "403", "429"]},
        "negative_data_rejection": {"expected-statuses": ["400", "403", "413", "415", "429"]},
        "missing_required_header": {"expected-statuses": ["403"]},
    },
}


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    method: str
    key: str | None
    status: int
    body: bytes
    request_id: str

    @property
    def admitted(self) -> bool:
        """Whether no limit refused a request that came with a key."""
        return self.method == "POST" and self.status not in (403, 429)


@dataclass
class Attack:
    """What one run of schemathesis found."""

    complaints: list[str] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)
    exchanges: list[Exchange] = field(default_factory=list)


@pytest.fixture(scope="module")
def keys(project: Project) -> dict[str, str]:
    """The API keys by plan, of a sandbox in which only the plans limit anybody."""
    project.edit("usagePlans", PLANS)
    project.edit("throttle", {"rateLimit": 10_000, "burstLimit": 5000})
    project.edit("waf.rateLimit", 2_000_000_000)
    return keys_in(project.up())


@pytest.fixture(scope="module")
def attacks(project: Project, keys: dict[str, str]) -> dict[str, Attack]:
    """A run of schemathesis by each caller."""
    document = deployed_document(project)
    return {
        caller: attack(document, project, keys.get(caller), EXAMPLES[caller]) for caller in EXAMPLES
    }


def deployed_document(project: Project) -> dict[str, Any]:
    """The API's document as it was deployed."""
    deployed = json.loads((project.folder / ".sandbox/dev/resources.json").read_text())
    (api,) = (
        item for item in deployed["items"] if item["type"] == "aws:apigateway/restApi:RestApi"
    )
    document: dict[str, Any] = json.loads(api["inputs"]["body"])
    return document


def attack(document: dict[str, Any], project: Project, key: str | None, examples: int) -> Attack:
    """Let schemathesis try whatever the document makes it think of."""
    generation = {"max-examples": examples * (FUZZ or 1), "deterministic": not FUZZ}
    config = schemathesis.Config.from_dict(
        CONFIG
        | {"base-url": project.data_url.removesuffix("/data"), "generation": generation}
        | ({"headers": {"x-api-key": key}} if key else {})
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.hook(filter_failure)
    result = Attack()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                for check in itertools.chain.from_iterable(recorder.checks.values()):
                    result.checks.add(check.name)
                    if info := check.failure_info:
                        result.complaints.append(f"{info.failure}\n\n{info.code_sample}")
                    elif check.status is not Status.SUCCESS:
                        result.complaints.append(f"{check.name} crashed")
                result.exchanges += map(read_exchange, recorder.interactions.values())
            case events.NonFatalError() | events.FatalError():
                result.complaints.append(str(event))
            case events.EngineFinished(stop_reason=reason, failures=failures):
                result.complaints += map(str, failures)
                if reason is not StopReason.COMPLETED:
                    result.complaints.append(reason)
    return result


def read_exchange(interaction: Interaction) -> Exchange:
    """What schemathesis sent, and got."""
    request, answer = interaction.request, interaction.response
    assert answer is not None, f"no answer to {request.method} {request.uri}"
    return Exchange(
        method=request.method,
        key=next(iter(request.headers.get("x-api-key", ())), None),
        status=answer.status_code,
        body=answer.content,
        request_id=answer.headers["x-amzn-requestid"][0],
    )


def filter_failure(
    context: HookContext, failure: Failure, case: Case[Any], response: Response
) -> bool:
    """Whether a failure counts: not where OpenAPI cannot say what this API does."""
    match failure:
        case UnsupportedMethodResponse():
            # API Gateway looks a method and a path up together. Its answer to what it does not
            # find is one for both, so it is 404 and not 405.
            return (response.status_code, response.json()) != (404, {"message": "Not Found"})
        case AcceptedNegativeData():
            return not (response.status_code == 200 and may_be_stored(case))
    return True


def may_be_stored(case: Case[Any]) -> bool:
    """Whether a record exceeds only the two bounds that the document draws tighter than the API.

    An id is bounded in bytes, and JSON Schema counts characters. A number may have 38 digits, and
    many who read documents or JSON can do no more than 64 bits.
    """
    record = case.body
    if not isinstance(record, dict):
        return False
    within = dict(record)
    id, year = record.get("id"), record.get("year")
    if isinstance(id, str) and len(id) > 512 and len(id.encode()) <= 2048:
        within["id"] = "12"
    if type(year) is int and not -(2**63) <= year < 2**63 and abs(year) < 10**38:
        within["year"] = 2023
    schema = case.operation.schema.raw_schema["components"]["schemas"]["Record"]
    return within != record and OAS30Validator(schema).is_valid(within)


@pytest.mark.parametrize("caller", EXAMPLES)
def test_the_api_is_what_its_document_says(attacks: dict[str, Attack], caller: str) -> None:
    complaints = attacks[caller].complaints
    assert not complaints, "\n\n\n".join([f"{len(complaints)} complaints", *complaints[:5]])
    assert attacks[caller].checks == {*CHECKS.get_all_names(), "max_response_time"}


@pytest.mark.parametrize(
    ("caller", "refusals"),
    [
        ("unlimited", set()),
        ("throttled", {(429, "Too Many Requests")}),
        ("spent", {(429, "Limit Exceeded")}),
    ],
)
def test_a_caller_with_a_key_is_refused_by_its_plan_alone(
    attacks: dict[str, Attack],
    keys: dict[str, str],
    caller: str,
    refusals: set[tuple[int, str]],
) -> None:
    answers = {
        (exchange.status, json.loads(exchange.body)["message"])
        for exchange in attacks[caller].exchanges
        if exchange.method == "POST" and exchange.key == keys[caller]
    }

    assert (200, "Successfully inserted data!") in answers
    assert {answer for answer in answers if answer[0] not in (200, 400, 413, 415)} == refusals


def test_a_request_without_a_key_or_for_no_method_is_refused(
    attacks: dict[str, Attack], keys: dict[str, str]
) -> None:
    answers = {
        (exchange.method == "POST", exchange.status)
        for attack in attacks.values()
        for exchange in attack.exchanges
        if exchange.method != "POST" or exchange.key not in keys.values()
    }

    assert answers == {(True, 403), (False, 404)}


def test_nothing_reaches_the_function_unthrottled(
    project: Project, attacks: dict[str, Attack]
) -> None:
    admitted = {
        caller: [exchange.request_id for exchange in attack.exchanges if exchange.admitted]
        for caller, attack in attacks.items()
    }
    log = (project.folder / ".sandbox" / "dev" / "function.log").read_text()
    told = json.loads(project.run("status", "--format", "json").stdout)

    assert sorted(json.loads(line)["requestId"] for line in log.splitlines()) == sorted(
        request_id for request_ids in admitted.values() for request_id in request_ids
    )
    assert admitted[NOBODY] == []
    assert len(admitted["throttled"]) == PLANS["throttled"]["burstLimit"]
    assert len(admitted["spent"]) == PLANS["spent"]["quota"]["limit"]
    assert {client["plan"]: client["quotaLeft"] for client in told["clients"]} == {
        plan: limits["quota"]["limit"] - len(admitted[plan]) for plan, limits in PLANS.items()
    }

"""What Pulumi's engine is sent, and would keep in the stack's state: no secret in plain text.

These tests read the requests themselves: a value counts as a secret only if the request marks it.
"""

import importlib
import inspect
import json
import re
from typing import Any

import pytest

from tests.program.conftest import EVERY_OPTION, Sent
from tests.stacks import STACKS, run
from tests.stacks.resources import find

# https://github.com/pulumi/pulumi/blob/master/sdk/python/lib/pulumi/runtime/rpc.py
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"


def readable(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a document without what it marks as secret."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return "[secret]"
        return {key: readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value


@pytest.mark.parametrize("stack", STACKS)
def test_the_values_of_keys_are_sent_marked_as_secrets_and_never_in_the_clear(
    sent: Sent, stack: str
) -> None:
    program = run(stack, **EVERY_OPTION)
    values = [key.outputs["value"] for key in find(program, "apigateway/apiKey:ApiKey")]
    assert len(values) == 2
    logged = "".join(request.message for request in sent.logs)
    assert logged, "not even Pulumi's own debug messages"
    others = {name: out for name, out in program.resources.exports.items() if name != "apiKeys"}
    for value in values:
        assert value in json.dumps(sent.documents()), "or this test looks at nothing"
        assert value not in json.dumps(readable(sent.documents()))
        assert value not in logged
        assert value not in json.dumps(others)


def properties(token: str) -> list[str]:
    """Return the names of all outputs of a resource type."""
    _, module, name = token.split(":")
    package = module.partition("/")[0].replace("lambda", "lambda_")
    cls = getattr(importlib.import_module(f"pulumi_aws.{package}"), name)
    return [name for name, _ in inspect.getmembers(cls, lambda item: isinstance(item, property))]


@pytest.mark.parametrize("preview", [False, True], ids=["update", "preview"])
def test_what_aws_answers_about_a_key_is_kept_as_a_secret(sent: Sent, preview: bool) -> None:
    run("prod", preview=preview, **EVERY_OPTION)
    # Of a domain, the private key is what one uploads.
    sounds_secret = re.compile(
        r"^value$|secret|password|credential|(?<!certificate_)private_key|token$"
    )
    marked = {
        (request.type, name, name in request.additionalSecretOutputs)
        for request in sent.resources
        if request.type.startswith("aws:")
        for name in properties(request.type)
        if sounds_secret.search(name)
    }
    assert marked == {
        ("aws:apigateway/apiKey:ApiKey", "value", True),
        ("aws:apigateway/usagePlanKey:UsagePlanKey", "value", True),
        # These open nothing: a version for optimistic locking, and the id of an Alexa skill.
        ("aws:wafv2/webAcl:WebAcl", "lock_token", False),
        ("aws:lambda/permission:Permission", "event_source_token", False),
    }


def test_the_credentials_that_pulumi_runs_with_are_not_sent(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE"),
    ):
        monkeypatch.setenv(name, "canary-of-the-environment")
    run("dev", aws={"profile": "canary-profile"})
    everything = json.dumps(sent.documents()) + str(sent.logs)
    assert "canary-profile" in everything, "which is no secret"
    assert "canary-of-the-environment" not in everything

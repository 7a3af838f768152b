"""All checks, one after the other: what cannot be checked is said, and stops nothing."""

from collections.abc import Callable, Iterator
from typing import Final

import boto3
from botocore.exceptions import BotoCoreError

from settings.schema import Settings
from tools.doctor import alarm_checks, api_checks, function_checks, network_checks
from tools.doctor.account import Account, Denied, Unanswered
from tools.doctor.finding import Finding, Level, ok, problem, warning

CREDENTIALS: Final = "credentials"
DEPLOYED: Final = "deployed already"
Check = Callable[[Account, Settings], Iterator[Finding]]


def deployed(account: Account, settings: Settings) -> Iterator[Finding]:
    """What of the stack is there already: the other checks do not count that as somebody else's."""
    count = len(account.ask_own())
    yield ok(DEPLOYED, f"{count:,} resources of the stack." if count else "Nothing of the stack.")


CHECKS: Final[dict[str, Check]] = {
    DEPLOYED: deployed,
    function_checks.CONCURRENCY: function_checks.concurrency,
    api_checks.THROTTLE: api_checks.account_throttle,
    api_checks.PLANS: api_checks.usage_plans,
    api_checks.KEYS: api_checks.api_keys,
    api_checks.LOGGING: api_checks.logging_role,
    api_checks.CAPACITY: api_checks.web_acl_capacity,
    api_checks.ASSOCIATION: api_checks.web_acl_association,
    network_checks.COUNT: network_checks.vpcs,
    network_checks.ZONES: network_checks.zones,
    alarm_checks.RECIPIENTS: alarm_checks.recipients,
}
"""By what they look at."""


def examine(settings: Settings, endpoint_url: str | None = None) -> list[Finding]:
    """Check the account that a stack goes to.

    Args:
        settings: of the stack; its Region and profile go before the environment's.
        endpoint_url: of an AWS API other than AWS's own.
    """
    found = _account(settings, endpoint_url)
    if isinstance(found, Finding):
        return [found]
    findings = [_identity(found)]
    if findings[0].level is Level.PROBLEM:
        return findings
    for name, check in CHECKS.items():
        findings += _run(name, check, found, settings)
    return findings


def _account(settings: Settings, endpoint_url: str | None) -> Account | Finding:
    """The account to ask, or why there is none."""
    try:
        session = boto3.Session(profile_name=settings.profile)
        region = settings.region or session.region_name
    except BotoCoreError as error:
        return problem(
            CREDENTIALS,
            f"The profile of the stack's config cannot be used: {error}",
            f"Set one of {', '.join(boto3.Session().available_profiles) or 'none'}: "
            f"pulumi config set aws:profile NAME --stack {settings.stack}",
        )
    if not region:
        return problem(
            CREDENTIALS,
            "Neither the stack's config nor the environment names a Region.",
            f"pulumi config set aws:region eu-central-1 --stack {settings.stack}",
        )
    return Account(settings=settings, region=region, session=session, endpoint_url=endpoint_url)


def _identity(account: Account) -> Finding:
    try:
        who = account.ask("sts", "get_caller_identity")
    except (Denied, Unanswered) as error:
        return problem(
            CREDENTIALS,
            f"AWS does not take the credentials, or cannot be reached: {error}. "
            f"Nothing else was checked.",
            "Log in (aws sso login, aws configure), and see aws sts get-caller-identity.",
        )
    return ok(CREDENTIALS, f"Account {who['Account']}, Region {account.region}, as {who['Arn']}.")


def _run(name: str, check: Check, account: Account, settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings += check(account, settings)
    except Denied as denied:
        findings.append(
            warning(
                name,
                f"Not checked: the credentials do not permit {denied.action}.",
                f"Allow {denied.action} to whoever runs this (docs/operate.md has a policy).",
            )
        )
    except Unanswered as error:
        findings.append(
            warning(name, f"Not checked: {error}", "Run this again, or look in AWS's console.")
        )
    return findings

"""Whether anybody hears the alarms."""

from collections.abc import Iterator
from typing import Final

from settings.errors import fix_command
from settings.schema import Settings
from tools.doctor.account import Account
from tools.doctor.finding import Finding, ok, warning

RECIPIENTS: Final = "alarm e-mails"
_PENDING: Final = "PendingConfirmation"


def recipients(account: Account, settings: Settings) -> Iterator[Finding]:
    """Alarms reach somebody, who has confirmed it."""
    topics = account.own_of("sns")
    subscribed = [
        one
        for topic in topics
        for one in account.ask_all(
            "sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic
        )
    ]
    wanted = settings.monitoring.alarm_emails
    if not (wanted or subscribed):
        address = ("monitoring", "alarmEmails", 0)
        yield warning(
            RECIPIENTS,
            "None is configured, and nothing else is subscribed: alarms sound where nobody hears.",
            fix_command(settings.project, settings.stack, address, "you@example.com"),
        )
        return
    pending = sorted(one["Endpoint"] for one in subscribed if one["SubscriptionArn"] == _PENDING)
    if pending:
        yield warning(
            RECIPIENTS,
            f"{', '.join(pending)} did not confirm, and gets no alarms.",
            "Follow the link in the mail from AWS Notifications; it is good for three days. A new "
            "one is sent by subscribing the address again: aws sns subscribe --protocol email "
            f"--topic-arn {topics[0]} --notification-endpoint {pending[0]}",
        )
    known = {one["Endpoint"] for one in subscribed}
    new = sorted(set(wanted) - known)
    if new:
        yield ok(RECIPIENTS, f"pulumi up will send {', '.join(new)} a link to confirm.")
    if not (pending or new):
        yield ok(RECIPIENTS, f"{len(subscribed)} confirmed.")

"""The web ACL's rules as AWS WAF documents them, whoever writes the header with the address."""

from typing import Any

import pytest

from throttling import choices
from tools.sandbox.gateway_responses import GatewayResponse
from tools.sandbox.http_server import Request
from tools.sandbox.web_acl import Rule, WebAcl, first_address, is_understood

RESPONSE = GatewayResponse(type="WAF_FILTERED", status=429, error_type="ForbiddenException")


def rate(limit: int, header: str = "", fallback: str = "MATCH") -> dict[str, Any]:
    config = {"headerName": header, "fallbackBehavior": fallback}
    forwarded = {"aggregateKeyType": "FORWARDED_IP", "forwardedIpConfig": config}
    return {"rateBasedStatement": {"limit": limit} | (forwarded if header else {})}


def missing(header: str) -> dict[str, Any]:
    size = {
        "fieldToMatch": {"singleHeader": {"name": header}},
        "comparisonOperator": "GT",
        "size": 0,
        "textTransformations": [{"priority": 0, "type": "NONE"}],
    }
    return {"notStatement": {"statement": {"sizeConstraintStatement": size}}}


class Acl:
    """A web ACL whose rules are named by their numbers."""

    def __init__(self, *statements: dict[str, Any], counting: str = "") -> None:
        assert all(map(is_understood, statements))
        rules = {str(number): statement for number, statement in enumerate(statements)}
        self._acl = WebAcl(
            [
                Rule(name=name, statement=one, response=None if name == counting else RESPONSE)
                for name, one in rules.items()
            ]
        )
        self.counted = self._acl.counted

    def blocked_by(self, *headers: tuple[str, str], now: float = 0.0) -> str | None:
        """The rule that blocks a request from 127.0.0.1."""

        async def read_body(most: int) -> bytes:
            raise AssertionError("the web ACL does not read bodies")

        request = Request("GET", "/", "", [*headers], dict(headers), "127.0.0.1", read_body)
        rule = self._acl.blocks(now, request, self._acl.source_address(request))
        return rule.name if rule else None


CDN = "True-Client-IP"


def client(address: str) -> tuple[str, str]:
    return "true-client-ip", address


def test_without_the_header_a_rule_on_forwarded_addresses_does_not_apply() -> None:
    acl = Acl(rate(1, CDN))

    assert [acl.blocked_by() for _ in range(3)] == [None] * 3


@pytest.mark.parametrize(("fallback", "blocked"), [("MATCH", "0"), ("NO_MATCH", None)])
@pytest.mark.parametrize("address", ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "a" * 60_000])
def test_an_invalid_address_means_the_fallback(
    fallback: str, blocked: str | None, address: str
) -> None:
    acl = Acl(rate(10, CDN, fallback))

    assert [acl.blocked_by(client(address)) for _ in range(2)] == [blocked] * 2


@pytest.mark.parametrize(("fallback", "blocked"), [("MATCH", "0"), ("NO_MATCH", None)])
def test_by_the_other_choice_invalid_addresses_share_one_limit(
    monkeypatch: pytest.MonkeyPatch, fallback: str, blocked: str | None
) -> None:
    monkeypatch.setattr(choices, "WAF_BLOCKS_INVALID_ADDRESSES", False)
    acl = Acl(rate(1, CDN, fallback))

    sent = [acl.blocked_by(client(address)) for address in ("unknown", "_hidden", "192.0.2.1")]

    assert sent == [None, blocked, None]


def test_the_first_address_of_the_first_line_counts() -> None:
    acl = Acl(rate(1, CDN))

    assert acl.blocked_by(client("192.0.2.1, 192.0.2.2"), client("192.0.2.3")) is None
    assert acl.blocked_by(client("192.0.2.2")) is None
    assert acl.blocked_by(client("192.0.2.3")) is None
    assert acl.blocked_by(client("192.0.2.1"), client("192.0.2.9")) == "0"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ,10.0.0.1", "192.0.2.1"),
        ("192.0.2.1:443", "192.0.2.1"),
        ('"192.0.2.1:443", 10.0.0.1', "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:0DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("[2001:db8::1%eth0]:443", "2001:db8::1"),
        ("fe80::1%" + "a" * 60_000, "fe80::1"),
        *((text, None) for text in ("", ",192.0.2.1", "x", "1.2.3.4/24", "256.1.1.1", "[x]:1")),
    ],
)
def test_an_address_is_read_in_every_form_in_which_proxies_write_it(
    written: str, address: str | None
) -> None:
    assert first_address(written) == address


def test_rules_are_asked_in_turn_and_the_first_that_matches_ends_the_request() -> None:
    acl = Acl(missing(CDN), rate(2, CDN), rate(4))

    assert [acl.blocked_by(), acl.blocked_by(client(""))] == ["0", "0"]
    # Forged addresses, from one source. What another rule blocks does not count.
    assert [acl.blocked_by(client(f"192.0.2.{n}")) for n in (1, 1, 1, 2, 3, 4)] == [
        *(None, None, "1", None, None, "2")
    ]
    assert acl.blocked_by(client("192.0.2.9"), now=400.0) is None, "the window is over"


def test_a_rule_that_only_counts_ends_no_request() -> None:
    acl = Acl(rate(2), rate(4), counting="0")

    assert [acl.blocked_by() for _ in range(6)] == [None] * 4 + ["1"] * 2
    assert acl.counted == {"0": 4}


def test_x_forwarded_for_stands_for_the_source_unless_a_rule_reads_it() -> None:
    sources = [("x-forwarded-for", f"192.0.2.{number}") for number in range(3)]
    stands, is_read = Acl(rate(2)), Acl(rate(2, "X-Forwarded-For"), rate(2))

    assert [stands.blocked_by(source) for source in sources] == [None, None, None]
    assert [is_read.blocked_by(source) for source in sources] == [None, None, "1"]


@pytest.mark.parametrize(
    "statement",
    [
        {"managedRuleGroupStatement": {}},
        {"rateBasedStatement": {"limit": 1, "aggregateKeyType": "CUSTOM_KEYS"}},
        {"rateBasedStatement": {"limit": 1, "scopeDownStatement": {}}},
        {"notStatement": {"statement": {"geoMatchStatement": {}}}},
    ],
)
def test_other_statements_are_not_understood(statement: dict[str, Any]) -> None:
    assert not is_understood(statement)

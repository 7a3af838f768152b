"""Stack files as people write them by mistake, run through the program from the file.

Either the program runs, with the value that Pulumi's engine would read, or there is one error that
lists what is wrong, and no resource before it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from settings.files import StackFileError, project_name, read_stack, secret_keys
from tests.program.conftest import find, only
from tools.recorder.program import Program, ProgramError, run_program
from tools.sandbox import program as sandbox_program

Run = Callable[[str | bytes], Program]

PLAN = "{rateLimit: 1, burstLimit: 1, quota: {limit: 1000}}"
SETTINGS = (
    "Allowed: stageName, throttle, usagePlans, waf, function, table, network, monitoring, "
    "manageApiGatewayLogging."
)
NAME = "Allowed: 1 to 64 letters, digits, - and _, the first a letter or a digit."
WHOLE = "Allowed: a whole number from 1 to 1,000,000."
RATE = "Allowed: a number of requests per second from 0.001 to 1,000,000."


@pytest.fixture
def run(tmp_path: Path, environment: None) -> Run:
    """Runs the program with what a stack's file holds."""
    (tmp_path / "Pulumi.yaml").write_text("name: throttled-api\nruntime: python\n")

    def run(content: str | bytes) -> Program:
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "Pulumi.dev.yaml").write_bytes(raw)
        return run_program(
            read_stack(tmp_path, "dev"),
            project=project_name(tmp_path),
            stack="dev",
            secret_keys=secret_keys(tmp_path, "dev"),
        )

    return run


@pytest.fixture
def refusal(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], str]:
    """The error with which such a file is refused, before anything is registered."""

    def register(*_: object) -> Any:  # noqa: ANN401
        pytest.fail("a resource was registered")

    def refusal(content: str | bytes) -> str:
        monkeypatch.setattr(sandbox_program._Aws, "new_resource", register)
        with pytest.raises((ProgramError, StackFileError)) as refused:
            run(content)
        return str(refused.value)

    return refusal


def problems(*lines: str) -> str:
    """The text of an error that lists problems of the config, each followed by its commands."""
    count = sum(line.startswith("throttled-api:") for line in lines)
    return "\n".join(
        [
            f"{count} problem{'s' if count > 1 else ''} in the config of stack dev; nothing was "
            "changed.",
            *(
                f"  {line}" if line.startswith("throttled-api:") else f"      {line}"
                for line in lines
            ),
        ]
    )


# Numbers


def throttle(value: str, burst: str = "100000") -> str:
    return (
        f"config:\n  throttled-api:usagePlans: {{p: {PLAN}}}\n"
        f"  throttled-api:throttle: {{rateLimit: {value}, burstLimit: {burst}}}\n"
    )


def test_a_number_is_the_one_that_the_engine_reads(run: Run) -> None:
    numbers = {
        **{"017": 15, "0o17": 15, "0x1F": 31, "0b11": 3, "08": 8, "1_000": 1000, "1e3": 1000},
        **{"1.": 1, "+5": 5, "'5'": 5, "!!str 5": 5, "!!float 5": 5},
    }
    plans = [
        f"    plan-{index}: {{rateLimit: {written}, burstLimit: {written}, quota: {{limit: 1}}}}\n"
        for index, written in enumerate(numbers)
    ]
    program = run(
        "config:\n  throttled-api:throttle: {rateLimit: 1000, burstLimit: 1000}\n"
        f"  throttled-api:usagePlans:\n{''.join(plans)}"
    )
    for index, (written, number) in enumerate(numbers.items()):
        plan = only(program, "apigateway/usagePlan:UsagePlan", f"plan-plan-{index}")
        limits = {"rateLimit": number, "burstLimit": number}
        assert plan.inputs["throttleSettings"] == limits, written


@pytest.mark.parametrize(
    ("written", "shown", "rate", "burst"),
    [
        ("no", "'no'", "is not a number", "is not a whole number"),
        ("~", "None", "is not a number", "is not a whole number"),
        ("", "None", "is not a number", "is not a whole number"),
        ("yes", "'yes'", "is not a number", "is not a whole number"),
        ("true", "true", "is not a number", "is not a whole number"),
        (".inf", "'.inf'", "is not a number", "is not a whole number"),
        (".nan", "'.nan'", "is not a number", "is not a whole number"),
        ("1:30", "'1:30'", "is not a number", "is not a whole number"),
        ("2024-1-2", "'2024-01-02T00:00:00Z'", "is not a number", "is not a whole number"),
        ("2024-13-45", "'2024-13-45'", "is not a number", "is not a whole number"),
        ("0o99", "'0o99'", "is not a number", "is not a whole number"),
        ("=", "'='", "is not a number", "is not a whole number"),
        ("[]", "[]", "is not a number", "is not a whole number"),
        ("-5", "-5", "is not above 0", "is below what is allowed"),
        (
            "99999999999999999999",
            "100000000000000000000",
            "is above what is allowed",
            "is above what is allowed",
        ),
        (
            "9" * 5000,
            "'" + "9" * 58 + "…",
            "is above what is allowed",
            "is not a whole number",
        ),
        ("1e400", "'1e400'", "is above what is allowed", "is not a whole number"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_number_is_refused_as_the_engine_reads_it(
    refusal: Callable[[str], str], written: str, shown: str, rate: str, burst: str
) -> None:
    above = rate.startswith("is above")
    most = "1000000" if above and burst == rate else "1"
    assert refusal(throttle(written, written)) == problems(
        f"throttled-api:throttle.rateLimit: {shown} {rate}. {RATE}",
        f"pulumi config set --path throttled-api:throttle.rateLimit {1000000 if above else 10} "
        "--stack dev",
        f"throttled-api:throttle.burstLimit: {shown} {burst}. {WHOLE}",
        f"pulumi config set --path throttled-api:throttle.burstLimit {most} --stack dev",
    )


# Everything else


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "\t",
            "while scanning for the next token found character '\\t' that cannot start any token",
        ),
        (
            "config:\n\tthrottled-api:stageName: a\n",
            "while scanning for the next token found character '\\t' that cannot start any token",
        ),
        (
            "config: {throttled-api:waf: {enabled: true, enabled: false}}",
            "the key 'enabled' comes twice",
        ),
        (
            f"config: {{throttled-api:usagePlans: {{a: {PLAN}, b: {PLAN}, a: {PLAN}}}}}",
            "the key 'a' comes twice",
        ),
        ("config: {throttled-api:waf: !!int x}", "'x' is not a number"),
        ("config: {throttled-api:waf: !!float x}", "'x' is not a number"),
        ("config: {throttled-api:waf: !!bool 3}", "'3' is neither true nor false"),
        ("config: {throttled-api:waf: !!set {a}}", "could not determine a constructor"),
        ("config: {throttled-api:waf: !!binary aGk=}", "could not determine a constructor"),
        ("config: {throttled-api:waf: !!python/name:os.system }", "could not determine"),
        ('config: {throttled-api:stageName: "\\ud800"}', "found half a character"),
        ('config: {"throttled-api:\\udfff": 1}', "found half a character"),
        ("config: {throttled-api:waf: *nowhere}", "found undefined alias 'nowhere'"),
        ("config: {throttled-api:waf: {<<: 5}}", "while constructing a mapping"),
        ("config: {}\n---\nconfig: {}\n", "expected a single document"),
        ("config: {throttled-api:stageName: a\x00}", "unacceptable character #x0000"),
    ],
)
def test_a_file_that_is_not_yaml_is_refused_in_one_line(
    refusal: Callable[[str], str], content: str, said: str
) -> None:
    error = refusal(content)
    assert error.startswith(f"Pulumi.dev.yaml is not valid YAML: {said}"), error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("a: &a [*a]\nconfig: {throttled-api:waf: *a}\n", "contains itself."),
        ("config: &all {throttled-api:waf: *all}\n", "contains itself."),
        ("config: " + "[" * 1000, "is nested too deeply."),
        (
            "config: {throttled-api:waf: " + "{a: " * 1000 + "}" * 1000 + "}",
            "is nested too deeply.",
        ),
        ("- config\n", "is not a mapping."),
        ("5\n", "is not a mapping."),
    ],
)
def test_a_file_that_cannot_be_a_config_is_refused_in_one_line(
    refusal: Callable[[str], str], content: str, error: str
) -> None:
    assert refusal(content) == f"Pulumi.dev.yaml {error}"


@pytest.mark.parametrize("content", ["config: []\n", "config: no\n"])
def test_a_config_that_is_not_a_mapping_is_refused(
    refusal: Callable[[str], str], content: str
) -> None:
    assert refusal(content) == "Pulumi.dev.yaml: `config` is not a mapping of settings."


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            "config:\n  throttled-api:a:b: c\n",
            "the key 'throttled-api:a:b' is not of the form `<namespace>:<name>`.",
        ),
        (
            "config:\n  stageName: a\n  throttled-api:stageName: b\n",
            "'throttled-api:stageName' comes twice, once in another form.",
        ),
        (
            "config:\n  throttled-api:config:stageName: a\n  throttled-api:stageName: b\n",
            "'throttled-api:stageName' comes twice, once in another form.",
        ),
    ],
)
def test_keys_that_the_engine_cannot_tell_apart_are_refused(
    refusal: Callable[[str], str], content: str, error: str
) -> None:
    assert refusal(content) == f"Pulumi.dev.yaml: {error}"


def test_a_file_in_another_encoding_is_refused(refusal: Callable[[bytes], str]) -> None:
    for content in (b"config: {throttled-api:stageName: caf\xe9}", "config: {}".encode("utf-16")):
        said = refusal(content)
        assert said.startswith("Pulumi.dev.yaml cannot be read: 'utf-8' codec can't decode byte")
        assert "\n" not in said


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\ufeffconfig: {another:stageName: a b}\n",
        "secretsprovider: awskms\nencryptedkey: abc\n",
        "config: {throttled-api:config:stageName: dev}\n",
        "config: {<<: {throttled-api:stageName: dev}}\n",
    ],
)
def test_a_file_that_sets_nothing_amiss_is_a_program(run: Run, content: str) -> None:
    assert only(run(content), "apigateway/stage:Stage").inputs["stageName"] == "dev"


def test_plans_that_share_what_an_anchor_holds_are_plans_of_their_own(run: Run) -> None:
    program = run(
        "config:\n"
        "  throttled-api:usagePlans:\n"
        f"    Basic: &basic {PLAN}\n"
        "    basic: {<<: *basic, rateLimit: 2, clients: &names [A, a, A_, A-]}\n"
        "    no: {<<: *basic, clients: *names}\n"
        "    1: *basic\n"
    )
    names = {key.name.partition("key-")[2] for key in find(program, "apigateway/apiKey:ApiKey")}
    assert names == {
        *("Basic.default", "basic.A", "basic.a", "basic.A_", "basic.A-"),
        *("no.A", "no.a", "no.A_", "no.A-", "1.default"),
    }


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        (
            "throttled-api:stageName:",
            [
                "throttled-api:stageName: '' does not fit. Allowed: letters, digits, - and _.",
                "pulumi config set --path throttled-api:stageName live --stack dev",
            ],
        ),
        (
            "throttled-api:stageName: 2024-01-02",
            [
                "throttled-api:stageName: '2024-01-02T00:00:00Z' does not fit. Allowed: letters, "
                "digits, - and _.",
                "pulumi config set --path throttled-api:stageName live --stack dev",
            ],
        ),
        (
            "throttled-api:stageName: |\n    live",
            [
                "throttled-api:stageName: 'live\\n' does not fit. Allowed: letters, digits, - "
                "and _.",
                "pulumi config set --path throttled-api:stageName live --stack dev",
            ],
        ),
        (
            "throttled-api:usagePlans:",
            [
                "throttled-api:usagePlans: '' is not a mapping of settings.",
                "pulumi config rm --path throttled-api:usagePlans --stack dev",
            ],
        ),
        (
            "throttled-api:usagePlans: {}",
            [
                "throttled-api:usagePlans: is empty. Allowed: at least one.",
                "pulumi config rm --path throttled-api:usagePlans --stack dev",
            ],
        ),
        (
            "throttled-api:usagePlans: [basic, premium]",
            [
                "throttled-api:usagePlans: ['basic', 'premium'] is not a mapping of settings.",
                "pulumi config rm --path throttled-api:usagePlans --stack dev",
            ],
        ),
        (
            'throttled-api:usagePlans: {"": {}}',
            [
                f"throttled-api:usagePlans[\"\"]: the name '' does not fit. {NAME}",
                "pulumi config rm --path 'throttled-api:usagePlans[\"\"]' --stack dev",
            ],
        ),
        (
            f"throttled-api:usagePlans: {{p: {{<<: {PLAN}, clients: [no, 'no', 7, '7', yes]}}}}",
            [
                "throttled-api:usagePlans.p.clients[3]: '7' is listed twice.",
                "pulumi config rm --path 'throttled-api:usagePlans.p.clients[3]' --stack dev",
                "throttled-api:usagePlans.p.clients[1]: 'no' is listed twice.",
                "pulumi config rm --path 'throttled-api:usagePlans.p.clients[1]' --stack dev",
            ],
        ),
        (
            f"throttled-api:usagePlans: {{p: {{<<: {PLAN}, clients: [~, true, 1.5, [a], é]}}}}",
            [
                line
                for index, shown, problem in [
                    (0, "None", "is not text"),
                    (1, "true", "is not text"),
                    (2, "1.5", "is not text"),
                    (3, "['a']", "is not text"),
                    (4, "'é'", "does not fit"),
                ]
                for line in (
                    f"throttled-api:usagePlans.p.clients[{index}]: {shown} {problem}. {NAME}",
                    f"pulumi config set --path 'throttled-api:usagePlans.p.clients[{index}]' "
                    "default --stack dev",
                )
            ],
        ),
        (
            "throttled-api:waf: {enabled: off, logging: y}",
            [
                "throttled-api:waf.enabled: 'off' is neither true nor false. Allowed: true or "
                "false.",
                "pulumi config set --path throttled-api:waf.enabled true --stack dev",
                "throttled-api:waf.logging: 'y' is neither true nor false. Allowed: true or false.",
                "pulumi config set --path throttled-api:waf.logging true --stack dev",
            ],
        ),
        (
            "throttled-api:network: {cidr: 10.0}",
            [
                "throttled-api:network.cidr: 10 is not an IPv4 network. Allowed: an IPv4 network "
                "from /16 to /25, as each zone gets an eighth of it.",
                "pulumi config set --path throttled-api:network.cidr 10.1.0.0/16 --stack dev",
            ],
        ),
        (
            "throttled-api:stageName: {secure: AAAB}",
            [
                "throttled-api:stageName: is stored as a secret, which a preview cannot show.",
                "pulumi config rm --path throttled-api:stageName --stack dev",
            ],
        ),
        (
            "throttled-api:monitoring: {alarmEmails: [a@b.cd, {secure: AAAB}]}",
            [
                "throttled-api:monitoring: is stored as a secret, which a preview cannot show.",
                "pulumi config rm --path throttled-api:monitoring --stack dev",
            ],
        ),
        (
            f"throttled-api:usagePlans: {{secure: {{p: {PLAN}}}}}",
            [
                "throttled-api:usagePlans: is stored as a secret, which a preview cannot show.",
                "pulumi config rm --path throttled-api:usagePlans --stack dev",
            ],
        ),
        (
            "encryptionsalt: v1:abc",
            [
                f"throttled-api:encryptionsalt: is not a setting. {SETTINGS}",
                "pulumi config rm --path throttled-api:encryptionsalt --stack dev",
            ],
        ),
        (
            "~: 1",
            [
                f'throttled-api:["~"]: is not a setting. {SETTINGS}',
                "pulumi config rm --path 'throttled-api:[\"~\"]' --stack dev",
            ],
        ),
    ],
)
def test_a_config_that_cannot_be_is_refused_with_all_its_problems(
    refusal: Callable[[str], str], config: str, lines: list[str]
) -> None:
    assert refusal(f"config:\n  {config}\n") == problems(*lines)

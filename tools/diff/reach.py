"""What a change of the program takes from callers: URLs, routes and resources.

The programs of both revisions run as `tools.recorder` does: without the Pulumi CLI and AWS.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from settings import UserError
from tools.cli import code

_CODE: Final = Path(__file__).parents[2]
# The program may print, so the result goes to a file.
_RUN: Final = """\
import json, pathlib, sys
from settings import read_stack
from tools.recorder import program

program.CODE = pathlib.Path.cwd()
found = {}
for name in sys.argv[2:]:
    try:
        run = program.run_program(read_stack(name))
    except program.ProgramError as error:
        sys.exit(str(error))
    shown = {k: v for k, v in run.resources.exports.items() if k not in run.secret_exports}
    items = [
        (one.type, one.name, one.inputs, getattr(one, "aliases", ()))
        for one in run.resources.items
        if one.custom
    ]
    found[name] = [("", "", shown, ()), *sorted(items, key=lambda item: item[:2])]
pathlib.Path(sys.argv[1]).write_text(json.dumps(found, default=str))
"""
_HOST: Final = re.compile(r"(?:https?://)?((?:[\w*-]+\.)+[a-z]{2,})\.?(/\S*)?", re.IGNORECASE)
_AWS_HOST: Final = re.compile(r"(?:.*\.)?(?:amazonaws\.com|amazon\.com|aws)")
_BEHIND: Final = re.compile(
    "aws:(?:cloudwatch|ec2|iam|sns|vpc|wafv2)/.*|pulumi:.*"
    "|aws:lambda/(?:alias|function|permission):.*"
    "|aws:apigateway/(?:account|apiKey|deployment|methodSettings|usagePlan|usagePlanKey):.*"
)
"""Types that callers do not reach, or whose settings the rest of the report compares."""
Registered = tuple[str, str, dict[str, Any], list[tuple[str, str]]]
"""Type, name, inputs and aliases of a resource; the stack's outputs have neither type nor name.

An alias is a type and a name that the resource had before.
"""


def gone(
    before: Path, after: Path, stacks: Sequence[str]
) -> tuple[Mapping[str, list[str]], list[str]]:
    """Return in sentences what callers can no longer reach of each stack, and notes.

    `before` and `after` are the project's folders. Without a program in both, nothing is compared.

    Raises:
        UserError: when the changed program does not run.
    """
    if not stacks or not all((folder / "__main__.py").is_file() for folder in (before, after)):
        return {}, []
    with ThreadPoolExecutor() as pool:
        (old, failed), (new, fails) = pool.map(_registered, (before, after), (stacks, stacks))
    if fails:
        raise UserError(f"The changed program does not run: {fails}")
    if failed:
        return {}, [
            f"URLs and routes are not compared, because the old program fails: {code(failed)}"
        ]
    lost = {}
    for stack in stacks:
        under_old_names: list[Registered] = [
            (old_token, old_name, inputs, [])
            for _, _, inputs, aliases in new[stack]
            for old_token, old_name in aliases
        ]
        was = dict(_reached(old[stack]))
        now = {thing for thing, _ in _reached([*new[stack], *under_old_names])}
        lost[stack] = [
            sentence
            for (thing, trait), sentence in was.items()
            if (thing, trait) not in now and (not trait or (thing, "") in now)
        ]
    return lost, []


def _registered(folder: Path, stacks: Sequence[str]) -> tuple[dict[str, list[Registered]], str]:
    """Return what the program in a folder registers and exports for each stack, or why it fails."""
    # Modules that the folder does not have are this project's.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(_CODE)])}
    with TemporaryDirectory() as temporary:
        result = Path(temporary) / "result.json"
        done = subprocess.run(  # noqa: S603  our own Python
            [sys.executable, "-W", "ignore", "-c", _RUN, result, *stacks],
            cwd=folder,
            env=environment,
            capture_output=True,
            check=False,
        )
        if result.exists():
            return json.loads(result.read_bytes()), ""
    *_, last = ["no message", *done.stderr.decode(errors="replace").splitlines()]
    return {}, last


def _reached(resources: list[Registered]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what callers reach, or a trait of it that they rely on, and a sentence for its end.

    The trait of the thing itself is empty.
    """
    for token, name, inputs, _ in resources:
        if _BEHIND.fullmatch(token):
            continue
        api = json.loads(inputs.get("body") or "{}")
        base = inputs.get("basePath") or inputs.get("apiMappingKey")
        things = [f"https://{host}{f'/{base}' if base else ''}" for host in _hosts(inputs)]
        for url in things:
            yield (url, ""), f"{code(url)} goes: callers that use it get no answer"
        if token and not things:
            things = [f"{token} {name}"]
            alias = "if it has another name now, give that an alias"
            yield (things[0], ""), f"{code(things[0])} is deleted, with its URL and data; {alias}"
        if tls := inputs.get("securityPolicy") or api.get("x-amazon-apigateway-security-policy"):
            sentence = f"{code(things[0])} loses the TLS policy {code(tls)}: clients may need it"
            yield (things[0], tls), sentence
        for path, operations in api.get("paths", {}).items():
            for verb, operation in operations.items():
                if not isinstance(operation, dict):
                    continue  # something that all verbs of the path share
                route = f"{verb.upper()} {path}"
                yield (route, ""), f"{code(route)} goes: callers get 404"
                if not operation.get("security"):
                    yield (route, "open"), f"{code(route)} takes no calls without an API key"


def _hosts(value: object) -> Iterator[str]:
    """Yield the domain names in a value, with the path if it is a URL, but none of AWS's own."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _hosts(item)
    match = _HOST.fullmatch(value) if isinstance(value, str) else None
    if match and not _AWS_HOST.fullmatch(match[1]):
        yield match[1] + (match[2] or "").rstrip("/")

"""The stacks that tests run on, so that editing the shipped stack files breaks no test.

`dev` has limits that agree with each other and no protection. `prod` has limits that contradict
each other and protects what cannot be recovered.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from settings import Settings, StackConfig, parse_settings, read_stack
from tools.recorder.program import Program, run_program

ROOT: Final = Path(__file__).parent
"""A project's folder with its `Pulumi.yaml` and stack files."""
PROJECT: Final = "fixture-api"
STACKS: Final = ("dev", "prod")
BASE_URL: Final = "https://api.example"


def config(stack: str = "dev", **changes: Any) -> StackConfig:  # noqa: ANN401  JSON
    """Return a fixture stack's config with changes.

    Args:
        stack: "dev" or "prod".
        changes: top-level settings by name. A mapping is merged into the stack's own, at every
            level; `aws` holds settings of the provider; None removes a setting.
    """
    given = read_stack(stack, ROOT)
    values = dict(given.values)
    for name, value in changes.items():
        if name == "aws":
            values |= {f"aws:{key}": str(text) for key, text in value.items()}
            continue
        key = f"{PROJECT}:{name}"
        if value is None:
            values.pop(key, None)
        elif isinstance(value, Mapping):
            values[key] = json.dumps(_merged(json.loads(values.get(key, "{}")), value))
        else:
            values[key] = value if isinstance(value, str) else json.dumps(value)
    return replace(given, values=values)


def settings(stack: str = "dev", **changes: Any) -> Settings:  # noqa: ANN401  JSON
    """Return the settings of a fixture stack with changes; see `config`."""
    return parse_settings(config(stack, **changes))


def deploy(stack: str = "dev", *, preview: bool = False, **changes: Any) -> Program:  # noqa: ANN401
    """Run the program for a fixture stack with changes; equal runs are made once a session."""
    return _deploy(json.dumps([stack, preview, changes], sort_keys=True))


def run(stack: str = "dev", *, preview: bool = False, **changes: Any) -> Program:  # noqa: ANN401
    """Run the program as `deploy` does, but always again: for tests that patch or watch the run."""
    return run_program(config(stack, **changes), base_url=BASE_URL, preview=preview)


@cache
def _deploy(arguments: str) -> Program:
    stack, preview, changes = json.loads(arguments)
    return run(stack, preview=preview, **changes)


def _merged(base: Any, changes: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged

"""What is wrong with a config, said once and whole: where, what, what is allowed, and the fix."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from settings.kinds import Kind

Path = tuple[str | int, ...]
"""Where a value is in the config: `("usagePlans", "basic", "rateLimit")`."""

_LONGEST_VALUE_SHOWN: Final = 60


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with the config."""

    path: Path
    problem: str
    namespace: str | None = None
    """Whose setting it is, when it is not the project's."""
    allowed: str = ""
    fix: str | None = None
    """A value that would do; None when the setting should go."""
    fix_path: Path | None = None
    """Where `fix` goes, or what goes without one, when that is not `path`."""
    moves: bool = False
    """Whether `path` has to go before `fix_path` is set: a misspelt key, or one in the way."""
    concerns: tuple[Path, ...] = ()
    """For what is wrong between several values: where these are."""

    @property
    def removed_item(self) -> int | None:
        """Index of the list item that the fix takes away; None when it takes none."""
        last = (self.fix_path or self.path)[-1]
        return last if self.fix is None and isinstance(last, int) else None


class UserError(Exception):
    """The user gave something that cannot be used; the text says what, where and how to fix it."""


class SettingsError(UserError):
    """The config cannot be used. Its text lists every problem, with a command that fixes it."""

    def __init__(self, problems: Sequence[Problem], *, project: str, stack: str) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        lines = [f"{count} in the config of stack {stack}; nothing was changed."]
        for problem in problems:
            allowed = f" Allowed: {problem.allowed}." if problem.allowed else ""
            owner = problem.namespace or project
            lines.append(f"  {config_key(owner, problem.path)}: {problem.problem}.{allowed}")
            if problem.moves:
                lines.append(f"      {fix_command(owner, stack, problem.path, None)}")
            path = problem.fix_path or problem.path
            lines.append(f"      {fix_command(owner, stack, path, problem.fix)}")
        super().__init__("\n".join(lines))


def config_key(project: str, path: Path) -> str:
    """A path as one types it: `throttled-api:usagePlans.basic.clients[0]`."""
    key = ""
    for step in path:
        if isinstance(step, int):
            key += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", step):
            key += f".{step}"
        else:
            escaped = _printable(step.replace('"', r"\""))
            key += f'["{escaped}"]'
    return f"{project}:{key.removeprefix('.')}"


def _printable(text: str) -> str:
    """A text on one line, which no terminal takes for an order."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def fix_command(project: str, stack: str, path: Path, value: str | None) -> str:
    """The command that sets `path` to `value`, or removes it when that is None."""
    key = shlex.quote(config_key(project, path))
    words = f"rm --path {key}" if value is None else f"set --path {key} {shlex.quote(value)}"
    return f"pulumi config {words} --stack {shlex.quote(stack)}"


def shown(value: object) -> str:
    """A value as an error quotes it: on one line, and no longer than helps."""
    quoted = str(value).lower() if isinstance(value, bool) else repr(value)
    if len(quoted) > _LONGEST_VALUE_SHOWN:
        return quoted[: _LONGEST_VALUE_SHOWN - 1] + "…"
    return quoted


def field_problems(error: ValidationError, model: type[BaseModel], given: Any) -> list[Problem]:  # noqa: ANN401  JSON
    """Pydantic's errors about `given`, which was to be a `model`, as problems."""
    errors = error.errors()
    # Under a name that may not be, nothing else needs a fix: the name goes with all that it holds.
    wrong_names = {details["loc"][:-1] for details in errors if details["loc"][-1] == "[key]"}
    return [
        _field_problem(details, model, given)
        for details in errors
        if details["loc"][-1] == "[key]"
        or not any(details["loc"][: len(name)] == name for name in wrong_names)
    ]


def _field_problem(details: ErrorDetails, model: type[BaseModel], config: Any) -> Problem:  # noqa: ANN401  JSON
    path = details["loc"]
    given = shown(details["input"])
    match details["type"]:
        case "misfit" if path[-1] == "[key]":
            return Problem(
                path=path[:-1],
                problem=f"the name {shown(path[-2])} {details['msg']}",
                allowed=details["ctx"]["allowed"],
            )
        case "misfit":
            return Problem(
                path=path,
                problem=f"{given} {details['msg']}",
                allowed=details["ctx"]["allowed"],
                fix=details["ctx"]["fix"],
            )
        case "missing":
            kind_path, kind = _first_kind(model, path)
            return Problem(
                path=path,
                problem="is missing",
                allowed=kind.allowed,
                fix=kind.example,
                fix_path=kind_path,
            )
        case "extra_forbidden":
            known = _section_at(model, path[:-1]).model_fields
            names = [field.alias or name for name, field in known.items()]
            meant = next(iter(get_close_matches(str(path[-1]), names, n=1)), None)
            problem = f"is not a setting (did you mean {meant}?)" if meant else "is not a setting"
            allowed = ", ".join(names)
            for step in path[:-1]:
                config = config[step]
            value = details["input"]
            word = str(value).lower() if isinstance(value, bool) else str(value)
            # No setting takes what begins with a hyphen, and the command would take it for an
            # option.
            movable = isinstance(value, bool | int | float | str) and not word.startswith("-")
            if meant and meant not in config and movable:
                return Problem(
                    path=path,
                    problem=problem,
                    allowed=allowed,
                    fix=word,
                    fix_path=(*path[:-1], meant),
                    moves=True,
                )
            return Problem(path=path, problem=problem, allowed=allowed)
        case "model_type" | "dict_type":
            problem = f"{given} is not a mapping of settings"
            if _is_required(model, path):
                kind_path, kind = _first_kind(model, path)
                return Problem(
                    path=path, problem=problem, fix=kind.example, fix_path=kind_path, moves=True
                )
            return Problem(path=path, problem=problem)
        case "list_type":
            return Problem(path=path, problem=f"{given} is not a list")
        case "too_short":
            return Problem(path=path, problem="is empty", allowed="at least one")
        case _:
            return Problem(path=path, problem=details["msg"])


def _section_at(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """The section of the config that `path` leads to."""
    current: Any = model
    for step in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = _field(current, step).annotation
        else:  # a dict's or a list's items
            current = get_args(current)[-1]
    section: type[BaseModel] = current
    return section


def _field(section: type[BaseModel], name: str | int) -> FieldInfo:
    return next(field for field in section.model_fields.values() if field.alias == name)


def _is_required(model: type[BaseModel], path: Path) -> bool:
    section = _section_at(model, path[:-1])
    named = isinstance(section, type) and issubclass(section, BaseModel)
    return named and _field(section, path[-1]).is_required()


def _first_kind(model: type[BaseModel], path: Path) -> tuple[Path, Kind]:
    """The kind of value at `path`, or of the first one below it."""
    field = _field(_section_at(model, path[:-1]), path[-1])
    for kind in field.metadata:
        if isinstance(kind, Kind):
            return path, kind
    below = next(iter(_section_at(model, path).model_fields.values()))
    return _first_kind(model, (*path, below.alias or ""))

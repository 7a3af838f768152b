"""Limits that the sandbox was deployed with, where they are not what the settings say now.

Some limits no caller can reach: clients whose plans together stay below the stage, a quota of a
day. What the sandbox runs with can at least be read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tools.traffic.load.verdicts import Comparison, Findings, Verdict
from throttling import Limits

SCENARIO = "deployed"


def differences(configured: Limits, deployed: Limits) -> Findings:
    """Every limit that differs."""
    there, here = dict(_flat(asdict(configured))), dict(_flat(asdict(deployed)))
    names = list(dict.fromkeys([*there, *here]))
    return Findings(
        scenario=SCENARIO,
        comparisons=[
            Comparison(
                limit=name,
                configured=there.get(name, "none"),
                observed=here.get(name, "none"),
                verdict=Verdict.OFF,
                note="as deployed, not measured; make up deploys the settings",
            )
            for name in names
            if there.get(name) != here.get(name)
        ],
        traffic=(),
        left_out=(),
        held_up=(),
    )


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every value of nested mappings, by where it is."""
    for name, value in tree.items():
        where = f"{path}.{name}".removeprefix(".")
        if isinstance(value, Mapping):
            yield from _flat(value, where)
        elif isinstance(value, list | tuple):
            yield where, ", ".join(map(str, value))
        elif isinstance(value, float):
            yield where, f"{value:g}"
        else:
            yield where, "none" if value is None else f"{value}"

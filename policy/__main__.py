"""The policy pack that `pulumi preview --policy-pack policy` runs.

Pulumi runs this folder by its path, in a process and an environment of its own: imports are found
in this folder, and none of the program's packages are there.
"""

import sys

if __package__:  # python -m policy
    print("Check without Pulumi's CLI: python -m tools policy", file=sys.stderr)
    sys.exit(2)

from pulumi_policy import PolicyPack
from rules import RULES  # type: ignore[import-not-found]  # found by the folder's path
from rules.pack import policy  # type: ignore[import-not-found]  # found by the folder's path

PolicyPack("throttled-api", [policy(rule) for rule in RULES])

"""The policy pack, as `pulumi preview --policy-pack policy` runs it.

Pulumi runs this folder by its path, in a process and an environment of its own: what is imported
here is found in this folder, and nothing of the program is there.
"""

from pulumi_policy import PolicyPack
from rules.pack import policies  # type: ignore[import-not-found]  # found by the folder's path

PolicyPack("throttled-api", policies())

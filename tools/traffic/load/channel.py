"""How a load test and its generator talk: JSON lines over a pair of sockets.

The job goes there, with its API keys, so that these are in no file, argument or environment; the
samples come back.
"""

from typing import Final

CHANNEL: Final = "THROTTLED_API_LOAD_CHANNEL"
"""Environment variable with the descriptor of the generator's end."""

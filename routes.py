"""The routes of the API. Settings, components and tools name a route by its text here."""

from typing import Final

STORE_RECORD: Final = "POST /data"
"""Stores one record."""
METHODS: Final = (STORE_RECORD,)
"""Verb and path of every route, as the config, the limits and the tools write them."""

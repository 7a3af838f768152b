"""The routes of the API, each written once: what settings, components and tools name it by."""

from typing import Final

METHODS: Final = ("POST /data",)
"""Verb and path of every route, as the config, the limits and the tools write them."""

"""Guardrails: rules that no stack may break, and two ways to run them."""

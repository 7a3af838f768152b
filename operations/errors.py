"""What an operator is told when a command cannot be done: one clear line, no traceback."""


class OperationsError(Exception):
    """Its text says what is wrong and what to do about it."""

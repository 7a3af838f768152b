"""What the sandbox says when it cannot do what it is asked: one clear line, no traceback."""


class SandboxError(Exception):
    """Its text says what is wrong and what to do about it."""

"""Whether an account can carry a stack, before an update fails half way."""

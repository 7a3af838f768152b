"""The parts of the stack, a Pulumi component each, and the settings they are built from."""

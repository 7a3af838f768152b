"""What an operator runs against an account or a deployed stack: `python -m operations`."""

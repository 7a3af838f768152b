"""Everything that helps with the program and is not deployed. `python -m tools --help` lists it."""

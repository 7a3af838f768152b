"""Simulate traffic against the limits of a stack: which layer refuses whom, and when.

`traffic.py` describes traffic, and `arrivals.py` turns it into requests. `engine.py` decides
requests, and `simulator.py` counts what happens to them over a run. `loops.py` has the compiled
loops of all these.
"""

"""Traffic through the limits of a stack, on a virtual clock: who is refused, by whom, and when.

`traffic.py` says what is sent, `arrivals.py` turns it into requests, `exact.py` and `aggregated.py`
decide them, `tally.py` counts, and `report.py`, `compare.py` and `chart.py` show the result.
"""

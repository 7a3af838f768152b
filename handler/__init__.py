"""The Lambda function behind POST /data: it takes one JSON object and stores one item.

`app.py` is the entry point: from event to response and log line. `record.py` decides what a valid
record is, without I/O. `table.py` is the only module that talks to AWS.
"""

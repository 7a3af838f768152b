"""The Lambda function behind POST /data: one JSON object in, one item in the table out.

`app.py` is the entry, from event to response, and writes the log; `record.py` decides what is a
valid record, without I/O; `table.py` is the only module that talks to AWS.
"""

"""The stack on this machine: what the program registers, served over HTTP.

`commands.py` runs the program and sends its resources to a server (`server.py`), which reads them
(`deployment.py`), enforces them (`gateway.py`), and runs the real function (`lambda_service.py`)
with a real DynamoDB API (`table.py`). No limit, route or response is repeated here.
"""

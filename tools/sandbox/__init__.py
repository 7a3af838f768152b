"""The stack on this machine: the program's own resources, served over HTTP.

The program runs as it is (`program.py`); what it registered is read (`deployment.py`) and enforced
(`gateway.py`) by a server (`server.py`), which runs the real function (`lambda_service.py`) against
a real DynamoDB API (`table_server.py`). Nothing here repeats a limit, a route or a response.
"""

"""The stack on this machine: what the program registers, served over HTTP.

    commands.py           make up, make down, make status: runs the program, sends what it registers
    client.py             finds a running server, and talks to its admin port
    server.py             the server's process: deploys, replaces and stops what it serves
    deployment.py         reads the registered resources as one API
    not_served.py         names what callers see on AWS and not here
    gateway.py            API Gateway: a request's way through the layers to the function and back
    gateway_responses.py  API Gateway's own answers, as the OpenAPI document changes them
    access_log.py         the stage's access log
    web_acl.py            the web ACL's rules
    http_server.py        HTTP on a loopback port, with bounds
    lambda_service.py     the function's processes; each runs lambda_runtime.py
    permissions.py        what the function may do with DynamoDB
    table.py              starts the process of DynamoDB's API, and makes the tables
    table_server.py       that process: moto's tables, and the journal that outlives it

No limit, route or response is repeated here. A second `make up` (`SandboxServer._deploy`) keeps

- the items: the table's process goes on; if it ended, `table_server.Database` reads its journal;
- what clients used of their quotas: `Gate.keep_usage`. Buckets and windows begin full again;
- the API keys: `tools/recorder/aws.py` computes them from the names of stack and key;
- the process, its admin port and the token of that port.

`make down` deletes all of it.
"""

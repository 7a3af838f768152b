"""Load tests: send a profile over HTTP, and compare what came back with what the limits say.

target      where to send, with which keys
requests    what to send when
sender      runs Locust in a process of its own; locustfile is what it runs there and on workers
judge       counts what came back, beside what the engine says of the same requests
report      shows it
command     the command line, and the record
"""

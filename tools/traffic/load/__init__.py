"""Load tests: send a profile over HTTP, and compare what came back with what the limits say.

target      where to send, with which keys, and which limits hold there
requests    the requests of all profiles, each with the time at which it is due
generator   runs Locust in a process of its own
locustfile  sends, there or on Locust's workers
judge       counts what came back beside what the engine says of the same requests
command     the command line, the report and the record
"""

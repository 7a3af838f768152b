"""Load tests: send what a stack's limits allow and more, and compare what happens with them.

target      where, with which keys, and what is promised there
scenarios   what to send, planned from the limits before anything is sent
generator   sends it, with Locust in a process of its own
samples     what came back, request by request
measure     rates and bursts from that, each with its bounds
verdicts    configured against observed
report, chart, record
"""

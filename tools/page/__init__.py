"""The page to watch and tune limits on. It is served on the sandbox's admin port.

    recent.py     the newest requests of a sandbox, which the gateway reports
    live.py       what the page asks the server: news of the sandbox, a trial, a deployment, traffic
    trial.py      a process of its own that decides the newest requests under other limits
    content.py    what the page shows of limits and results, as plain values
    files.py      the page's files, and one file that holds a result and needs no server
    static/       HTML, CSS and JavaScript; vendor/ has uPlot 1.6.32, which draws the chart

The browser keeps nothing but the page's token, and shows callers' text as text only.
"""

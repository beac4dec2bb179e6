"""The command line of callers: `python -m batzen`. Speaks to the suite through the client only."""

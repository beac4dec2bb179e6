"""Streams to browsers (server-sent events), as plain ASGI: no response class and no middleware between.

`frames.py` is how events are written, `streams.py` keeps all streams of the process: their limits, their signs of life,
and their end. What a stream tells is a `Source`.
"""

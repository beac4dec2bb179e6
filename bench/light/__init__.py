"""Clients that cost next to nothing, so that what is measured is the server: 1 to 8 µs a message.

A real gRPC client spends about twice on a message what the server does, and beside it nothing but the client could be
measured. These speak the real wire, frame by frame, and find in a message only what they look for.
"""

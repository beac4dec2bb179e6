"""Servers that are measured, each a program of its own on a processor of its own: ours, its peers, its limits.

All listen on 127.0.0.1 at the port they are given, say READY, and are told through standard input what to do
(`bench/servers/control.py`). What they publish says when, in a stamp that light clients look for.
"""

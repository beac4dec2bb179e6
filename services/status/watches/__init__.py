"""Streams of single payments: every watch gets every transition once, in order. Reads history, never writes it."""

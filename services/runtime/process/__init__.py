"""How a process starts, is configured, logs, tells the time and ends."""

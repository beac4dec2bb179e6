"""The whole suite on one machine: database server, tokens, processes. Never imported by a service."""

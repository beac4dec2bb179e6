"""What callers may ask for that changes something, one file a command.

To add one: write its RPC into the proto, its callers into services/access.py, and its file here, with a class that says
how its request is checked (`validate`), what it does (`perform`), what of its answer is not stored (`redact`) and is
fetched anew for a repeat (`refresh`). `registry.all_commands` names it; runner, servicer and sweep take it from there.
"""

"""Tables and statements. What is stored are the bytes of the contract, so it knows `wire`, and no RPC."""

"""One file a proto service: each RPC checks its request, hands it on and answers. No rule stands here."""

"""Records of systems before this one: each is taken over by gateway, status and orchestrator, or by none of them."""

"""The feed of a tenant's payments: one order of all transitions, and the streams that follow it."""

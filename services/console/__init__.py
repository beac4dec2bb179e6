"""The operators' front: pages over what the services know, and the actions that a payment's state allows.

It translates and decides nothing, and is never public. Its database holds sessions, log-ins under way, and the audit of
log-ins, views and exports; the audit of an action is written by the service that acts.
"""

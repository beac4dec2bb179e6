"""The payer's front: REST, streams and pages over the services, for browsers and the platform's front end.

It translates and decides nothing. Its database holds sessions, hand-over codes, counts of requests, answers about
satisfaction, and the audit of log-ins, views and exports. It knows the services by the client package `batzen` alone.
"""

"""Tells the orchestrator what people are told and no observation of a payment says: of sellers, disputes, transfers and
payouts. A notice is written down in the statement or transaction that keeps what was seen, once for what happened, and
delivered as due work until the orchestrator has it.

What happens if the process dies:
- before what was seen is committed: nothing was seen, and whoever sees it next finds the same notice;
- after that: the row is due, and whoever takes it delivers it;
- after the orchestrator took it: it is delivered once more, under the same id, which changes nothing there.
"""

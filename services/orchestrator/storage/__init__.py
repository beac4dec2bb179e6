"""The tables of the command side: the plan of each payment, its outboxes, and callers' requests. Rows stop here."""

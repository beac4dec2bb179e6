"""The checkout page: what a payer sees of a payment, and what they may do about it.

`views.py` reads answers of the services into the view models of `model.py`; the templates know nothing else.
`routes.py` asks and answers. Nothing here decides how a payment stands: every page is of a revision that status wrote.
"""

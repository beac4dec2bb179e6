"""Who a browser is: an opaque id in a cookie, a row in the front's own database, and nothing else anywhere.

`domain.py` says how long a session lives, `store.py` keeps it, `cookies.py` reads and writes the cookie.
"""

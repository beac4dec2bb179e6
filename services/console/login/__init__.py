"""How operators log in: at the platform's own issuer, by OpenID Connect (code flow with PKCE), and nowhere here.

`settings.py` says which issuer and what its words mean, `domain.py` what a log-in under way is, `store.py` keeps it,
`issuer.py` asks the issuer, `id_token.py` reads what it answers, `routes.py` is where browsers go.
"""

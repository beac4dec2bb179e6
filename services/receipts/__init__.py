"""The receipt: what was paid, to whom, with which VAT, and what went back.

One content for whoever shows one: `content` reads the orchestrator's answer, `figures` adds up, `rows` reads the price,
`wording` and `texts/` say it in a language; what comes out (`model`) is ready to be shown. The page of the front and
the mail are two layouts of it; REST says the figures.
"""

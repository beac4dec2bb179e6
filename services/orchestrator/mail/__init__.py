"""Mails: what a notification says in the recipient's language, as one mail, and how it leaves over SMTP.

Read in this order: `domain` (what a mail is made of), `catalogue` and `languages/` (every sentence), `wording` (values
as people of a locale write them), `rendering` (text and HTML), `message` (the mail, byte for byte the same at each
try), `smtp` (what becomes of it).
"""

"""What the services answer, as values that pages are made of: one module a page, messages in, `blocks` out. Pure."""

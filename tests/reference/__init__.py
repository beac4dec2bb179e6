"""The reference: a site of static pages, made of contracts, declarations and documents by `make docs`."""

"""Disputes and inquiries of a charge, and what they mean for its money. Answers none of them."""

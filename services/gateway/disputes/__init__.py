"""Disputes and inquiries of a charge: what they mean for its money, what is answered, and when an answer is due."""

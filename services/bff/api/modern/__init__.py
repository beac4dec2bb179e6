"""`/v1`, the modern form: resources, problem details, keys, pages."""

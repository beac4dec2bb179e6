"""Protobuf on the serving side: requests to domain values (`requests`), domain values to responses (`responses`)."""

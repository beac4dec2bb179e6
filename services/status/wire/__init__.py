"""Messages into the domain's records and back. Owns protobuf; knows no SQL and no stream."""

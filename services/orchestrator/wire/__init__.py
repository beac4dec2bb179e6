"""Where protobuf becomes values of the domain and back. Checks the shape of requests; knows no rule and no database."""

"""Tables, rows and statements. Owns SQL; knows no protobuf and no stream."""

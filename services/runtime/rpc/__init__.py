"""The gRPC server and its clients: who calls, what they may, how long they have, what an error becomes on the wire."""

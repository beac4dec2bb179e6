"""The gRPC face, one file a proto service: reads a request, has it done, writes what is true now. Decides nothing."""

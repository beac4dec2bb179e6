"""What services and BFFs install to take and watch payments: typed stubs, a client, a command line. No service code."""

"""The RPCs, one file a proto service: each reads a request, has it carried out, answers. Decides nothing."""

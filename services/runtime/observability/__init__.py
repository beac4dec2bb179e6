"""What a process says about itself while it runs: figures, traces, reports of what nobody expected."""

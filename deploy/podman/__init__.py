"""Runs the images on this machine as the local overlay says: `python -m deploy.podman`."""

"""Makes the images of the suite from the last commit: `python -m deploy.images`. README.md says how and from what."""

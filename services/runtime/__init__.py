"""How any process of the suite runs: serving, calling, identity, logs, storage, jobs. Nothing of the business."""

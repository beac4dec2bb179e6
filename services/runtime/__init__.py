"""How any process of the suite runs: serving, calling, identity, logs, storage, due work. Nothing of the business."""

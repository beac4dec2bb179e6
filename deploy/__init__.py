"""What an operator applies to a cluster, and what makes it: images, manifests, alerts, dashboards."""

"""Pictures of networks and of the windows of a layer, as SVG."""

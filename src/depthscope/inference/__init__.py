"""What the network of a pretext run says of a video: points followed, colours, clusters, places found again, sounds."""

"""The outcomes of a verdict in the words that commands print."""

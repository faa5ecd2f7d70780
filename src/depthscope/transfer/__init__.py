"""Whether a pretrained encoder helps: five arms on the same examples, at depth or at segmentation."""

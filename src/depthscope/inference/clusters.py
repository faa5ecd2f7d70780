"""A video by clusters: keyframes that differ, and a sheet of the largest clusters."""

import torch

ROWS, ACROSS = 20, 6
"""Clusters on the contact sheet, the largest first, and frames of each, the most typical first."""


def keyframe_order(whitened, cluster, distance, count: int):
    """Frames that differ: first those nearest to the centres of their clusters, then any, the farthest always next."""
    from depthscope.networks.descriptors import farthest_first

    typical = torch.stack([_nearest(cluster, distance, one)[0] for one in cluster.unique().tolist()])
    order = typical[farthest_first(whitened[typical], count)]
    more = farthest_first(whitened, count - len(order), chosen=order.tolist())
    return torch.cat([order, more])


def _nearest(cluster, distance, one: int):
    members = (cluster == one).nonzero().flatten()
    return members[distance[members].argsort()]


def cluster_sheet(corpus, cluster, distance):
    """A row for each of the largest clusters: its most typical frames and how many there are."""
    from depthscope.inference.sheets import HEIGHT_PX, shown
    from depthscope.pictures import contact_sheet

    counts = cluster.bincount()
    largest = counts.argsort(descending=True, stable=True)[: min(ROWS, int((counts > 0).sum()))].tolist()
    rows = []
    for one in largest:
        pictures = [shown(corpus, number) for number in _nearest(cluster, distance, one)[:ACROSS].tolist()]
        rows.append(pictures + [torch.full_like(pictures[0], 255)] * (ACROSS - len(pictures)))
    titles = ["nearest to the centre", *[""] * (ACROSS - 1)]
    return contact_sheet(rows, titles, [f"{counts[one]} x" for one in largest], HEIGHT_PX)

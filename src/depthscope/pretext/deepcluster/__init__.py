"""Deep clusters: an encoder that sorts the frames of a video by what they show, and keyframes from each sort."""

from depthscope.pretext.deepcluster.clustering import Clusters, Whitening, agreement, clustered, without_empty
from depthscope.pretext.deepcluster.deepcluster import DeepCluster
from depthscope.pretext.deepcluster.draws import ViewBatch, ViewDraws, plain_views, views
from depthscope.pretext.deepcluster.network import ClusterNetwork
from depthscope.pretext.deepcluster.task import ClusterTask

__all__ = [
    "ClusterNetwork",
    "ClusterTask",
    "Clusters",
    "DeepCluster",
    "ViewBatch",
    "ViewDraws",
    "Whitening",
    "agreement",
    "clustered",
    "plain_views",
    "views",
    "without_empty",
]

"""Unlabelled video as bytes to learn from: decoded once, thinned in time, cropped to the content, all at one size."""

from depthscope.corpus.corpus import Corpus, corpus_of
from depthscope.corpus.reading import CorpusOptions, Input, open_input, read_corpus, thinned
from depthscope.corpus.window import Window

__all__ = ["Corpus", "CorpusOptions", "Input", "Window", "corpus_of", "open_input", "read_corpus", "thinned"]

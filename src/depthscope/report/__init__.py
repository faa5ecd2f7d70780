"""One HTML page from the results of a case, to read, to show and to print, with files to go on with."""

from depthscope.report.downloads import write_downloads
from depthscope.report.folder import CaseFolder, open_case
from depthscope.report.page import page

__all__ = ["CaseFolder", "open_case", "page", "write_downloads"]

"""The stages of a case, from a video to a surface in the CT: each as a function of folders."""

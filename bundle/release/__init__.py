"""From a finished archive to a folder that people can download from and check."""

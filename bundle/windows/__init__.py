"""What is true of Windows' files, and a Windows to try them in."""

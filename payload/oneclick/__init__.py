"""What ships in the archive: runs on the PC of someone who double-clicks, with the bundled Python only."""

"""The page's conversations in the bundle's folder, one readable file each, behind routes for the page alone."""

"""Charts of results and of gradient reports, for pages and for notebooks."""

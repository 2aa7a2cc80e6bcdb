"""The explorer, `measure explore`: a page in the browser on models of one's own, served to this machine alone."""

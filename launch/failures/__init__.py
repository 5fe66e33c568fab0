"""Why runs fail and what is done about it: `evidence` tells the kind, `policies` are a site's, `recovery` acts."""

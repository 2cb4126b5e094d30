"""What happened to requests: counts, times, tokens and cost by route and pool."""

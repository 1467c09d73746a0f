"""A signal's path: strangers' words judged, stages in order, one outcome per account (SPEC 2)."""

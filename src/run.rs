//! The heart: what a run is, free of transports, providers and databases.

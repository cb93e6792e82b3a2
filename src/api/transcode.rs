//! HTTP/JSON for any annotated gRPC service, driven by its descriptor.

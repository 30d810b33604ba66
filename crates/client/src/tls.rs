//! rustls for an endpoint.

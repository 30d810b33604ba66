//! TLS: whom we trust, and whom not.

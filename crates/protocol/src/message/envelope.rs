//! Kombus envelope.

//! rear
